// Stands in for the CUDA runtime: the functions that the project's host code calls. A launch runs to its end at once.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "control.h"
#include "runtime.h"

namespace emulator {

constexpr size_t kSharedWithoutOptIn = 48 << 10;

Control control;

static std::mutex mutex;
static std::string report;  // of the last launch that failed
static cudaError_t last_error = cudaSuccess;
static std::map<const void*, size_t> opted_in;  // by entry: bytes of dynamic shared memory
static std::map<const void*, Kernel>& kernels() {
  static std::map<const void*, Kernel> kernels;
  return kernels;
}
void add_kernel(const Kernel& kernel) { kernels()[kernel.entry] = kernel; }

static cudaError_t remember(cudaError_t e) {
  if (e != cudaSuccess) last_error = e;
  return e;
}

// The buffers of a launch, registered while it runs. Inputs may overlap: those that do are one region.
class RegisteredBuffers {
 public:
  explicit RegisteredBuffers(std::vector<Buffer> buffers) {
    std::erase_if(buffers, [](const Buffer& b) { return !b.data || !b.bytes; });
    std::sort(buffers.begin(), buffers.end(), [](const Buffer& a, const Buffer& b) { return a.data < b.data; });
    for (const Buffer& b : buffers) {
      Buffer* before = buffers_.empty() ? nullptr : &buffers_.back();
      if (before && before->access == Access::in && b.access == Access::in && b.data < end(*before))
        before->bytes = std::max(end(*before), end(b)) - static_cast<const char*>(before->data);
      else buffers_.push_back(b);
    }
    try {
      for (; registered_ < buffers_.size(); ++registered_) register_memory(buffers_[registered_]);
    } catch (...) {
      unregister();
      throw;
    }
  }
  ~RegisteredBuffers() { unregister(); }
  void require_written() const {
    for (const Buffer& b : buffers_)
      if (b.access == Access::out) emulator::require_written(b.data);
  }

 private:
  std::vector<Buffer> buffers_;
  size_t registered_ = 0;
  static const char* end(const Buffer& b) { return static_cast<const char*>(b.data) + b.bytes; }
  void unregister() {
    while (registered_) unregister_memory(buffers_[--registered_].data);
  }
};

static const Translated* translated(const void* entry) {
  for (const Translated& t : translated_kernels())
    if (reinterpret_cast<const void*>(t.entry) == entry) return &t;
  return nullptr;
}
static size_t static_shared(const void* entry) {
  const Translated* kernel = translated(entry);
  return (kernel ? kernel->static_shared : 0) + control.taken_shared;
}
static dim3 cluster_of(const cudaLaunchConfig_t& config) {
  for (unsigned i = 0; i < config.numAttrs; ++i)
    if (config.attrs[i].id == cudaLaunchAttributeClusterDimension) {
      const auto& d = config.attrs[i].val.clusterDim;
      return dim3(d.x, d.y, d.z);
    }
  return dim3(1);
}
// Blocks of a multiprocessor, as its shared memory and threads allow; registers are not known here.
static cudaError_t together(int& blocks, const void* entry, unsigned threads, size_t dynamic) {
  const size_t shared = static_shared(entry) + dynamic;
  blocks = 0;
  if (threads < 1 || threads > 1024) return cudaErrorInvalidConfiguration;
  if (shared > control.device.shared_per_block || (shared > kSharedWithoutOptIn && dynamic > opted_in[entry]))
    return cudaErrorInvalidValue;
  const size_t by_memory = (control.device.shared_per_block + 1024) / (shared + 1024), by_threads = 2048 / threads;
  blocks = int(std::min({by_memory, by_threads, size_t(32)}));
  return cudaSuccess;
}
template <class... Parts> static void check(bool ok, const Parts&... parts) {
  if (!ok) fail(Kind::bad_use, parts...);
}
static void run(const cudaLaunchConfig_t& config, const void* entry, const void* args) {
  const auto kernel = kernels().find(entry);
  check(kernel != kernels().end(), "the launch of a kernel that add_kernel was not told of");
  Launch l;
  l.grid = config.gridDim, l.block = config.blockDim, l.cluster = cluster_of(config);
  l.static_shared = static_shared(entry), l.dynamic_shared = config.dynamicSmemBytes;
  l.schedule = control.schedule, l.seed = control.seed, l.preemption = control.preemption,
  l.resident = control.resident;
  const size_t shared = l.static_shared + l.dynamic_shared;
  check(control.device.clusters || l.cluster.x * l.cluster.y * l.cluster.z == 1, "the device has no clusters");
  check(shared <= control.device.shared_per_block, shared, " bytes of shared memory are more than the device has");
  check(shared <= kSharedWithoutOptIn || l.dynamic_shared <= opted_in[entry], shared,
      " bytes of shared memory without cudaFuncSetAttribute");
  // The device copies the arguments, too.
  const auto* bytes = static_cast<const unsigned char*>(args);
  const std::vector<unsigned char> copy(bytes, bytes + kernel->second.args_bytes);
  const RegisteredBuffers buffers(kernel->second.buffers(copy.data(), l.grid));
  launch(l, reinterpret_cast<Entry>(const_cast<void*>(entry)), copy.data(), copy.size());
  buffers.require_written();
}

const char* last_report() { return report.c_str(); }

}  // namespace emulator

