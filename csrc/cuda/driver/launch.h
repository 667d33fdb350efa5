#pragma once
#include "../ragged.h"
#include "kernel_loader.h"

namespace pixelrnn::cuda {

inline std::string type_name(MapType type) {
  constexpr const char* names[] = {"float32", "float64", "float16", "bfloat16"};
  return names[int(type)];
}

struct LaunchShape {
  unsigned blocks_x, blocks_y;
  unsigned threads;
  unsigned shared_memory = 0;  // dynamic, bytes of a block
  unsigned cluster = 1;        // blocks of a cluster, along x
  unsigned blocks_z = 1;
};

// Must not be copied, because `config` points to `cluster`.
struct LaunchConfig {
  CUlaunchAttribute cluster{};
  CUlaunchConfig config;
  LaunchConfig(const LaunchShape& s, CUstream stream)
      : config{s.blocks_x, s.blocks_y, s.blocks_z, s.threads, 1, 1, s.shared_memory, stream, &cluster, s.cluster > 1} {
    cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    cluster.value.clusterDim = {s.cluster, 1, 1};
  }
  LaunchConfig(const LaunchConfig&) = delete;
};

inline bool is_refusal(CUresult e) {
  return e == CUDA_ERROR_INVALID_VALUE || e == CUDA_ERROR_INVALID_CLUSTER_SIZE ||
         e == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
}
// Asks the driver how many clusters of a launch run at the same time.
inline CUresult active_clusters(CUfunction kernel, const LaunchConfig& launch, int& count) {
  return driver().cuOccupancyMaxActiveClusters(&count, kernel, &launch.config);
}

template <class Args> CUresult launch(CUfunction kernel, const LaunchShape& shape, const Args& args, CUstream stream) {
  const LaunchConfig launch(shape, stream);
  void* pointers[] = {const_cast<Args*>(&args)};
  return driver().cuLaunchKernelEx(&launch.config, kernel, pointers, nullptr);
}
template <class Args> CUresult launch(
    const std::string& name, const LaunchShape& shape, const Args& args, CUstream stream) {
  CUfunction kernel = nullptr;
  const CUresult error = load_kernel(name, kernel);
  return error ? error : launch(kernel, shape, args, stream);
}

}  // namespace pixelrnn::cuda
