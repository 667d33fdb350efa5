// Stands in for NVIDIA's driver: the functions of its API that host code calls. There is one device and one context,
// and every kernel is loaded. A CUfunction is a Translated. A launch runs to its end at once.
#include <cuda.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "control.h"
#include "runtime.h"

namespace emulator {

constexpr size_t kSharedWithoutOptIn = 48 << 10;

Control control;

static std::mutex mutex;
static std::string report;                            // of the last launch that failed
static std::map<const Translated*, size_t> opted_in;  // bytes of dynamic shared memory

static const Translated& kernel_of(CUfunction f) { return *reinterpret_cast<const Translated*>(f); }
static size_t static_shared(const Translated& kernel) { return kernel.static_shared + control.taken_shared; }
static dim3 cluster_of(const CUlaunchConfig& config, const Translated& kernel) {
  for (unsigned i = 0; i < config.numAttrs; ++i)
    if (config.attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
      const auto& d = config.attrs[i].value.clusterDim;
      return dim3(d.x, d.y, d.z);
    }
  return dim3(kernel.cluster);
}
// Blocks of a multiprocessor, as its shared memory and threads allow; registers are not known here.
static CUresult together(int& blocks, const Translated& kernel, unsigned threads, size_t dynamic) {
  const size_t shared = static_shared(kernel) + dynamic;
  blocks = 0;
  if (threads < 1 || threads > 1024 || shared > control.device.shared_per_block ||
      (shared > kSharedWithoutOptIn && dynamic > opted_in[&kernel]))
    return CUDA_ERROR_INVALID_VALUE;
  const size_t by_memory = (control.device.shared_per_block + 1024) / (shared + 1024), by_threads = 2048 / threads;
  blocks = int(std::min({by_memory, by_threads, size_t(32)}));
  return CUDA_SUCCESS;
}
template <class... Parts> static void check(bool ok, const Parts&... parts) {
  if (!ok) fail(Kind::bad_use, parts...);
}
static void run(const CUlaunchConfig& config, const Translated& kernel, const void* args) {
  Launch l;
  l.grid = dim3(config.gridDimX, config.gridDimY, config.gridDimZ);
  l.block = dim3(config.blockDimX, config.blockDimY, config.blockDimZ);
  l.cluster = cluster_of(config, kernel);
  l.static_shared = static_shared(kernel), l.dynamic_shared = config.sharedMemBytes;
  l.schedule = control.schedule, l.seed = control.seed, l.preemption = control.preemption,
  l.resident = control.resident;
  const size_t shared = l.static_shared + l.dynamic_shared;
  check(control.device.clusters || l.cluster.x * l.cluster.y * l.cluster.z == 1, "the device has no clusters");
  check(shared <= control.device.shared_per_block, shared, " bytes of shared memory are more than the device has");
  check(shared <= kSharedWithoutOptIn || l.dynamic_shared <= opted_in[&kernel], shared,
      " bytes of shared memory without cuFuncSetAttribute");
  // The device copies the arguments, too.
  const auto* bytes = static_cast<const unsigned char*>(args);
  const std::vector<unsigned char> copy(bytes, bytes + kernel.args_bytes);
  launch(l, kernel.entry, copy.data(), copy.size(), buffers_of(kernel.name, copy.data(), l.grid));
}

}  // namespace emulator

using namespace emulator;

extern "C" {

// ---- the device and its context
CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int* count) {
  *count = 1;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGet(CUdevice* device, int index) {
  *device = 0;
  return index ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  const Device& d = control.device;
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = d.major; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = d.minor; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = int(d.shared_per_block); return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = int(d.multiprocessors); return CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) { return cuCtxGetCurrent(context); }
CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
CUresult cuCtxGetCurrent(CUcontext* context) {
  *context = reinterpret_cast<CUcontext>(&control);
  return CUDA_SUCCESS;
}
CUresult cuCtxGetDevice(CUdevice* device) { return cuDeviceGet(device, 0); }
CUresult cuCtxGetId(CUcontext, unsigned long long* number) {
  *number = control.context;
  return CUDA_SUCCESS;
}
CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode*) { return CUDA_SUCCESS; }  // nothing is captured
CUresult cuGetErrorString(CUresult error, const char** text) {
  switch (error) {
    case CUDA_SUCCESS: *text = "no error"; break;
    case CUDA_ERROR_INVALID_VALUE: *text = "invalid argument"; break;
    case CUDA_ERROR_INVALID_DEVICE: *text = "invalid device ordinal"; break;
    case CUDA_ERROR_NOT_FOUND: *text = "named symbol not found"; break;
    case CUDA_ERROR_INVALID_CLUSTER_SIZE: *text = "cluster misconfiguration"; break;
    case CUDA_ERROR_LAUNCH_FAILED: *text = report.c_str(); break;
    default: *text = "an error that the emulator does not know";
  }
  return CUDA_SUCCESS;
}

// ---- kernels
CUresult cuModuleLoadData(CUmodule* module, const void*) {
  *module = reinterpret_cast<CUmodule>(&control);
  return CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  for (const Translated& t : translated_kernels())
    if (!strcmp(t.name, name)) {
      *function = reinterpret_cast<CUfunction>(const_cast<Translated*>(&t));
      return CUDA_SUCCESS;
    }
  return CUDA_ERROR_NOT_FOUND;
}
CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction function) {
  *value = int(static_shared(kernel_of(function)));
  return attribute == CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  const Translated& kernel = kernel_of(function);
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
      value + static_shared(kernel) > control.device.shared_per_block)
    return CUDA_ERROR_INVALID_VALUE;
  opted_in[&kernel] = value;
  return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function, int threads, size_t dynamic) {
  return together(*blocks, kernel_of(function), unsigned(threads), dynamic);
}
// Within each GPC, of which the last may have fewer multiprocessors.
CUresult cuOccupancyMaxActiveClusters(int* clusters, CUfunction function, const CUlaunchConfig* config) {
  const dim3 c = cluster_of(*config, kernel_of(function));
  const unsigned blocks = c.x * c.y * c.z, threads = config->blockDimX * config->blockDimY * config->blockDimZ;
  const unsigned all = control.device.multiprocessors, gpc = control.device.gpc;
  *clusters = 0;
  if (!control.device.clusters || blocks < 1 || blocks > 8) return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  int by_multiprocessor = 0;
  if (const CUresult e = together(by_multiprocessor, kernel_of(function), threads, config->sharedMemBytes)) return e;
  *clusters = int(all / gpc * (gpc * by_multiprocessor / blocks) + all % gpc * by_multiprocessor / blocks);
  return CUDA_SUCCESS;
}
CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** arguments, void**) {
  const std::lock_guard lock(mutex);
  const Translated& kernel = kernel_of(function);
  try {
    run(*config, kernel, arguments[0]);
    return CUDA_SUCCESS;
  } catch (const std::exception& e) {
    report = std::string(e.what()) + "\n  kernel " + kernel.name + ", schedule " +
             schedule_names[int(control.schedule)] + ", seed " + std::to_string(control.seed);
    return CUDA_ERROR_LAUNCH_FAILED;
  }
}
CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned threads_x, unsigned threads_y,
    unsigned threads_z, unsigned shared, CUstream stream, void** arguments, void** extra) {
  const CUlaunchConfig config{x, y, z, threads_x, threads_y, threads_z, shared, stream, nullptr, 0};
  return cuLaunchKernelEx(&config, function, arguments, extra);
}

}  // extern "C"
