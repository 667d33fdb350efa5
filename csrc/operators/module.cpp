// The library _C. Loading it registers the operators of this folder and their settings.
#include <string>
#include <utility>

#include "operators.h"

namespace pixelrnn {
namespace {

// Sets the level of the CPU kernels (cpu/kernels.h) if this machine has it. Returns the level in use.
int64_t set_instruction_set(int64_t level) {
  if (level >= 0 && level <= cpu::best_instruction_set()) instruction_set = int(level);
  return instruction_set;
}

std::string instruction_set_name(int64_t level) {
  STD_TORCH_CHECK(level >= 0 && level <= cpu::best_instruction_set(), "instruction_set_name: no level ", level);
  return cpu::instruction_set_name(int(level));
}

// Sets whether threads may wait for each other (operators.h). Returns the previous setting.
bool set_threads_at_once(bool value) { return std::exchange(at_once, value); }

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY(pixelrnn_ext, m) {
  m.def("set_instruction_set(int level) -> int");
  m.def("instruction_set_name(int level) -> str");
  m.def("set_threads_at_once(bool value) -> bool");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CompositeExplicitAutograd, m) {
  m.impl("set_instruction_set", TORCH_BOX(&pixelrnn::set_instruction_set));
  m.impl("instruction_set_name", TORCH_BOX(&pixelrnn::instruction_set_name));
  m.impl("set_threads_at_once", TORCH_BOX(&pixelrnn::set_threads_at_once));
}
