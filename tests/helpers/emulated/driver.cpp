// The driver and the kernel loader that csrc/cuda's host code calls, in terms of ../emulator/cuda_runtime.cpp. A kernel
// is a function of this process: its CUfunction is its entry.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "cuda/entry.h"
#include "cuda/kernel_loader.h"

PIXELRNN_DECLARE_ENTRY(pack_bf16);

namespace pixelrnn::cuda {
namespace {

// Errors have the same numbers in both interfaces, except for this one.
CUresult result(cudaError_t e) {
  return e == cudaErrorInvalidConfiguration ? CUDA_ERROR_INVALID_VALUE : static_cast<CUresult>(e);
}

struct RuntimeConfig {
  cudaLaunchAttribute cluster{};
  cudaLaunchConfig_t config{};
  explicit RuntimeConfig(const CUlaunchConfig& c) {
    config.gridDim = dim3(c.gridDimX, c.gridDimY, c.gridDimZ),
    config.blockDim = dim3(c.blockDimX, c.blockDimY, c.blockDimZ);
    config.dynamicSmemBytes = c.sharedMemBytes, config.stream = c.hStream;
    if (!c.numAttrs) return;
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = c.attrs->value.clusterDim.x;
    cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
    config.attrs = &cluster, config.numAttrs = 1;
  }
};

}  // namespace

const Driver& driver() {
  static const Driver emulated = [] {
    Driver d{};
    d.cuGetErrorString = [](CUresult e, const char** text) {
      *text = cudaGetErrorString(static_cast<cudaError_t>(e));
      cudaGetLastError();
      return CUDA_SUCCESS;
    };
    d.cuCtxGetDevice = [](CUdevice* device) { return result(cudaGetDevice(device)); };
    d.cuDeviceGetAttribute = [](int* value, CUdevice_attribute attribute, CUdevice device) {
      return result(cudaDeviceGetAttribute(value, static_cast<cudaDeviceAttr>(attribute), device));
    };
    d.cuThreadExchangeStreamCaptureMode = [](CUstreamCaptureMode*) { return CUDA_SUCCESS; };  // nothing is captured
    d.cuOccupancyMaxActiveBlocksPerMultiprocessor = [](int* blocks, CUfunction f, int threads, size_t shared) {
      return result(cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, f, threads, shared));
    };
    d.cuOccupancyMaxActiveClusters = [](int* clusters, CUfunction f, const CUlaunchConfig* c) {
      const RuntimeConfig given(*c);
      return result(cudaOccupancyMaxActiveClusters(clusters, f, &given.config));
    };
    d.cuLaunchKernelEx = [](const CUlaunchConfig* c, CUfunction f, void** arguments, void**) {
      const RuntimeConfig given(*c);
      return result(cudaLaunchKernelExC(&given.config, f, arguments));
    };
    return d;
  }();
  return emulated;
}

CUresult enter(int) { return CUDA_SUCCESS; }

CUresult load_kernel(const void* entry, CUfunction& kernel) {
  kernel = static_cast<CUfunction>(const_cast<void*>(entry));
  int most = 0;
  cudaFuncAttributes attributes{};
  cudaError_t error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  if (!error) error = cudaFuncGetAttributes(&attributes, entry);
  if (!error)
    error = cudaFuncSetAttribute(
        entry, cudaFuncAttributeMaxDynamicSharedMemorySize, most - int(attributes.sharedSizeBytes));
  return result(error);
}

int code_capability(int capability) {
  cudaFuncAttributes compiled{};
  return cudaFuncGetAttributes(&compiled, pack_bf16_entry) == cudaSuccess ? std::min(capability, compiled.ptxVersion)
                                                                          : 0;
}

std::string why_no_code(int) { return "the emulator has no code for this GPU"; }

}  // namespace pixelrnn::cuda
