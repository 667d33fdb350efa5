#include "kernel_loader.h"

#include <map>
#include <mutex>

#include "device_code.h"

namespace pixelrnn::cuda {
namespace {

// CUDA 12 calls a compute capability 10.1 that CUDA 13 calls 11.0.
bool is_jetson(int capability) {
  return capability == 72 || capability == 87 || capability == 101 || capability == 110;
}
// PTX runs on every later GPU, machine code only on later GPUs of the same major version. Jetsons and other GPUs do not
// run each other's machine code.
bool runs_on(int capability, const DeviceCode& code) {
  if (code.capability >= capability) return code.capability == capability;
  const bool has_jetson = is_jetson(capability) || is_jetson(code.capability);
  return code.ptx || (code.capability / 10 == capability / 10 && !has_jetson);
}
bool is_better(const DeviceCode& a, const DeviceCode& b) {
  return a.ptx != b.ptx ? b.ptx : a.capability > b.capability;
}
const DeviceCode* best_code(int capability, const std::string& kernel) {
  const DeviceCode* best = nullptr;
  for (const DeviceCode* code = device_code; code->data; ++code)
    if (runs_on(capability, *code) && (!best || is_better(*code, *best)) &&
        std::string(code->kernels).find(" " + kernel + " ") != std::string::npos)
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
  CUmodule& module = loaded.modules[code->data];
  if (!module) error = d.cuModuleLoadData(&module, code->data);
  // With lazy loading, the driver's default, this call loads the code, so that the first launch does not have to.
  if (!error) error = d.cuModuleGetFunction(&kernel, module, name.c_str());
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
  const DeviceCode* const code = best_code(capability, "pack_bf16");
  return code ? code->capability : 0;
}

std::string why_no_code(int capability) {
  auto text = [](int c) { return std::to_string(c / 10) + "." + std::to_string(c % 10); };
  std::map<int, bool> built;
  for (const DeviceCode* code = device_code; code->data; ++code) built[code->capability] |= code->ptx;
  std::string list;
  for (const auto& [c, ptx] : built) list += (list.empty() ? "" : ", ") + text(c) + (ptx ? " (and later)" : "");
  return "expected a GPU of a compute capability that the kernels were built for (" + list + "), got " +
         text(capability);
}

}  // namespace pixelrnn::cuda
