// A libcuda.so.1 over the emulator: the functions that benchmarks/gpu_day/driver.py calls.
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <set>
#include <string>

#include "../../benchmarks/gpu_day/microbenchmarks/kernels.h"
#include "emulator.h"

namespace {

using pixelrnn::micro::Args;

std::vector<emulator::Buffer> buffers(const void* args, dim3) {
  const Args& a = *static_cast<const Args*>(args);
  return {{a.cycles, pixelrnn::micro::kMostBlocks * sizeof *a.cycles, emulator::Access::in_out, "cycles"},
      {a.memory, pixelrnn::micro::kMemoryWords * sizeof *a.memory, emulator::Access::in_out, "memory"}};
}

}  // namespace

extern "C" {

CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = cudaGetErrorString(static_cast<cudaError_t>(error));
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule*, const void*) { return CUDA_SUCCESS; }

CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  static std::set<std::string> names;  // the emulator keeps the pointers
  const auto* const entry = static_cast<void* const*>(dlsym(RTLD_DEFAULT, (std::string(name) + "_entry").c_str()));
  if (!entry) return CUDA_ERROR_NOT_FOUND;
  *function = static_cast<CUfunction>(*entry);
  emulator::add_kernel({names.insert(name).first->c_str(), *entry, sizeof(Args), buffers});
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* c, CUfunction function, void** arguments, void** extra) {
  if (extra || c->numAttrs > 1) return CUDA_ERROR_INVALID_VALUE;
  cudaLaunchAttribute cluster{};
  cudaLaunchConfig_t config{dim3(c->gridDimX, c->gridDimY, c->gridDimZ), dim3(c->blockDimX, c->blockDimY, c->blockDimZ),
      c->sharedMemBytes, c->hStream, &cluster, c->numAttrs};
  if (c->numAttrs) {
    if (c->attrs->id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) return CUDA_ERROR_INVALID_VALUE;
    const auto& blocks = c->attrs->value.clusterDim;
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = blocks.x, cluster.val.clusterDim.y = blocks.y, cluster.val.clusterDim.z = blocks.z;
  }
  return static_cast<CUresult>(cudaLaunchKernelExC(&config, function, arguments));
}

}  // extern "C"
