// The backward scan of one image, from the last line to the first: weights resident, two barriers a line.
//
//   dgates(t) from dh(t) and dc(t + 1)                                               each block for its own units
//   dh(t - 1) = dh from outside + sum over taps and gates of the weights * dgates(t)
//
// The product's K is split over the blocks: each multiplies its own gates and gets a partial sum for all units, which it
// pushes to their owners. An owner adds the parts in rank order, so that the result is the same in every run.
#pragma once
#include "../cell.h"
#include "block.cuh"
#include "math.cuh"
#include "product.cuh"

namespace pixelrnn::cuda {

// Four lanes (q % 4 = 0..3) hold v[0..3] each; afterwards lane i holds element i of all four.
__device__ __forceinline__ float4 transpose4(const float (&v)[4], int q) {
  const bool odd = q & 1, high = q & 2;
  const float a = __shfl_xor_sync(~0u, odd ? v[0] : v[1], 4), b = __shfl_xor_sync(~0u, odd ? v[2] : v[3], 4);
  const float low0 = odd ? a : v[0], low1 = odd ? v[1] : a;    // element q % 2 of lanes q & ~1 and q | 1
  const float high0 = odd ? b : v[2], high1 = odd ? v[3] : b;  // element q % 2 + 2
  const float c = __shfl_xor_sync(~0u, high ? low0 : high0, 8), d = __shfl_xor_sync(~0u, high ? low1 : high1, 8);
  return high ? make_float4(c, d, high0, high1) : make_float4(low0, low1, c, d);
}

// PAIRS as in the forward. OWN: the most cells that a thread computes of a line (pass_cells() apart), their gradient of the cell
// state in registers; 0: any number, in shared memory.
template <Format F, int PAIRS, int OWN, int THREADS> __device__ __forceinline__ void scan_backward(const BackwardArgs& a) {
  using T = Traits<F>;
  using Value = typename T::Value;
  using Four = typename T::Four;
  using ActiveFour = typename T::ActiveFour;

  const Tiling& s = a.tiling;
  const Place at(s, a.images, a.pixels);
  const Geometry g = a.geometry[at.direction];
  const int hidden = s.hidden, units = s.units, stride = s.stride();
  unsigned char* const line = primitive::dynamic_shared();  // [row][unit][4]
  float* const parts = reinterpret_cast<float*>(line + s.line_bytes());
  unsigned char* const behind = line + s.line_bytes() + s.parts_bytes();
  uint4* const shared_weights = reinterpret_cast<uint4*>(behind);
  float* const shared_dc = reinterpret_cast<float*>(behind + (PAIRS ? 0 : s.weight_bytes()));  // [cell][unit]
  const uint4* const packed = static_cast<const uint4*>(a.packed) + int64_t(at.direction * s.blocks + at.rank) * (s.weight_bytes() / 16);

  for (int i = at.thread; i < s.line_bytes() / 16; i += blockDim.x) reinterpret_cast<uint4*>(line)[i] = make_uint4(0, 0, 0, 0);
  const SliceWeights<F, 1, PAIRS> weights(s, packed, shared_weights, at.slice, at.lane);

  // The pointwise half: this thread's unit, at cells first_cell, first_cell + pass, ...
  const int own_unit = at.thread % units, unit = at.rank * units + own_unit, pass = s.pass_cells();
  const int first_cell = at.thread / units < pass ? at.thread / units : g.cells;
  const float c0 = a.c0 ? T::widen(static_cast<const Value*>(a.c0)[at.direction * hidden + unit]) : 0.0f;
  auto position = [&](int t, int cell) { return (at.map + g.pixel(t, cell)) * hidden + unit; };
  auto cell_state = [&](int t, int cell) { return g.active(t, cell) ? a.c[position(t, cell)] : c0; };

  struct Saved {  // what a cell needs from the forward and from outside
    float c_prev;
    Value dh;
    ActiveFour active;
  };
  auto load = [&](Saved& saved, int t, int cell) {
    if (cell >= g.cells) return;
    saved.c_prev = cell_state(t - 1, cell);
    if (!g.active(t, cell)) return;
    saved.dh = static_cast<const Value*>(a.dh)[position(t, cell)];
    saved.active = static_cast<const ActiveFour*>(a.gates)[position(t, cell)];
  };
  auto differentiate = [&](const Saved& saved, int t, int cell, float c, float& dc) {
    float dh = T::widen(saved.dh);
    if (t + 1 < g.lines) {
      const float* sum = parts + (t & (s.part_buffers() - 1)) * s.blocks * s.part_floats() + cell * s.part_stride() + own_unit;
      for (int k = 0; k < s.blocks; ++k, sum += s.part_floats()) dh += *sum;
    }
    const float4 v = T::widen_active(saved.active);
    const Gates<float> d = cell_backward<ScalarMath>(Gates<float>{v.x, v.y, v.z, v.w}, c, saved.c_prev, dh, dc);
    const Four dx = T::narrow(make_float4(d.i, d.f, d.g, d.o));
    static_cast<Four*>(a.dx)[position(t, cell)] = dx;
    reinterpret_cast<Four*>(line + (cell + s.border()) * stride)[own_unit] = T::line_value(dx);
  };

  // With OWN, what the line before needs is on its way while this line is computed; its c_prev is the next c.
  float dc[OWN ? OWN : 1] = {}, c[OWN ? OWN : 1];
  Saved saved[OWN ? OWN : 1];
  if constexpr (OWN > 0) {
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      const int cell = first_cell + i * pass;
      if (cell < g.cells) c[i] = cell_state(g.lines - 1, cell);
      load(saved[i], g.lines - 1, cell);
    }
  } else {
    for (int cell = first_cell; cell < g.cells; cell += pass) shared_dc[cell * units + own_unit] = 0;
  }
  arrive(s);
  wait(s);  // the line is zero, and every peer has started

