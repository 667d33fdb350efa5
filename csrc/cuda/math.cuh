// sigmoid and tanh for ../cell.h, in full precision. exp(-x) overflows to infinity, whose sigmoid is 0: never NaN.
#pragma once
#include <cmath>

#include "../host_device.h"

namespace pixelrnn::cuda {

struct ScalarMath {
  static PIXELRNN_HOST_DEVICE float tanh(float x) { return ::tanhf(x); }
  static PIXELRNN_HOST_DEVICE double tanh(double x) { return ::tanh(x); }
  static PIXELRNN_HOST_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + ::expf(-x)); }
  static PIXELRNN_HOST_DEVICE double sigmoid(double x) { return 1.0 / (1.0 + ::exp(-x)); }
};

}  // namespace pixelrnn::cuda
