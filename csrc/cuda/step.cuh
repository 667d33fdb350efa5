#pragma once
#include "../cell.h"
#include "convert.cuh"
#include "math.cuh"
#include "primitives.cuh"
#include "step.h"

namespace pixelrnn::cuda {

// The type that T is computed in (and c stored), and the type of activated gates.
template <class T> struct StepTraits {
  using Compute = T;
  using Active = T;
};
template <> struct StepTraits<__half> {
  using Compute = float;
  using Active = __half;
};
template <> struct StepTraits<__nv_bfloat16> {
  using Compute = float;
  using Active = __half;
};

// One hidden unit of one active cell.
struct StepUnit {
  int unit, image, cell;
  int64_t product;  // its index in [directions][active][images][hidden]
  int64_t here;     // in a map
  int64_t row;      // in [directions][cells][images][hidden]
  bool has_before;  // the cell of the line before that the cell state comes from is active
  int64_t before;   // in a map

  __device__ __forceinline__ StepUnit(const StepShape& s, uint32_t i, int direction) {
    const Geometry g = s.geometry[direction];
    product = direction * int64_t(s.active) * s.images * s.hidden + i;
    const uint32_t row_of_line = i / s.hidden;
    unit = int(i - row_of_line * s.hidden);
    cell = s.first + int(row_of_line / s.images), image = int(row_of_line % s.images);
    const int64_t map = (int64_t(direction) * s.images + image) * s.pixels;
    here = (map + g.pixel(s.line, cell)) * s.hidden + unit;
    row = ((int64_t(direction) * g.cells + cell) * s.images + image) * s.hidden + unit;
    has_before = g.active(s.line - 1, cell);
    before = (map + g.pixel(s.line - 1, cell)) * s.hidden + unit;
  }
};

// f(value of the unit's row of the operand, tap) for each cell and tap that reads this cell: `sign` cells along a tap.
template <class F> __device__ __forceinline__ void for_each_reader(
    const StepShape& s, const StepUnit& u, int direction, int sign, F f) {
  const int cells = s.geometry[direction].cells;
  for (int k = 0; k < s.taps; ++k) {
    const int reader = u.cell + sign * (s.taps / 2 - k);
    if (reader < 0 || reader >= cells) continue;
    f((((int64_t(direction) * cells + reader) * s.images + u.image) * s.taps + k) * s.hidden + u.unit);
  }
}

template <class F> __device__ __forceinline__ void for_each_unit(const StepShape& s, F f) {
  const uint32_t units = uint32_t(s.active) * s.images * s.hidden;  // < 2^31: recurrence.cpp checks it
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < units; i += gridDim.x * blockDim.x)
    f(StepUnit(s, i, blockIdx.y));
}

template <class T, class C> __device__ __forceinline__ void store_four(T* to, const Gates<C>& v) {
  to[0] = narrow<T>(v.i), to[1] = narrow<T>(v.f), to[2] = narrow<T>(v.g), to[3] = narrow<T>(v.o);
}

template <class T> __device__ __forceinline__ void step_forward(const StepForwardArgs& a) {
  using C = typename StepTraits<T>::Compute;
  using Active = typename StepTraits<T>::Active;
  for_each_unit(a.shape, [&](const StepUnit& u) {
    const T* const product = static_cast<const T*>(a.product) + 4 * u.product;
    const T* const x = static_cast<const T*>(a.x) + 4 * u.here;
    C z[4];
    for (int i = 0; i < 4; ++i) z[i] = widen(product[i]) + widen(x[i]);
    C* const c_map = static_cast<C*>(a.c);
    C c_prev = 0;
    if (u.has_before) c_prev = c_map[u.before];
    else if (a.c0) c_prev = widen(static_cast<const T*>(a.c0)[blockIdx.y * a.shape.hidden + u.unit]);
    const Gates<C> gates = activate<ScalarMath>(Gates<C>{z[0], z[1], z[2], z[3]});
    const C c = next_c(gates, c_prev), h = hidden_state<ScalarMath>(gates, c);
    c_map[u.here] = c;
    static_cast<T*>(a.h)[u.here] = narrow<T>(h);
    Active* const active = static_cast<Active*>(a.gates) + 4 * u.here;
    store_four(active, gates);
    for_each_reader(a.shape, u, blockIdx.y, 1, [&](int64_t at) { static_cast<T*>(a.operand)[at] = narrow<T>(h); });
  });
}

template <class T> __device__ __forceinline__ void step_backward(const StepBackwardArgs& a) {
  using C = typename StepTraits<T>::Compute;
  using Active = typename StepTraits<T>::Active;
  for_each_unit(a.shape, [&](const StepUnit& u) {
    const C* const c_map = static_cast<const C*>(a.c);
    C c_prev = 0;
    if (u.has_before) c_prev = c_map[u.before];
    else if (a.c0) c_prev = widen(static_cast<const T*>(a.c0)[blockIdx.y * a.shape.hidden + u.unit]);
    C dh = widen(static_cast<const T*>(a.dh)[u.here]);
    if (a.product) dh += widen(static_cast<const T*>(a.product)[u.product]);
    const Active* const active = static_cast<const Active*>(a.gates) + 4 * u.here;
    C& dc = static_cast<C*>(a.dc)[u.row];
    const Gates<C> d =
        cell_backward<ScalarMath>(Gates<C>{widen(active[0]), widen(active[1]), widen(active[2]), widen(active[3])},
            c_map[u.here], c_prev, dh, dc);
    store_four(static_cast<T*>(a.dx) + 4 * u.here, d);
    for_each_reader(
        a.shape, u, blockIdx.y, -1, [&](int64_t at) { store_four(static_cast<T*>(a.operand) + 4 * at, d); });
  });
}

}  // namespace pixelrnn::cuda
