// Explicit conversions of 16-bit numbers, because torch disables the implicit ones.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "../host_device.h"

namespace pixelrnn::cuda {

PIXELRNN_HOST_DEVICE float widen(float v) { return v; }
PIXELRNN_HOST_DEVICE double widen(double v) { return v; }
PIXELRNN_HOST_DEVICE float widen(__half v) { return __half2float(v); }
PIXELRNN_HOST_DEVICE float widen(__nv_bfloat16 v) { return __bfloat162float(v); }

template <class T> PIXELRNN_HOST_DEVICE T narrow(double v) { return T(v); }
template <class T> PIXELRNN_HOST_DEVICE T narrow(float v) { return T(v); }
template <> PIXELRNN_HOST_DEVICE __half narrow(float v) { return __float2half_rn(v); }
template <> PIXELRNN_HOST_DEVICE __nv_bfloat16 narrow(float v) { return __float2bfloat16_rn(v); }

}  // namespace pixelrnn::cuda
