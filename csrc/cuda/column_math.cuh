// Arithmetic of the sampler's steps, for the kernel that runs a stage and the kernel that draws whole images.
#pragma once
#include "../cell.h"
#include "column_kernel.h"
#include "math.cuh"

namespace pixelrnn::cuda {

template <class T> struct alignas(16) Quad { T v[kQuad]; };

// sigmoid and tanh of the cell. FullMath has no division, whose slow path would spill registers, and no float64.
template <class T> struct CellMathOf { using Type = StepMath; };
template <> struct CellMathOf<float> { using Type = FullMath; };
template <class T> using CellMath = typename CellMathOf<T>::Type;

template <class T> PIXELRNN_DEVICE T rectified(T y, bool relu) { return relu && y < T(0) ? T(0) : y; }  // NaN stays NaN

// Returns the first value whose cumulative probability exceeds `uniform` (pixelrnn_ext/likelihood.py), or at
// temperature 0 the most likely value. Each lane has adjacent values, in order.
template <class T> PIXELRNN_DEVICE int draw(
    const T* logits, int count, int last_level, int lane, double uniform, double temperature) {
  // A single logit belongs to the value 1. The value 0 then has the logit 0.
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
  if (temperature == 0) return best;
  const auto weight = [&](int value) { return ::exp((logit(value) - top) / temperature); };
  double sum = 0;
  for (int i = first; i < end; ++i) sum += weight(i);
  double cumulative = sum;  // of the values of this lane and of the lanes before it
  for (int distance = 1; distance < 32; distance *= 2) {
    const double before = __shfl_up_sync(~0u, cumulative, distance);
    if (lane >= distance) cumulative += before;
  }
  const double total = __shfl_sync(~0u, cumulative, 31);
  if (!(total > 0)) return 0;  // a logit is NaN
  const double passed = uniform * total;
  const double before = __shfl_up_sync(~0u, cumulative, 1);
  cumulative = lane ? before : 0;
  // The first value that exceeds `passed`, and the last value that is possible at all. The sums round differently in
  // different lanes, so that only the test of the weight keeps impossible values from being drawn.
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
