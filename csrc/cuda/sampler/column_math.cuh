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

// Draws one of `levels` values from their logits: the first value whose cumulative probability exceeds `uniform`
// (pixelrnn_ext/likelihood.py), or at temperature 0 the most likely value, or -1 if a probability is NaN.
//
// Lane l of a warp has the levels from l * share on. All lanes of a warp call each function together. First, one warp
// or several warps weigh the levels, which takes long: the exponential function of float64 is about 100 instructions.
// They store the weights in shared memory. Then one warp draws. A lane reads only the weights of its own levels, so a
// barrier is needed only if other warps have weighed levels. With more than kHeldLevels levels nothing is stored, and
// the warp weighs each level twice.
template <class T> class Draw {
 public:
  // `held` is shared memory for held_weights(levels) weights.
  PIXELRNN_DEVICE Draw(const T* logits, int count, int last_level, double temperature, double* held)
      : logits_(logits),
        count_(count),
        levels_(last_level + 1),
        lane_(int(threadIdx.x) & 31),
        share_((levels_ + 31) / 32),
        first_(min(levels_, lane_ * share_)),
        end_(min(levels_, first_ + share_)),
        temperature_(temperature),
        held_(levels_ > kHeldLevels ? nullptr : held) {}

  // Weighs the levels with the numbers warp, warp + warps, ... of each lane.
  PIXELRNN_DEVICE void weigh(int warp, int warps) const {
    if (!held_) return;
    double top;
    most_likely(top);
#pragma unroll 2
    for (int i = warp; i < share_; i += warps) held_[32 * i + lane_] = first_ + i < end_ ? weight(first_ + i, top) : 0;
  }

  PIXELRNN_DEVICE int value(double uniform) const {
    double top = 0, sum = 0;
    const int best = held_ && temperature_ != 0 ? 0 : most_likely(top);
    const auto weight_of = [&](int value) { return held_ ? held_[32 * (value - first_) + lane_] : weight(value, top); };
    for (int i = first_; i < end_; ++i) sum += weight_of(i);
    double cumulative = sum;
    for (int distance = 1; distance < 32; distance *= 2) {
      const double before = __shfl_up_sync(~0u, cumulative, distance);
      if (lane_ >= distance) cumulative += before;
    }
    const double total = __shfl_sync(~0u, cumulative, 31);
    if (total != total) return -1;
    if (temperature_ == 0) return best;
    const double passed = uniform * total;
    const double before = __shfl_up_sync(~0u, cumulative, 1);
    cumulative = lane_ ? before : 0;
    // Each lane rounds its sums differently, so the test w > 0 is needed: it excludes values of probability 0.
    int value = levels_, last = 0;
    for (int i = first_; i < end_; ++i) {
      const double w = weight_of(i);
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

 private:
  // A single logit is that of the value 1. The value 0 has the logit 0.
  PIXELRNN_DEVICE double logit(int value) const {
    return count_ > 1 ? double(logits_[value]) : value ? double(*logits_) : 0.;
  }
  PIXELRNN_DEVICE int most_likely(double& top) const {
    int best = first_ < levels_ ? first_ : 0;
    top = logit(best);
    for (int i = first_ + 1; i < end_; ++i)
      if (const double x = logit(i); x > top) top = x, best = i;
    for (int distance = 16; distance > 0; distance /= 2) {
      const double other_top = __shfl_xor_sync(~0u, top, distance);
      const int other = __shfl_xor_sync(~0u, best, distance);
      if (other_top > top || (other_top == top && other < best)) top = other_top, best = other;
    }
    return best;
  }
  PIXELRNN_DEVICE double weight(int value, double top) const {
    const double below_top = logit(value) - top;
    if (temperature_ == 0) return below_top;
    return ::exp(temperature_ == 1 ? below_top : below_top / temperature_);
  }

  const T* const logits_;
  const int count_, levels_, lane_, share_, first_, end_;
  const double temperature_;
  double* const held_;
};

}  // namespace pixelrnn::cuda
