#pragma once
#include "column_kernel.h"
#include "column_math.cuh"

namespace pixelrnn::cuda {

// Runs a stage: steps that do not depend on each other. A group of lanes computes four outputs, or a unit's four gates,
// for kImages images, and loads each weight once for them.
template <class T, int kImages> class ColumnStageKernel {
 public:
  PIXELRNN_DEVICE explicit ColumnStageKernel(const ColumnStageArgs<T>& a) : a_(a) {}

  PIXELRNN_DEVICE void run() const {
    // The loads of all first blocks overlap.
    int i = 0;
#pragma unroll
    for (int k = 1; k < kMaxStageSteps; ++k) i += k < a_.steps && int(blockIdx.x) >= a_.first_block[k];
    const StageStep<T>& s = a_.step[i];
    const int64_t thread = int64_t(int(blockIdx.x) - a_.first_block[i]) * kStageThreads + threadIdx.x;
    switch (s.kind) {
      case StageKind::linear: return product<false>(s, thread);
      case StageKind::cell: return product<true>(s, thread);
      case StageKind::pointwise: return pointwise(s, thread);
      case StageKind::draw: return set_value(s, thread);
    }
  }

 private:
  template <class U> static PIXELRNN_DEVICE U* at(const StageColumn<U>& column, int image) {
    return column.data + int64_t(image) * column.stride;
  }

  template <bool is_cell> PIXELRNN_DEVICE void product(const StageStep<T>& s, int64_t thread) const {
    const int lanes = 1 << s.log_lanes, lane = int(thread) & (lanes - 1);
    const int group = int(thread >> s.log_lanes), groups = (a_.images + kImages - 1) / kImages;
    const int quads = is_cell ? s.count : (s.count + kQuad - 1) / kQuad;
    // All lanes of a warp take part in shuffles, so spare threads compute the last quad again.
    const int quad = min(group / groups, quads - 1), image0 = group % groups * kImages;
    T sum[kImages][kQuad] = {};
    const T* w = s.packed + (int64_t(quad) * s.channels + lane) * kQuad;
    for (int t = 0; t < s.taps; ++t) {
      const StageTap<T>& tap = s.tap[t];
      const T* x[kImages];
#pragma unroll
      for (int m = 0; m < kImages; ++m) x[m] = tap.data + int64_t(min(image0 + m, a_.images - 1)) * tap.stride;
      for (int k = lane; k < tap.channels; k += lanes) {
        const Quad<T> weight = *reinterpret_cast<const Quad<T>*>(w + int64_t(k - lane) * kQuad);
#pragma unroll
        for (int m = 0; m < kImages; ++m) {
          const T value = x[m][k];
#pragma unroll
          for (int i = 0; i < kQuad; ++i) sum[m][i] += weight.v[i] * value;
        }
      }
      w += int64_t(tap.channels) * kQuad;
    }
    for (int distance = lanes / 2; distance > 0; distance /= 2)
#pragma unroll
      for (int m = 0; m < kImages; ++m)
#pragma unroll
        for (int i = 0; i < kQuad; ++i) sum[m][i] += __shfl_xor_sync(~0u, sum[m][i], distance);
    // Lane m of a group finishes image m.
    T own[kQuad];
#pragma unroll
    for (int m = 0; m < kImages; ++m)
#pragma unroll
      for (int i = 0; i < kQuad; ++i)
        if (m == 0 || lane == m) own[i] = sum[m][i];
    const int image = image0 + lane;
    if (group / groups >= quads || lane >= kImages || image >= a_.images) return;
    if constexpr (is_cell) cell(s, own, quad, image);
    else outputs(s, own, quad * kQuad, image);
  }

  PIXELRNN_DEVICE void outputs(const StageStep<T>& s, const T (&sum)[kQuad], int first, int image) const {
    const T* const base = at(s.base, image);
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      const int o = first + i;
      if (o >= s.count) break;
      T y = rectified(sum[i] + base[o], s.relu);
      at(s.output, image)[o] = y;
      for (int f = 0; f < s.fused; ++f) {
        const StagePointwise<T>& next = s.pointwise[f];
        if (next.other.data) y += at(next.other, image)[o];
        y = rectified(y, next.relu);
        at(next.output, image)[o] = y;
      }
    }
  }

  PIXELRNN_DEVICE void cell(const StageStep<T>& s, const T (&sum)[kQuad], int unit, int image) const {
    const T* const base = at(s.base, image) + unit;
    T z[kQuad];
#pragma unroll
    for (int g = 0; g < kQuad; ++g) z[g] = sum[g] + base[g * s.gate_stride];
    const Gates<T> gates = activate<CellMath<T>>(Gates<T>{z[0], z[1], z[2], z[3]});
    const T c = next_c(gates, at(s.carried, image)[unit]), h = hidden_state<CellMath<T>>(gates, c);
    const T addend = at(s.addend, image)[unit];
    at(s.c, image)[unit] = c;
    at(s.h, image)[unit] = h;
    at(s.output, image)[unit] = h + addend;
  }

  PIXELRNN_DEVICE void pointwise(const StageStep<T>& s, int64_t thread) const {
    const int image = int(thread / s.count), o = int(thread % s.count);
    if (image >= a_.images) return;
    T y = at(s.base, image)[o];
    if (s.addend.data) y += at(s.addend, image)[o];
    at(s.output, image)[o] = rectified(y, s.relu);
  }

  PIXELRNN_DEVICE void set_value(const StageStep<T>& s, int64_t thread) const {
    const int threads = stage_draw_threads(s.last_level + 1), image = int(thread / threads),
              warp = int(threadIdx.x) >> 5;
    if (image >= a_.images) return;
    const int64_t index = int64_t(image) * s.colours;
    const bool is_known = s.known[index];
    double* const held = reinterpret_cast<double*>(ptx::dynamic_shared());
    const Draw<T> drawn(
        at(s.base, image), s.count, s.last_level, a_.temperature, threads == kStageThreads ? held : held + 32 * warp);
    if (!is_known) drawn.weigh(threads == kStageThreads ? warp : 0, threads / 32);
    if (threads == kStageThreads) __syncthreads();
    if (thread % threads >= 32) return;
    const int64_t value = is_known ? s.values[index] : drawn.value(s.uniform[index]);
    __syncwarp();  // all lanes have read the value, which lane 0 overwrites
    if (thread % threads != 0) return;
    s.values[index] = value;
    *at(s.output, image) = s.scaled[0 <= value && value <= s.last_level ? value : s.last_level];
  }

  const ColumnStageArgs<T>& a_;
};

}  // namespace pixelrnn::cuda