using namespace emulator;

extern "C" {

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* entry, void** args) {
  const std::lock_guard lock(mutex);
  try {
    run(*config, entry, args[0]);
    return cudaSuccess;
  } catch (const std::exception& e) {
    const auto kernel = kernels().find(entry);
    report = std::string(e.what()) + "\n  kernel " + (kernel == kernels().end() ? "?" : kernel->second.name) +
             ", schedule " + schedule_names[int(control.schedule)] + ", seed " + std::to_string(control.seed);
    return remember(cudaErrorLaunchFailure);
  }
}
cudaError_t cudaFuncSetAttribute(const void* entry, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0) return remember(cudaErrorInvalidValue);
  if (!kernels().count(entry)) return remember(cudaErrorInvalidDeviceFunction);
  if (value + static_shared(entry) > control.device.shared_per_block) return remember(cudaErrorInvalidValue);
  opted_in[entry] = value;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* entry) {
  if (!kernels().count(entry)) return remember(cudaErrorInvalidDeviceFunction);
  const Translated* kernel = translated(entry);
  *attributes = {};
  attributes->sharedSizeBytes = static_shared(entry);
  attributes->ptxVersion = kernel ? kernel->target : 10 * control.device.major + control.device.minor;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = control.device.major; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = control.device.minor; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = control.device.shared_per_block; return cudaSuccess;
    case cudaDevAttrMultiProcessorCount: *value = control.device.multiprocessors; return cudaSuccess;
    default: return remember(cudaErrorInvalidValue);
  }
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* entry, int threads, size_t dynamic) {
  return remember(together(*blocks, entry, unsigned(threads), dynamic));
}
// Within each GPC, of which the last may have fewer multiprocessors.
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, const void* entry, const cudaLaunchConfig_t* config) {
  const dim3 c = cluster_of(*config);
  const unsigned blocks = c.x * c.y * c.z, threads = config->blockDim.x * config->blockDim.y * config->blockDim.z;
  const unsigned all = control.device.multiprocessors, gpc = control.device.gpc;
  *clusters = 0;
  if (!control.device.clusters || blocks < 1 || blocks > 8) return remember(cudaErrorInvalidClusterSize);
  int by_multiprocessor = 0;
  if (const cudaError_t e = together(by_multiprocessor, entry, threads, config->dynamicSmemBytes)) return remember(e);
  *clusters = int(all / gpc * (gpc * by_multiprocessor / blocks) + all % gpc * by_multiprocessor / blocks);
  return cudaSuccess;
}
cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDeviceFunction: return "cudaErrorInvalidDeviceFunction";
    case cudaErrorInvalidClusterSize: return "cudaErrorInvalidClusterSize";
    default: return "an error that the emulator does not know";
  }
}
const char* cudaGetErrorString(cudaError_t e) {
  return e == cudaErrorLaunchFailure ? report.c_str() : cudaGetErrorName(e);
}

}  // extern "C"
