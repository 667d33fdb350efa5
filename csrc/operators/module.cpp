// The library _C. Loading it registers the CPU operators, and the operators that plan CUDA kernels.
#include <string>
#include <utility>

#include "operators.h"
#include "planning.h"

namespace pixelrnn {
namespace {

// Selects the instruction set `level` (cpu/kernels.h), unless this CPU lacks that instruction set. Returns the
// instruction set that is then in use.
int64_t set_instruction_set(int64_t level) {
  if (level >= 0 && level <= cpu::best_instruction_set()) instruction_set = int(level);
  return instruction_set;
}

// Returns the names of the instruction sets of this CPU, separated by spaces. The position of a name is its level.
std::string instruction_sets() {
  std::string names;
  for (int level = 0; level <= cpu::best_instruction_set(); ++level)
    names += (level ? " " : "") + std::string(cpu::instruction_set_name(level));
  return names;
}

// Returns whether kernels multiply bfloat16 without a conversion to float32. May ask Linux for AMX.
bool multiplies_bfloat16() { return cpu::multiplies_bfloat16(instruction_set); }

bool set_threads_at_once(bool value) { return std::exchange(concurrent_shares, value); }

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY(pixelrnn_ext, m) {
  m.def("set_instruction_set(int level) -> int");
  m.def("instruction_sets() -> str");
  m.def("multiplies_bfloat16() -> bool");
  m.def("why_no_amx() -> str");
  m.def("set_threads_at_once(bool value) -> bool");
  pixelrnn::cuda::define_planning(m);
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CompositeExplicitAutograd, m) {
  m.impl("set_instruction_set", TORCH_BOX(&pixelrnn::set_instruction_set));
  m.impl("instruction_sets", TORCH_BOX(&pixelrnn::instruction_sets));
  m.impl("multiplies_bfloat16", TORCH_BOX(&pixelrnn::multiplies_bfloat16));
  m.impl("why_no_amx", TORCH_BOX(&pixelrnn::cpu::why_no_amx));
  m.impl("set_threads_at_once", TORCH_BOX(&pixelrnn::set_threads_at_once));
  pixelrnn::cuda::implement_planning(m);
}
