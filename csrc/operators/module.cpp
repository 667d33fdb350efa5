// The library _C. Loading it registers the CPU operators.
#include <string>
#include <utility>

#include "operators.h"

namespace pixelrnn {
namespace {

// Selects the instruction set `level` (cpu/kernels.h), unless this CPU lacks that instruction set. Returns the
// instruction set that is then in use.
int64_t set_instruction_set(int64_t level) {
  if (level >= 0 && level <= cpu::best_instruction_set()) instruction_set = int(level);
  return instruction_set;
}

std::string instruction_set_name(int64_t level) {
  STD_TORCH_CHECK(level >= 0 && level <= cpu::best_instruction_set(),
      "instruction_set_name: expected a level from 0 to ", cpu::best_instruction_set(), ", got ", level);
  return cpu::instruction_set_name(int(level));
}

bool set_threads_at_once(bool value) { return std::exchange(concurrent_shares, value); }

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
