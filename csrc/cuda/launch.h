// Launches a kernel on a stream, as blocks or as clusters of blocks.
#pragma once
#include "kernel_loader.h"
#include "ragged.h"

namespace pixelrnn::cuda {

// Returns a type as the names of kernels spell it.
inline std::string text(MapType type) {
  constexpr const char* names[] = {"float32", "float64", "float16", "bfloat16"};
  return names[int(type)];
}

struct Layout {
  unsigned blocks_x, blocks_y;
  unsigned threads;
  unsigned shared_memory = 0;  // bytes for each block
  unsigned cluster = 1;        // blocks of a cluster, along x
  unsigned blocks_z = 1;
};

// The driver's arguments of a launch. `config` points to `cluster`, so there is no copy.
struct LaunchConfig {
  CUlaunchAttribute cluster{};
  CUlaunchConfig config{};
  LaunchConfig(const Layout& l, CUstream stream) {
    config.gridDimX = l.blocks_x, config.gridDimY = l.blocks_y, config.gridDimZ = l.blocks_z;
    config.blockDimX = l.threads, config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = l.shared_memory;
    config.hStream = stream;
    if (l.cluster > 1) {
      cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
      cluster.value.clusterDim.x = l.cluster;
      cluster.value.clusterDim.y = cluster.value.clusterDim.z = 1;
      config.attrs = &cluster;
      config.numAttrs = 1;
    }
  }
  LaunchConfig(const LaunchConfig&) = delete;
};

template <class Args> CUresult launch(CUfunction kernel, const Layout& layout, const Args& args, CUstream stream) {
  const LaunchConfig launch(layout, stream);
  void* list[] = {const_cast<Args*>(&args)};
  return driver().cuLaunchKernelEx(&launch.config, kernel, list, nullptr);
}
template <class Args> CUresult launch(
    const std::string& name, const Layout& layout, const Args& args, CUstream stream) {
  CUfunction kernel = nullptr;
  const CUresult error = load_kernel(name, kernel);
  return error ? error : launch(kernel, layout, args, stream);
}

}  // namespace pixelrnn::cuda
