// Replaces NVIDIA's driver library where there is no GPU. A launch runs C++ that was translated from PTX, and returns
// at its end. Without translated kernels, it runs nothing. Tests inspect the recorded calls.
#include <cuda.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "state.h"

using namespace emulator;

namespace {

std::string report;  // of the last failed launch

CUresult refuse_shared(int64_t bytes, int64_t most) {
  this_thread.invalid_value +=
      ": expected at most " + std::to_string(most) + " bytes of dynamic shared memory, got " + std::to_string(bytes);
  return CUDA_ERROR_INVALID_VALUE;
}

const Translated* translated(const char* name) {
  for (const Translated& t : translated_kernels())
    if (!std::strcmp(t.name, name)) return &t;
  return nullptr;
}

std::optional<unsigned> cluster_of(const Function& f, const CUlaunchConfig& c) {
  unsigned blocks = f.translated ? f.translated->cluster : 1;
  for (unsigned i = 0; i < c.numAttrs; ++i) {
    if (c.attrs[i].id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) return std::nullopt;
    const auto& d = c.attrs[i].value.clusterDim;
    if (d.y != 1 || d.z != 1) return std::nullopt;
    blocks = d.x;
  }
  return blocks;
}

CUresult check_block(Call& call, const Function& f, int64_t threads, int64_t shared) {
  if (f.context != call.context().number) return CUDA_ERROR_INVALID_HANDLE;
  if (threads < 1 || threads > 1024) return CUDA_ERROR_INVALID_VALUE;
  if (shared < 0 || shared > f.max_dynamic) return refuse_shared(shared, f.max_dynamic);
  return CUDA_SUCCESS;
}
// It is an assumption which cluster sizes give CUDA_ERROR_INVALID_CLUSTER_SIZE.
CUresult check_grid(Call& call, const Function& f, const CUlaunchConfig& c) {
  if (!c.gridDimX || c.gridDimX > INT_MAX || !c.gridDimY || c.gridDimY > 65535 || !c.gridDimZ || c.gridDimZ > 65535)
    return CUDA_ERROR_INVALID_VALUE;
  const std::optional<unsigned> cluster = cluster_of(f, c);
  if (!cluster) return CUDA_ERROR_INVALID_VALUE;
  if ((c.numAttrs || *cluster != 1) &&
      (!call.gpu().has_clusters() || *cluster < 1 || *cluster > kMaxClusterBlocks || c.gridDimX % *cluster))
    return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  return CUDA_SUCCESS;
}
CUresult check_stream(Call& call, CUstream stream) {
  if (!stream) {  // the default stream waits for capturing streams, which is an error
    for (auto& [other, capture] : call.state().captures) {
      capture.broken = true;
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    return CUDA_SUCCESS;
  }
  if (reinterpret_cast<Stream*>(stream)->context != call.context().number) return CUDA_ERROR_INVALID_HANDLE;
  const auto capture = call.state().captures.find(stream);
  return capture != call.state().captures.end() && capture->second.broken ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
                                                                          : CUDA_SUCCESS;
}

// Returns how many blocks of a kernel a multiprocessor can run at the same time. The function does not limit the number
// by registers, because the emulator does not know how many registers a kernel takes.
int blocks_per_multiprocessor(const Gpu& gpu, const Function& f, int64_t threads, int64_t shared) {
  constexpr int64_t reserved = 1024;  // bytes that CUDA reserves for each block
  const int64_t by_memory = (gpu.shared_memory + reserved) / (shared + f.static_shared + reserved);
  return int(std::min({by_memory, 2048 / threads, int64_t(32)}));
}

CUresult run(const Function& f, const CUlaunchConfig& c, const void* args) {
  Launch l = the_state().launch;
  l.grid = dim3(c.gridDimX, c.gridDimY, c.gridDimZ);
  l.block = dim3(c.blockDimX, c.blockDimY, c.blockDimZ);
  l.cluster = dim3(*cluster_of(f, c));
  l.static_shared = f.translated->static_shared, l.dynamic_offset = f.translated->dynamic_offset;
  l.dynamic_shared = c.sharedMemBytes;
  const auto* bytes = static_cast<const Byte*>(args);
  const std::vector<Byte> copy(bytes, bytes + f.translated->args_bytes);
  try {
    launch(l, f.translated->entry, copy.data(), copy.size(), buffers_of(f.kernel, copy.data(), l.grid));
    return CUDA_SUCCESS;
  } catch (const std::exception& e) {
    report = std::string(e.what()) + "\n  kernel " + f.kernel + ", schedule " + schedule_names[int(l.schedule)] +
             ", seed " + std::to_string(l.seed);
    return CUDA_ERROR_LAUNCH_FAILED;
  }
}

int64_t threads_of(const CUlaunchConfig& c) { return int64_t(c.blockDimX) * c.blockDimY * c.blockDimZ; }

}  // namespace

// Begins a driver function. Returns an error if its Needs are not met, or if there is no such `device`.
#define BEGIN(needs)                 \
  Call call(__func__, Needs::needs); \
  if (call.refused()) return call.refused()
#define BEGIN_WITH_DEVICE \
  BEGIN(initialisation);  \
  if (device < 0 || device >= int(gpus().size())) return call.result(CUDA_ERROR_INVALID_DEVICE)
#define BEGIN_WITH_FUNCTION(needs)                      \
  BEGIN(needs);                                         \
  Function& f = *reinterpret_cast<Function*>(function); \
  call << f.kernel

extern "C" {

CUresult cuInit(unsigned) {
  BEGIN(nothing);
  if (gpus().empty()) return call.result(CUDA_ERROR_NO_DEVICE);
  call.state().initialised = true;
  call.state().contexts.resize(gpus().size());
  return call.result();
}
// FAKE_CUDA_VERSION is the version of CUDA that the driver supports, such as 13000 for 13.0.
CUresult cuDriverGetVersion(int* version) {
  const char* const text = std::getenv("FAKE_CUDA_VERSION");
  *version = text ? std::atoi(text) : CUDA_VERSION;
  return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char** text) {
  switch (error) {
    case CUDA_SUCCESS: *text = "no error"; break;
    case CUDA_ERROR_INVALID_VALUE: *text = this_thread.invalid_value.c_str(); break;
    case CUDA_ERROR_NO_DEVICE: *text = "no CUDA-capable device is detected"; break;
    case CUDA_ERROR_NO_BINARY_FOR_GPU: *text = "no kernel image is available for execution on the device"; break;
    case CUDA_ERROR_NOT_FOUND: *text = "named symbol not found"; break;
    case CUDA_ERROR_INVALID_CLUSTER_SIZE: *text = "cluster misconfiguration"; break;
    case CUDA_ERROR_LAUNCH_FAILED: *text = report.c_str(); break;
    default: *text = "expected an error for which the emulated driver has text, got another";
  }
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  BEGIN(initialisation);
  *count = int(gpus().size());
  return call.result();
}
CUresult cuDeviceGet(CUdevice* found, int device) {
  BEGIN_WITH_DEVICE;
  *found = device;
  return call.result();
}
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  BEGIN_WITH_DEVICE;
  const Gpu& gpu = gpus()[device];
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = gpu.capability / 10; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = gpu.capability % 10; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = gpu.shared_memory; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = gpu.multiprocessors; break;
    default: return call.result(CUDA_ERROR_INVALID_VALUE);
  }
  return call.result();
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  BEGIN_WITH_DEVICE;
  Context& made = call.state().contexts[device];
  made.device = device;
  if (!made.number) made.number = ++call.state().contexts_made;
  *context = reinterpret_cast<CUcontext>(&made);
  call << device;
  return call.result();
}
CUresult cuDevicePrimaryCtxReset(CUdevice device) {
  BEGIN_WITH_DEVICE;
  call.state().contexts[device].number = 0;
  return call.result();
}
CUresult cuCtxSetCurrent(CUcontext context) {
  BEGIN(initialisation);
  this_thread.context = reinterpret_cast<Context*>(context);
  return call.result();
}
CUresult cuCtxGetCurrent(CUcontext* context) {
  BEGIN(initialisation);
  *context = reinterpret_cast<CUcontext>(this_thread.context);
  return call.result();
}
CUresult cuCtxGetDevice(CUdevice* device) {
  BEGIN(context);
  *device = call.context().device;
  return call.result();
}
CUresult cuCtxGetId(CUcontext context, unsigned long long* number) {
  BEGIN(context);
  *number = (context ? reinterpret_cast<Context*>(context) : &call.context())->number;
  return call.result(*number ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED);
}

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  BEGIN(loading);
  if (!translated_kernels().empty()) {  // translated kernels run instead of `image`
    *module = reinterpret_cast<CUmodule>(new Module{call.context().number, {}});
    return call.result();
  }
  Code code = read_code(image);
  call << code.name();
  if (!code.capability) return call.result(CUDA_ERROR_INVALID_IMAGE);
  if (!runs_on(code, call.gpu().capability))
    return call.result(code.ptx ? CUDA_ERROR_INVALID_PTX : CUDA_ERROR_NO_BINARY_FOR_GPU);
  *module = reinterpret_cast<CUmodule>(new Module{call.context().number, std::move(code)});
  return call.result();
}
CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  BEGIN(loading);
  const auto& m = *reinterpret_cast<Module*>(module);
  call << name;
  if (m.context != call.context().number) return call.result(CUDA_ERROR_INVALID_HANDLE);
  const Translated* const t = translated(name);
  if (!t && !m.code.kernels.count(name)) return call.result(CUDA_ERROR_NOT_FOUND);
  const int static_shared = t ? int(t->static_shared) + call.state().extra_shared : 16;
  *function = reinterpret_cast<CUfunction>(new Function{m.context, name, t, static_shared});
  return call.result();
}
CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction function) {
  BEGIN_WITH_FUNCTION(loading);
  if (f.context != call.context().number) return call.result(CUDA_ERROR_INVALID_HANDLE);
  if (attribute != CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES) return call.result(CUDA_ERROR_INVALID_VALUE);
  *value = f.static_shared;
  return call.result();
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  BEGIN_WITH_FUNCTION(loading);
  if (f.context != call.context().number) return call.result(CUDA_ERROR_INVALID_HANDLE);
  const int most = call.gpu().shared_memory - f.static_shared;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return call.result(CUDA_ERROR_INVALID_VALUE);
  if (value < 0 || value > most) return call.result(refuse_shared(value, most));
  f.max_dynamic = value;
  return call.result();
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function, int threads, size_t shared) {
  BEGIN_WITH_FUNCTION(loading);
  if (const CUresult error = check_block(call, f, threads, shared)) return call.result(error);
  *blocks = blocks_per_multiprocessor(call.gpu(), f, threads, shared);
  return call.result();
}
// The blocks of a cluster share a GPC (graphics processing cluster). The last GPC may be smaller.
CUresult cuOccupancyMaxActiveClusters(int* clusters, CUfunction function, const CUlaunchConfig* config) {
  BEGIN_WITH_FUNCTION(loading);
  CUresult error = check_block(call, f, threads_of(*config), config->sharedMemBytes);
  if (!error) error = check_grid(call, f, *config);
  if (!error) {
    const Gpu& gpu = call.gpu();
    const int blocks_of_one = blocks_per_multiprocessor(gpu, f, threads_of(*config), config->sharedMemBytes);
    const int blocks = int(*cluster_of(f, *config)), last = gpu.multiprocessors % gpu.gpc;
    *clusters = gpu.multiprocessors / gpu.gpc * (gpu.gpc * blocks_of_one / blocks) + last * blocks_of_one / blocks;
  }
  return call.result(error);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** arguments, void** extra) {
  BEGIN_WITH_FUNCTION(context);
  const CUlaunchConfig& c = *config;
  call << "grid" << c.gridDimX << c.gridDimY << c.gridDimZ << "threads" << threads_of(c) << "shared" << c.sharedMemBytes
       << "cluster" << cluster_of(f, c).value_or(0);
  CUresult error = check_block(call, f, threads_of(c), c.sharedMemBytes);
  if (!error) error = check_grid(call, f, c);
  if (!error) error = check_stream(call, c.hStream);
  if (!error && (!arguments || !arguments[0] || extra)) error = CUDA_ERROR_INVALID_VALUE;
  if (!error && f.translated) error = run(f, c, arguments[0]);
  return call.result(error);
}
CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned threads_x, unsigned threads_y,
    unsigned threads_z, unsigned shared, CUstream stream, void** arguments, void** extra) {
  const CUlaunchConfig config{x, y, z, threads_x, threads_y, threads_z, shared, stream, nullptr, 0};
  return cuLaunchKernelEx(&config, function, arguments, extra);
}
CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  BEGIN(initialisation);
  std::swap(this_thread.mode, *mode);
  return call.result();
}
CUresult cuStreamCreate(CUstream* stream, unsigned) {
  BEGIN(context);
  *stream = reinterpret_cast<CUstream>(new Stream{call.context().number});
  return call.result();
}
CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
  BEGIN(context);
  call.state().captures[stream] = {std::this_thread::get_id(), mode};
  return call.result();
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  BEGIN(context);
  const auto capture = call.state().captures.find(stream);
  if (capture == call.state().captures.end()) return call.result(CUDA_ERROR_ILLEGAL_STATE);
  const bool broken = capture->second.broken;
  call.state().captures.erase(capture);
  *graph = nullptr;
  return call.result(broken ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS);
}

const char* fake_calls() {
  static thread_local std::string text;
  const std::lock_guard lock(the_state().mutex);
  text.clear();
  for (const std::string& call : the_state().calls) text += call + '\n';
  return text.c_str();
}
int fake_count(const char* beginning) {
  const std::lock_guard lock(the_state().mutex);
  const auto begins = [&](const std::string& call) { return (call + ' ').rfind(beginning, 0) == 0; };
  return int(std::count_if(the_state().calls.begin(), the_state().calls.end(), begins));
}
void fake_forget() {
  const std::lock_guard lock(the_state().mutex);
  the_state().calls.clear();
}

}  // extern "C"
