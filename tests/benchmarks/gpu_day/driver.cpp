// A libcuda.so.1 over the emulator: the functions that benchmarks/gpu_day/exchange.py calls, for exchange.cu.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <map>
#include <string>

#include "emulator.h"

namespace {

// The arguments of exchange.cu, whose blocks have 256 threads.
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

struct Kernel {
  const void* entry;
  unsigned cluster;  // its __cluster_dims__
};

}  // namespace

extern "C" {

extern const void *const exchange_2_entry, *const exchange_4_entry, *const exchange_8_entry;

static const std::map<std::string, Kernel> kernels = {{"exchange_2", {exchange_2_entry, 2}},
    {"exchange_4", {exchange_4_entry, 4}}, {"exchange_8", {exchange_8_entry, 8}}};

CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = cudaGetErrorString(static_cast<cudaError_t>(error));
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule*, const void*) {
  for (const auto& [name, kernel] : kernels) emulator::add_kernel({name.c_str(), kernel.entry, sizeof(Args), buffers});
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  const auto found = kernels.find(name);
  if (found == kernels.end()) return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(const_cast<Kernel*>(&found->second));
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
  const void* const entry = reinterpret_cast<const Kernel*>(function)->entry;
  return static_cast<CUresult>(cudaFuncSetAttribute(entry, cudaFuncAttributeMaxDynamicSharedMemorySize, value));
}

CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned threads_x, unsigned threads_y,
    unsigned threads_z, unsigned shared, CUstream stream, void** arguments, void** extra) {
  if (extra) return CUDA_ERROR_INVALID_VALUE;
  const Kernel& kernel = *reinterpret_cast<const Kernel*>(function);
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {kernel.cluster, 1, 1};
  cudaLaunchConfig_t config{dim3(x, y, z), dim3(threads_x, threads_y, threads_z), shared, stream, &cluster, 1};
  return static_cast<CUresult>(cudaLaunchKernelExC(&config, kernel.entry, arguments));
}

}  // extern "C"
