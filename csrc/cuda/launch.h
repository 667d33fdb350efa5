// Launches a kernel by its entry (entry.h) on a stream, as blocks or as clusters of blocks.
#pragma once
#include <cuda_runtime_api.h>

#include "relaxed_capture.h"

namespace pixelrnn::cuda {

struct Layout {
  unsigned blocks_x, blocks_y;
  unsigned threads;
  unsigned shared_memory = 0;  // bytes of a block
  unsigned cluster = 1;        // blocks of a cluster, along x
  unsigned blocks_z = 1;
};

// `config` and `cluster` for the CUDA runtime; they point to each other.
struct LaunchConfig {
  cudaLaunchAttribute cluster{};
  cudaLaunchConfig_t config{};
  LaunchConfig(const Layout& l, cudaStream_t stream) {
    config.gridDim = dim3(l.blocks_x, l.blocks_y, l.blocks_z);
    config.blockDim = dim3(l.threads);
    config.dynamicSmemBytes = l.shared_memory;
    config.stream = stream;
    if (l.cluster > 1) {
      cluster.id = cudaLaunchAttributeClusterDimension;
      cluster.val.clusterDim.x = l.cluster;
      cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
      config.attrs = &cluster;
      config.numAttrs = 1;
    }
  }
  LaunchConfig(const LaunchConfig&) = delete;
};

// Lets a kernel have as much shared memory as the device gives: what its static part leaves (`__shared__` variables,
// and what a compiler takes). Always the same amount: threads of the host that launch one kernel with different sizes
// would otherwise take it from each other.
inline cudaError_t allow_all_shared_memory(const void* entry) {
  int device = 0, most = 0;
  cudaFuncAttributes kernel{};
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&kernel, entry);
  if (error != cudaSuccess) return error;
  return cudaFuncSetAttribute(entry, cudaFuncAttributeMaxDynamicSharedMemorySize, most - int(kernel.sharedSizeBytes));
}

template <class Args> cudaError_t launch(
    const void* entry, const Layout& layout, const Args& args, cudaStream_t stream) {
  const RelaxedCapture relaxed;
  if (layout.shared_memory)  // 48 KB need no permission, but the static part is among them
    if (const cudaError_t error = allow_all_shared_memory(entry); error != cudaSuccess) return error;
  const LaunchConfig launch(layout, stream);
  void* list[] = {const_cast<Args*>(&args)};
  return cudaLaunchKernelExC(&launch.config, entry, list);
}

}  // namespace pixelrnn::cuda
