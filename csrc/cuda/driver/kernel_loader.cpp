#include "kernel_loader.h"

#include <algorithm>
#include <climits>
#include <map>
#include <mutex>

#include "device_code.h"

namespace pixelrnn::cuda {
namespace {

// CUDA 12 calls a compute capability 10.1 that CUDA 13 calls 11.0.
bool is_jetson(int capability) {
  return capability == 72 || capability == 87 || capability == 101 || capability == 110;
}
int version_of_driver() {
  static const int version = [] {
    int found = 0;
    return driver().cuDriverGetVersion(&found) ? compiler_version : found;
  }();
  return version;
}
// PTX runs on every later GPU, machine code only on later GPUs of the same major version. Jetsons and other GPUs do not
// run each other's machine code.
bool runs_on(int capability, const DeviceCode& code) {
  if (code.capability >= capability) return code.capability == capability;
  const bool has_jetson = is_jetson(capability) || is_jetson(code.capability);
  return code.ptx || (code.capability / 10 == capability / 10 && !has_jetson);
}
std::string cuda_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}
bool is_readable(const DeviceCode& code) { return !code.ptx || version_of_driver() >= compiler_version; }
bool is_better(const DeviceCode& a, const DeviceCode& b) {
  return a.ptx != b.ptx ? b.ptx : a.capability > b.capability;
}
bool has_kernel(const DeviceCode& code, const std::string& kernel) {
  return std::string(code.kernels).find(" " + kernel + " ") != std::string::npos;
}
// A kernel of each file that every layer may need.
constexpr const char* kNeeded[] = {"step_forward_float32_4", "neighbours_16", "border_sums_float32"};

const DeviceCode* best_code(int capability, const std::string& kernel) {
  const DeviceCode* best = nullptr;
  for (const DeviceCode* code = device_code; code->data; ++code)
    if (runs_on(capability, *code) && is_readable(*code) && (!best || is_better(*code, *best)) &&
        has_kernel(*code, kernel))
      best = code;
  return best;
}

// Allows the kernel all dynamic shared memory of a block. Only load() does this, because threads that set a limit for
// each launch would lower each other's limits.
CUresult allow_all_shared_memory(CUfunction kernel, CUdevice device) {
  const Driver& d = driver();
  int limit = 0, used = 0;
  CUresult error = d.cuDeviceGetAttribute(&limit, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device);
  if (!error) error = d.cuFuncGetAttribute(&used, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kernel);
  if (error) return error;
  return d.cuFuncSetAttribute(kernel, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, limit - used);
}

struct LoadedCode {
  std::map<const void*, CUmodule> modules;
  std::map<const void*, CUresult> refused;  // code that the driver cannot load, which may take it seconds to find out
  std::map<std::string, CUfunction> kernels;
};

CUresult load(LoadedCode& loaded, const std::string& name, CUfunction& kernel) {
  const RelaxedCapture relaxed;
  const Driver& d = driver();
  CUdevice device = 0;
  int capability = 0;
  CUresult error = d.cuCtxGetDevice(&device);
  if (!error) error = capability_of(device, capability);
  if (error) return error;
  const DeviceCode* const code = best_code(capability, name);
  if (!code) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  if (const auto found = loaded.refused.find(code->data); found != loaded.refused.end()) return found->second;
  CUmodule& module = loaded.modules[code->data];
  if (!module) error = d.cuModuleLoadData(&module, code->data);
  // With lazy loading, the driver's default, this call loads the code, so that the first launch does not have to.
  if (!error) error = d.cuModuleGetFunction(&kernel, module, name.c_str());
  if (is_without_code(error)) loaded.refused[code->data] = error;
  return error ? error : allow_all_shared_memory(kernel, device);
}

}  // namespace

CUresult load_kernel(const std::string& name, CUfunction& kernel) {
  // The loaded code is stored by the id of its CUDA context, because the driver may reuse the address of a destroyed
  // context, but never reuses an id.
  static std::mutex mutex;
  static std::map<unsigned long long, LoadedCode> contexts;
  unsigned long long context_id = 0;
  if (const CUresult error = driver().cuCtxGetId(nullptr, &context_id)) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  LoadedCode& loaded = contexts[context_id];
  if (const auto found = loaded.kernels.find(name); found != loaded.kernels.end()) {
    kernel = found->second;
    return CUDA_SUCCESS;
  }
  const CUresult error = load(loaded, name, kernel);
  if (!error) loaded.kernels[name] = kernel;
  return error;
}

int code_capability(int capability) {
  int found = INT_MAX;
  for (const char* const kernel : kNeeded) {
    const DeviceCode* const code = best_code(capability, kernel);
    found = std::min(found, code ? code->capability : 0);
  }
  return found;
}

CUresult kernel_capability(const std::string& name, int& capability) {
  CUdevice device = 0;
  int gpu = 0;
  CUresult error = driver().cuCtxGetDevice(&device);
  if (!error) error = capability_of(device, gpu);
  if (error) return error;
  const DeviceCode* const code = best_code(gpu, name);
  capability = code ? code->capability : 0;
  return CUDA_SUCCESS;
}

std::string why_no_code(int capability) {
  auto text = [](int version) { return std::to_string(version / 10) + "." + std::to_string(version % 10); };
  std::map<int, bool> built;
  bool unreadable = false;
  for (const DeviceCode* code = device_code; code->data; ++code) {
    if (!has_kernel(*code, kNeeded[0])) continue;
    built[code->capability] |= code->ptx;
    unreadable |= runs_on(capability, *code) && !is_readable(*code);
  }
  if (unreadable)
    return "expected a driver for CUDA " + cuda_text(compiler_version) +
           " or later, because a GPU of compute capability " + text(capability) + " runs PTX here, got one for CUDA " +
           cuda_text(version_of_driver()) + ": update NVIDIA's driver, or install where this GPU is visible";
  std::string list;
  for (const auto& [c, ptx] : built) list += (list.empty() ? "" : ", ") + text(c) + (ptx ? " (and later)" : "");
  return "expected a GPU of a compute capability that the kernels were built for (" + list + "), got " +
         text(capability);
}

}  // namespace pixelrnn::cuda
