#include "driver.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>
#include <type_traits>

namespace pixelrnn::cuda {
namespace {

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

[[noreturn]] void fail(const std::string& found) { throw std::runtime_error("pixelrnn_ext: expected " + found); }

Driver open_driver() {
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) fail(std::string("NVIDIA's driver, got none: ") + dlerror());
  Driver d;
  auto look_up = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
    if (!function) fail(std::string("NVIDIA's driver 525 or later, got one without ") + name);
  };
#define LOOK_UP(name) look_up(d.name, TEXT(name));
  PIXELRNN_DRIVER(LOOK_UP)
#undef LOOK_UP
  if (const CUresult error = d.cuInit(0)) {
    const char* text = nullptr;
    d.cuGetErrorString(error, &text);
    fail(std::string("a GPU, but NVIDIA's driver says: ") + (text ? text : ("error " + std::to_string(error)).c_str()));
  }
  return d;
}

}  // namespace

const Driver& driver() {
  static const Driver opened = open_driver();
  return opened;
}

CUresult make_current(int index) {
  const Driver& d = driver();
  CUdevice device = 0, current = 0;
  CUresult error = d.cuDeviceGet(&device, index);
  if (error || (d.cuCtxGetDevice(&current) == CUDA_SUCCESS && current == device)) return error;
  CUcontext primary = nullptr;
  error = d.cuDevicePrimaryCtxRetain(&primary, device);
  return error ? error : d.cuCtxSetCurrent(primary);
}

}  // namespace pixelrnn::cuda
