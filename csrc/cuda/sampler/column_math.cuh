// Arithmetic of the two CUDA kernels of the sampler.
#pragma once
#include "../../cell.h"
#include "../math.cuh"
#include "column_kernel.h"

namespace pixelrnn::cuda {

template <class T> struct alignas(16) Quad { T v[kQuad]; };

// Selects the functions sigmoid and tanh of the cells. The type float selects FullMath, which computes sigmoid without
// a division, because the slow path of a division would make the compiler spill registers. The type double selects
// StepMath, because FullMath has no float64 version.
template <class T> struct CellMathOf { using Type = StepMath; };
template <> struct CellMathOf<float> { using Type = FullMath; };
template <class T> using CellMath = typename CellMathOf<T>::Type;

template <class T> PIXELRNN_DEVICE T rectified(T y, bool relu) { return relu && y < T(0) ? T(0) : y; }  // NaN stays NaN

// Returns the first value whose cumulative probability exceeds `uniform` (pixelrnn_ext/likelihood.py), or at
// temperature 0 the most likely value, or -1 if a probability is NaN. All lanes of a warp call this together.
template <class T> PIXELRNN_DEVICE int draw(
    const T* logits, int count, int last_level, int lane, double uniform, double temperature) {
  // A single logit is that of the value 1. The value 0 has the logit 0.
  const auto logit = [&](int value) { return count > 1 ? double(logits[value]) : value ? double(*logits) : 0.; };
  const int levels = last_level + 1, share = (levels + 31) / 32;
  const int first = min(levels, lane * share), end = min(levels, first + share);
  int best = first < levels ? first : 0;
  double top = logit(best);
  for (int i = first + 1; i < end; ++i)
    if (const double x = logit(i); x > top) top = x, best = i;
  for (int distance = 16; distance > 0; distance /= 2) {
    const double other_top = __shfl_xor_sync(~0u, top, distance);
    const int other = __shfl_xor_sync(~0u, best, distance);
    if (other_top > top || (other_top == top && other < best)) top = other_top, best = other;
  }
  const auto weight = [&](int value) {
    const double below_top = logit(value) - top;
    return temperature == 0 ? below_top : ::exp(below_top / temperature);
  };
  double sum = 0;
  for (int i = first; i < end; ++i) sum += weight(i);
  double cumulative = sum;
  for (int distance = 1; distance < 32; distance *= 2) {
    const double before = __shfl_up_sync(~0u, cumulative, distance);
    if (lane >= distance) cumulative += before;
  }
  const double total = __shfl_sync(~0u, cumulative, 31);
  if (total != total) return -1;
  if (temperature == 0) return best;
  const double passed = uniform * total;
  const double before = __shfl_up_sync(~0u, cumulative, 1);
  cumulative = lane ? before : 0;
  // Each lane rounds its sums differently, so the test w > 0 is needed: it excludes values of probability 0.
  int value = levels, last = 0;
  for (int i = first; i < end; ++i) {
    const double w = weight(i);
    cumulative += w;
    if (w > 0) last = i;
    if (w > 0 && cumulative > passed) value = min(value, i);
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    value = min(value, __shfl_xor_sync(~0u, value, distance));
    last = max(last, __shfl_xor_sync(~0u, last, distance));
  }
  return min(value, last);
}

}  // namespace pixelrnn::cuda
