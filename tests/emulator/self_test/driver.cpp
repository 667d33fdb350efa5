// Launches a kernel by name, for ../test_emulator.py.
#include <cuda_runtime_api.h>

#include <cstring>

#include "emulator.h"
#include "kernels.h"

#if defined(WITHOUT_CLUSTERS)
#define CLUSTER_KERNELS(X)
#elif defined(FROM_SOURCE)
#define CLUSTER_KERNELS(X) X(ring) X(relay)
#else
#define CLUSTER_KERNELS(X) X(ring) X(pull) X(relay) X(meet)
#endif
#define KERNELS(X) \
  X(reverse)       \
  X(swap)          \
  X(sum)           \
  X(agree)         \
  X(broadcast)     \
  X(strided) X(product_bf16) X(product_fp16) X(product_tf32) X(integers) X(floats) X(functions) CLUSTER_KERNELS(X)

#define DECLARE(name) extern "C" const void* const name##_entry;
KERNELS(DECLARE)

static std::vector<emulator::Buffer> buffers(const void* args, dim3) {
  const Args& a = *static_cast<const Args*>(args);
  return {{a.in, size_t(a.in_bytes), emulator::Access::in, "in"},
      {a.out, size_t(a.out_bytes), emulator::Access::out, "out"}};
}
struct Entry {
  const char* name;
  const void* entry;
};
static const Entry entries[] = {
#define ENTRY(name) {#name, name##_entry},
    KERNELS(ENTRY)};
static const bool added = [] {
  for (const Entry& e : entries) emulator::add_kernel({e.name, e.entry, sizeof(Args), buffers});
  return true;
}();

// "" or what the CUDA runtime says. opt_in: to more dynamic shared memory than every launch may have.
extern "C" const char* run(
    const char* name, const Args* args, int blocks, int threads, int cluster, int shared, int opt_in) {
  for (const Entry& e : entries) {
    if (strcmp(e.name, name)) continue;
    if (opt_in && cudaFuncSetAttribute(e.entry, cudaFuncAttributeMaxDynamicSharedMemorySize, opt_in))
      return cudaGetErrorName(cudaGetLastError());
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {unsigned(cluster), 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(blocks), config.blockDim = dim3(threads), config.dynamicSmemBytes = shared;
    config.attrs = &attribute, config.numAttrs = cluster > 1;
    Args copy = *args;
    void* list[] = {&copy};
    if (cluster > 1) {
      int clusters = 0;
      if (cudaOccupancyMaxActiveClusters(&clusters, e.entry, &config)) return cudaGetErrorName(cudaGetLastError());
      if (!clusters) return "no cluster fits";
    }
    const cudaError_t error = cudaLaunchKernelExC(&config, e.entry, list);
    if (cudaGetLastError() != error) return "the last error is another one";
    return error ? cudaGetErrorString(error) : "";
  }
  return "no such kernel";
}
// A launch of what add_kernel was not told of.
extern "C" const char* run_unknown() {
  cudaLaunchConfig_t config = {};
  config.gridDim = config.blockDim = dim3(1);
  void* list[] = {nullptr};
  return cudaGetErrorString(cudaLaunchKernelExC(&config, entries, list));
}
