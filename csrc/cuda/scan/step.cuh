#pragma once
#include <type_traits>

#include "../../cell.h"
#include "../../cell5.h"
#include "../convert.cuh"
#include "../math.cuh"
#include "../primitives.cuh"
#include "step.h"

namespace pixelrnn::cuda {

// For tensors of type T, the arithmetic and c have the type ComputeOf<T>, and saved gates SavedGate<T>.
template <class T> using ComputeOf = decltype(widen(T()));
template <class T> struct SavedGate { using Type = T; };
template <> struct SavedGate<__nv_bfloat16> { using Type = __half; };

struct StepUnit {
  int unit, image, cell, direction;
  int64_t product_row;  // row in the matrix product, [directions][active cells][images]
  int64_t pixel;        // index in tensors [directions][images][pixels]
  int64_t h_index;      // index in h and dh, [images][pixels][directions][hidden]
  int64_t dc_row;       // index in dc, [directions][cells][images]
  bool is_active;       // false outside an image that is smaller than the tensors
  // has_left and has_up tell whether the left and the upper neighbour of the cell are in the image. A Row LSTM has no
  // left neighbour: its c comes from the pixel above, and has_left tells whether that pixel is in the image.
  bool has_left, has_up;
  int to_left, to_up;  // distances to the neighbours' `pixel`

  PIXELRNN_DEVICE StepUnit(const StepShape& s, uint32_t i, int direction) : direction(direction) {
    const uint32_t line_row = i / s.hidden;
    unit = int(i - line_row * s.hidden);
    cell = s.first + int(line_row / s.images), image = int(line_row % s.images);
    const Geometry g = s.ragged.sizes ? s.ragged.geometry(image, direction) : s.geometry[direction];
    product_row = direction * int64_t(s.active) * s.images + line_row;
    dc_row = (int64_t(direction) * s.geometry[direction].cells + cell) * s.images + image;
    is_active = g.is_active(s.line, cell);
    const int here = g.pixel(s.line, cell);
    pixel = (int64_t(direction) * s.images + image) * s.pixels + here;
    h_index = ((int64_t(image) * s.pixels + here) * s.directions + direction) * s.hidden + unit;
    has_left = g.is_active(s.line - 1, cell), has_up = g.is_active(s.line - 1, cell - 1);
    to_left = -g.line_stride, to_up = -g.line_stride - g.cell_stride;
  }
};

// Calls f(row) for each row of the next product's operand that this cell's result belongs to. `sign` is 1 in the
// forward and -1 in the backward.
template <class F> PIXELRNN_DEVICE void for_each_reader(const StepShape& s, const StepUnit& u, int sign, F f) {
  const int cells = s.geometry[u.direction].cells;
  for (int k = 0; k < s.taps; ++k) {
    const int reader = u.cell + sign * (s.taps / 2 - k);
    if (reader < 0 || reader >= cells) continue;
    f(((int64_t(u.direction) * cells + reader) * s.images + u.image) * s.taps + k);
  }
}

template <class F> PIXELRNN_DEVICE void for_each_unit(const StepShape& s, F f) {
  const uint32_t units = uint32_t(s.active) * s.images * s.hidden;  // below 2^31, as the operator checks
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < units; i += gridDim.x * blockDim.x) {
    const StepUnit u(s, i, blockIdx.y);
    if (u.is_active) f(u);
  }
}

template <int G, class C> using GatesOf = std::conditional_t<G == 4, Gates<C>, FiveGates<C>>;

template <int G, class C, class T> PIXELRNN_DEVICE GatesOf<G, C> load_gates(
    const void* rows, int64_t row, int unit, int hidden) {
  const T* const first = static_cast<const T*>(rows) + row * (G * hidden);
  const T* const four = first + 4 * unit;
  GatesOf<G, C> v{widen(four[0]), widen(four[1]), widen(four[2]), widen(four[3])};
  if constexpr (G == 5) v.up = widen(first[4 * hidden + unit]);
  return v;
}
template <int G, class C, class T> PIXELRNN_DEVICE void store_gates(
    void* rows, int64_t row, int unit, int hidden, const GatesOf<G, C>& v) {
  T* const first = static_cast<T*>(rows) + row * (G * hidden);
  T* const four = first + 4 * unit;
  four[0] = narrow<T>(v.i), four[1] = narrow<T>(v.f), four[2] = narrow<T>(v.g), four[3] = narrow<T>(v.o);
  if constexpr (G == 5) first[4 * hidden + unit] = narrow<T>(v.up);
}
template <int G, class C> PIXELRNN_DEVICE GatesOf<G, C> sum(GatesOf<G, C> a, const GatesOf<G, C>& b) {
  a.i += b.i, a.f += b.f, a.g += b.g, a.o += b.o;
  if constexpr (G == 5) a.up += b.up;
  return a;
}

