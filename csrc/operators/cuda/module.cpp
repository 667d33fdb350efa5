// The extension module _C_cuda, whose import registers the recurrences on a GPU;
// pixelrnn_ext/operators/{recurrence,lstm2d}/gpu.py make the public operators' CUDA kernels of them.
#include <Python.h>
#include <torch/csrc/stable/library.h>

#include "gradient_operands.h"
#include "lstm2d.h"
#include "recurrence.h"
#include "schemas.h"

PyMODINIT_FUNC PyInit__C_cuda(void) {
  static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C_cuda", nullptr, -1, nullptr};
  return PyModule_Create(&module);
}

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) { PIXELRNN_RECURRENCE_SCHEMAS(m); }
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CUDA, m) { PIXELRNN_RECURRENCE_KERNELS(m); }
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CompositeExplicitAutograd, m) {
  m.impl("describe_plan", TORCH_BOX(&pixelrnn::cuda::describe_plan));
}
