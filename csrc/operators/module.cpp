// The extension module _C, whose import registers the operators of this folder, and the choice of their instruction
// set.
#include <Python.h>

#include "operators.h"

extern "C" PyMODINIT_FUNC PyInit__C(void) {
  static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr};
  return PyModule_Create(&module);
}

namespace pixelrnn {
namespace {

// Chooses the level (cpu/instruction_set.h) that the CPU kernels use, if this machine has it; returns the level in use.
int64_t set_instruction_set(int64_t level) {
  if (level >= 0 && level <= cpu::best_instruction_set()) instruction_set = int(level);
  return instruction_set;
}

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY(pixelrnn_ext, m) { m.def("set_instruction_set(int level) -> int"); }
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CompositeExplicitAutograd, m) {
  m.impl("set_instruction_set", TORCH_BOX(&pixelrnn::set_instruction_set));
}
