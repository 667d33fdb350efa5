// The schemas that the CUDA build (../ops_cuda.cpp) and tests/emulator share; those of the public operators stand in ../ops.cpp.
#pragma once

#define PIXELRNN_RECURRENCE_SCHEMAS(m)                                                                                                      \
  m.def(                                                                                                                                    \
      "recurrence(Tensor x, Tensor weight, Tensor? h0, Tensor? c0, bool diagonal, bool reverse, str path, bool tf32)"                       \
      " -> (Tensor h, Tensor c, Tensor gates)");                                                                                            \
  m.def(                                                                                                                                    \
      "recurrence_backward(Tensor dh, Tensor weight, Tensor? c0, Tensor c, Tensor gates, bool diagonal, bool reverse, str path, bool tf32)" \
      " -> (Tensor dx, Tensor dc_first)");                                                                                                  \
  m.def(                                                                                                                                    \
      "describe_plan(int directions, int images, int height, int width, int hidden, int taps, bool diagonal, str format, int capability, str path)" \
      " -> (str forward, str backward)");
