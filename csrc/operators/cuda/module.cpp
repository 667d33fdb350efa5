// The library _C_cuda. Loading it registers the GPU operators.
#include <torch/csrc/stable/library.h>

#include <stdexcept>
#include <string>

#include "../../cuda/driver/kernel_loader.h"
#include "columns.h"
#include "recurrence.h"
#include "tensors.h"

namespace pixelrnn::cuda {
namespace {

// Returns why there are no kernels for a compute capability (90 means 9.0), or an empty text.
std::string why_unsupported(int64_t capability) {
  return code_capability(int(capability)) ? "" : why_no_code(int(capability));
}

// Returns the version of CUDA that NVIDIA's driver supports, 1000 * major + 10 * minor. Returns 0 without a driver.
int64_t driver_version() try {
  int version = 0;
  check(driver().cuDriverGetVersion(&version));
  return version;
} catch (const std::runtime_error&) { return 0; }

// Returns an empty text if there are kernels for at least one visible GPU. Otherwise returns the reason why there are
// no kernels.
std::string why_no_gpu() try {
  const Driver& d = driver();
  int count = 0;
  check(d.cuDeviceGetCount(&count));
  std::string why = "expected a GPU, but NVIDIA's driver sees none";
  for (int i = 0; i < count; ++i) {
    CUdevice device = 0;
    int capability = 0;
    check(d.cuDeviceGet(&device, i));
    check(capability_of(device, capability));
    why = why_unsupported(capability);
    if (why.empty()) return why;
  }
  return why;
} catch (const std::runtime_error& error) {
  const std::string text = error.what(), prefix = "pixelrnn_ext: ";
  return text.rfind(prefix, 0) ? text : text.substr(prefix.size());
}

}  // namespace
}  // namespace pixelrnn::cuda

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) {
  pixelrnn::cuda::define_recurrences(m);
  pixelrnn::cuda::define_sampling(m);
  m.def("why_no_code(int capability) -> str");
  m.def("why_no_gpu() -> str");
  m.def("driver_version() -> int");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CUDA, m) {
  pixelrnn::cuda::implement_recurrences(m);
  pixelrnn::cuda::implement_sampling(m);
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CompositeExplicitAutograd, m) {
  m.impl("describe_current_plan", TORCH_BOX(&pixelrnn::cuda::describe_current_plan));
  m.impl("why_no_code", TORCH_BOX(&pixelrnn::cuda::why_unsupported));
  m.impl("why_no_gpu", TORCH_BOX(&pixelrnn::cuda::why_no_gpu));
  m.impl("driver_version", TORCH_BOX(&pixelrnn::cuda::driver_version));
}