  for (int t = g.lines - 1;; --t) {
    const Window window(g, t), next_window(g, t - 1);
    // A cell of the line that is read was active, or is still zero.
    if constexpr (OWN > 0) {
#pragma unroll
      for (int i = 0; i < OWN; ++i) {
        const int cell = first_cell + i * pass;
        if (window.has(cell)) differentiate(saved[i], t, cell, c[i], dc[i]);
        c[i] = saved[i].c_prev;
        if (t > 0) load(saved[i], t - 1, cell);
      }
    } else {
#pragma unroll 2
      for (int cell = first_cell; cell < window.last; cell += pass)
        if (cell >= window.first) {
          load(saved[0], t, cell);
          differentiate(saved[0], t, cell, a.c[position(t, cell)], shared_dc[cell * units + own_unit]);
        }
    }
    if (t == 0) break;  // nothing was pushed after the last barrier: a block may leave
    __syncthreads();    // the block's gates are complete

    float* const mine = parts + (((t - 1) & (s.part_buffers() - 1)) * s.blocks + at.rank) * s.part_floats();
#pragma unroll 1
    for (int n = 0; n < s.tiles; ++n) {
      const int cell = kTileCells * (n * s.groups + at.group);
      if (!next_window.meets(cell)) continue;
      auto push = [&](int to_cell, int to_unit, float4 v) {
        if (!next_window.has(to_cell) || to_unit >= hidden) return;
        const uint32_t to = primitive::shared_address(mine + to_cell * s.part_stride() + to_unit % units);
        if (s.blocks > 1)
          primitive::store_peer16(primitive::map_rank(to, to_unit / units), bits<uint4>(v));
        else
          primitive::store16(to, bits<uint4>(v));
      };
      if constexpr (T::kFma) {
        float z[4][2];
        multiply_fma(z, line + (cell + 2 * at.p) * stride, s, reinterpret_cast<const float*>(shared_weights) + at.slice * 32 + 4 * at.q);
#pragma unroll
        for (int j = 0; j < 2; ++j) push(cell + 2 * at.p + j, at.slice * 32 + 4 * at.q, make_float4(z[0][j], z[1][j], z[2][j], z[3][j]));
      } else {
        float z[2][2];
        multiply<F, PAIRS>(z, primitive::shared_address(line + cell * stride), s, at.lane, weights);
        // Four neighbouring units at one cell: one store.
        const float4 v = transpose4({z[0][0], z[0][1], z[1][0], z[1][1]}, at.q);
        push(cell + 2 * at.p + (at.q & 1), at.slice * 16 + 4 * (at.q & 2) + (at.q & 4), v);
      }
    }
    arrive(s);
    wait(s);  // the parts have arrived, and the gates may be overwritten
  }
  if (!a.dc_first) return;
  auto store_dc = [&](int cell, float value) {
    if (cell < g.cells) a.dc_first[((int64_t(at.direction) * a.images + at.image) * g.cells + cell) * hidden + unit] = value;
  };
  if constexpr (OWN > 0) {
#pragma unroll
    for (int i = 0; i < OWN; ++i) store_dc(first_cell + i * pass, dc[i]);
  } else {
    for (int cell = first_cell; cell < g.cells; cell += pass) store_dc(cell, shared_dc[cell * units + own_unit]);
  }
}

}  // namespace pixelrnn::cuda
