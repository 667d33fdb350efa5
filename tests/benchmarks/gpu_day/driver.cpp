// A libcuda.so.1 over the emulator: the functions that benchmarks/gpu_day/driver.py calls, for exchange.cu.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstring>

#include "emulator.h"

namespace {

// As in exchange.cu, whose blocks have 256 threads.
struct Args {
  long long* cycles;
  unsigned* is_right;
  int numbers[7];
};
constexpr int kBlocks = 8, kThreads = 256;

std::vector<emulator::Buffer> buffers(const void* args, dim3) {
  const Args& a = *static_cast<const Args*>(args);
  return {{a.cycles, kBlocks * sizeof *a.cycles, emulator::Access::in_out, "cycles"},
      {a.is_right, kBlocks * kThreads * sizeof *a.is_right, emulator::Access::in_out, "is_right"}};
}

}  // namespace

extern "C" {

extern const void* const exchange_entry;

CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = cudaGetErrorString(static_cast<cudaError_t>(error));
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule*, const void*) {
  emulator::add_kernel({"exchange", exchange_entry, sizeof(Args), buffers});
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  if (strcmp(name, "exchange")) return CUDA_ERROR_NOT_FOUND;
  *function = static_cast<CUfunction>(const_cast<void*>(exchange_entry));
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
  return static_cast<CUresult>(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, value));
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* c, CUfunction function, void** arguments, void** extra) {
  if (extra || c->numAttrs != 1 || c->attrs->id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
    return CUDA_ERROR_INVALID_VALUE;
  const auto& blocks = c->attrs->value.clusterDim;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = blocks.x, cluster.val.clusterDim.y = blocks.y, cluster.val.clusterDim.z = blocks.z;
  cudaLaunchConfig_t config{dim3(c->gridDimX, c->gridDimY, c->gridDimZ), dim3(c->blockDimX, c->blockDimY, c->blockDimZ),
      c->sharedMemBytes, c->hStream, &cluster, 1};
  return static_cast<CUresult>(cudaLaunchKernelExC(&config, function, arguments));
}

}  // extern "C"