template <class T> PIXELRNN_DEVICE auto load_c0(const void* states, const StepUnit& u, int hidden) {
  return states ? widen(static_cast<const T*>(states)[u.direction * hidden + u.unit]) : 0;
}
// Calls f with a pointer to the peephole weights, or with null if there are none. Two separate calls of f are needed,
// because the compiler would put the weights in local memory if there were a single call.
template <class T, class F> PIXELRNN_DEVICE void with_peepholes(
    const StepCell& cell, const StepUnit& u, int hidden, F f) {
  using Loaded = Peepholes<ComputeOf<T>>;
  if (!cell.peephole) return f(static_cast<const Loaded*>(nullptr));
  const T* const p = static_cast<const T*>(cell.peephole) + 4 * u.direction * hidden + u.unit;
  const Loaded peepholes{widen(p[0]), widen(p[hidden]), widen(p[2 * hidden]), widen(p[3 * hidden])};
  f(&peepholes);
}

template <class T, int G> PIXELRNN_DEVICE void step_forward(const StepForwardArgs& a) {
  using C = ComputeOf<T>;
  const int hidden = a.shape.hidden;
  for_each_unit(a.shape, [&](const StepUnit& u) {
    const auto z = sum<G, C>(load_gates<G, C, T>(a.product, u.product_row, u.unit, hidden),
        load_gates<G, C, T>(a.x, u.pixel, u.unit, hidden));
    C* const c_here = static_cast<C*>(a.c) + u.pixel * hidden + u.unit;
    const C c0 = load_c0<T>(a.c0, u, hidden), c_left = u.has_left ? c_here[int64_t(u.to_left) * hidden] : c0;
    GatesOf<G, C> gates;
    C c, h;
    if constexpr (!carries_up(G)) {
      gates = activate<StepMath>(z);
      c = next_c(gates, c_left), h = hidden_state<StepMath>(gates, c);
    } else {
      const C c_up = u.has_up ? c_here[int64_t(u.to_up) * hidden] : c0;
      with_peepholes<T>(a.cell, u, hidden, [&](const Peepholes<C>* peepholes) {
        const CellOutput<C> out =
            cell5<StepMath>(a.cell.formula, C(a.cell.scale), peepholes, u.cell == 0, z, c_left, c_up);
        gates = out.gates, c = out.c, h = out.outer * StepMath::tanh(out.inner);
      });
    }
    *c_here = c;
    static_cast<T*>(a.h)[u.h_index] = narrow<T>(h);
    store_gates<G, C, typename SavedGate<T>::Type>(a.gates, u.pixel, u.unit, hidden, gates);
    for_each_reader(
        a.shape, u, 1, [&](int64_t row) { static_cast<T*>(a.operand)[row * hidden + u.unit] = narrow<T>(h); });
  });
}

template <class T, int G> PIXELRNN_DEVICE void step_backward(const StepBackwardArgs& a) {
  using C = ComputeOf<T>;
  const int hidden = a.shape.hidden;
  for_each_unit(a.shape, [&](const StepUnit& u) {
    const C* const c_here = static_cast<const C*>(a.c) + u.pixel * hidden + u.unit;
    const C c0 = load_c0<T>(a.c0, u, hidden), c_left = u.has_left ? c_here[int64_t(u.to_left) * hidden] : c0;
    C dh = widen(static_cast<const T*>(a.dh)[u.h_index]);
    if (a.product) dh += widen(static_cast<const T*>(a.product)[u.product_row * hidden + u.unit]);
    const auto gates = load_gates<G, C, typename SavedGate<T>::Type>(a.gates, u.pixel, u.unit, hidden);
    C& dc = static_cast<C*>(a.dc)[u.dc_row * hidden + u.unit];
    GatesOf<G, C> d;
    if constexpr (!carries_up(G)) {
      d = cell_backward<StepMath>(gates, *c_here, c_left, dh, dc);
    } else {
      const C c_up = u.has_up ? c_here[int64_t(u.to_up) * hidden] : c0;
      // Gradients of c for the cells above. Even and odd lines have their own memory, because other threads still read
      // `line` while this thread writes line - 1.
      const int64_t cells = a.shape.geometry[u.direction].cells + 1, images = a.shape.images;
      auto slot = [&](int line, int cell) -> C& {
        const int64_t row = (int64_t(line & 1) * a.shape.directions + u.direction) * cells + cell;
        return static_cast<C*>(a.dc_up)[(row * images + u.image) * hidden + u.unit];
      };
      C dc_up = slot(a.shape.line, u.cell + 1);
      with_peepholes<T>(a.cell, u, hidden, [&](const Peepholes<C>* peepholes) {
        d = cell5_backward<StepMath>(
            a.cell.formula, C(a.cell.scale), peepholes, gates, *c_here, c_left, c_up, dh, dc, dc_up);
      });
      if (u.cell > 0) slot(a.shape.line - 1, u.cell) = dc_up;
      else static_cast<C*>(a.dc_above)[(u.direction * images + u.image) * hidden + u.unit] += dc_up;
    }
    store_gates<G, C, T>(a.dx, u.pixel, u.unit, hidden, d);
    for_each_reader(a.shape, u, -1, [&](int64_t row) { store_gates<G, C, T>(a.operand, row, u.unit, hidden, d); });
  });
}

}  // namespace pixelrnn::cuda
