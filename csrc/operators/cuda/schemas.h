// The schemas that the CUDA build (module.cpp) and tests/emulator share; those of the public operators stand in
// ../recurrence.cpp.
#pragma once

// What runs on the device of its tensors.
#define PIXELRNN_RECURRENCE_KERNELS(m)                                                \
  m.impl("recurrence", TORCH_BOX(&pixelrnn::cuda::recurrence));                       \
  m.impl("recurrence_backward", TORCH_BOX(&pixelrnn::cuda::recurrence_backward));     \
  m.impl("recurrence2d", TORCH_BOX(&pixelrnn::cuda::recurrence2d));                   \
  m.impl("recurrence2d_backward", TORCH_BOX(&pixelrnn::cuda::recurrence2d_backward)); \
  m.impl("neighbour_states", TORCH_BOX(&pixelrnn::cuda::neighbour_states));           \
  m.impl("border_sums", TORCH_BOX(&pixelrnn::cuda::border_sums))

#define PIXELRNN_RECURRENCE_SCHEMAS(m)                                                                                \
  m.def(                                                                                                              \
      "recurrence(Tensor x, Tensor weight, Tensor? h0, Tensor? c0, bool diagonal, bool reverse, str path, bool tf32)" \
      " -> (Tensor h, Tensor c, Tensor gates)");                                                                      \
  m.def(                                                                                                              \
      "recurrence_backward(Tensor dh, Tensor weight, Tensor? c0, Tensor c, Tensor gates, bool diagonal, bool "        \
      "reverse, str path, bool tf32)"                                                                                 \
      " -> (Tensor dx, Tensor dc_first)");                                                                            \
  m.def(                                                                                                              \
      "recurrence2d(Tensor x, Tensor weight, Tensor? h0, Tensor? c0, Tensor? peepholes, Tensor? sizes, int[] "        \
      "corners, str cell, str path, bool tf32)"                                                                       \
      " -> (Tensor h, Tensor c, Tensor gates)");                                                                      \
  m.def(                                                                                                              \
      "recurrence2d_backward(Tensor dh, Tensor weight, Tensor? c0, Tensor? peepholes, Tensor? sizes, Tensor c, "      \
      "Tensor gates, int[] corners, str cell, str path, bool tf32)"                                                   \
      " -> (Tensor dx, Tensor dc_left, Tensor dc_above)");                                                            \
  m.def(                                                                                                              \
      "neighbour_states(Tensor h, Tensor? h0, int taps, int first, int count, bool diagonal, bool reverse) -> "       \
      "Tensor");                                                                                                      \
  m.def("border_sums(Tensor dx, int taps, bool diagonal, bool reverse) -> Tensor");                                   \
  m.def(                                                                                                              \
      "describe_plan(int directions, int images, int height, int width, int hidden, int taps, bool diagonal, str "    \
      "format, int capability, str path, int gates=4)"                                                                \
      " -> (str forward, str backward)")
