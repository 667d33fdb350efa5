// The forward scan of one image: weights resident, one barrier a line.
//
// A warp owns 8 hidden units with their four gates, so a thread has all gates of one unit at two cells of each tile in its
// accumulators, and keeps those cell states in registers for the whole scan. The line of hidden states is double-buffered in
// the shared memory of every block; each block pushes its units to its peers. One barrier a line is enough: a buffer is
// written one line after it was read.
#pragma once
#include "../cell.h"
#include "block.cuh"
#include "math.cuh"
#include "product.cuh"

namespace pixelrnn::cuda {

// PAIRS: weights in registers, at most so many pairs; 0: in shared memory. TILES: the most that a warp takes.
template <Format F, int PAIRS, int TILES, int THREADS> __device__ __forceinline__ void scan_forward(const ForwardArgs& a) {
  using T = Traits<F>;
  using Value = typename T::Value;
  using Four = typename T::Four;
  using ActiveFour = typename T::ActiveFour;
  // x of the next line is on its way while the block waits and multiplies, if that takes at most an eighth of the register file.
  constexpr bool kPrefetch = 2 * TILES * sizeof(Four) * THREADS < 32 << 10;

  const Tiling& s = a.tiling;
  const Place at(s, a.images, a.pixels);
  const Geometry g = a.geometry[at.direction];
  const int unit = at.rank * s.units + at.slice * 8 + at.q;  // of this thread, in the whole state
  const int hidden = s.hidden, stride = s.stride(), line_bytes = s.line_bytes();
  unsigned char* const lines = primitive::dynamic_shared();
  uint4* const shared_weights = reinterpret_cast<uint4*>(lines + s.lines_bytes());
  const uint4* const packed = static_cast<const uint4*>(a.packed) + int64_t(at.direction * s.blocks + at.rank) * (s.weight_bytes() / 16);

  // Every cell outside the image has the state h0; both buffers start as such cells, and no inactive cell is written before it
  // was active for the last time.
  const Value* const h0 = a.h0 ? static_cast<const Value*>(a.h0) + at.direction * hidden : nullptr;
  for (int i = at.thread; i < 2 * line_bytes / 16; i += blockDim.x) reinterpret_cast<uint4*>(lines)[i] = make_uint4(0, 0, 0, 0);
  if (h0) {
    __syncthreads();
    for (int in = at.thread; in < hidden; in += blockDim.x)
      for (int r = 0; r < 2 * s.rows(); ++r) reinterpret_cast<Value*>(lines + r * stride)[in] = T::line_value(h0[in]);
  }
  const SliceWeights<F, 2, PAIRS> weights(s, packed, shared_weights, at.slice, at.lane);

  float c[TILES][2];
  const float c0 = a.c0 ? T::widen(static_cast<const Value*>(a.c0)[at.direction * hidden + unit]) : 0.0f;
#pragma unroll
  for (int n = 0; n < TILES; ++n) c[n][0] = c[n][1] = c0;

  Four next[TILES][2] = {};
  auto first_cell = [&](int n) { return kTileCells * (n * s.groups + at.group); };
  auto position = [&](int t, int cell) { return (at.map + g.pixel(t, cell)) * hidden + unit; };
  auto load_x = [&](Four(&x)[2], int n, int t, const Window& window) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int cell = first_cell(n) + 2 * at.p + j;
      if (window.has(cell)) x[j] = static_cast<const Four*>(a.x)[position(t, cell)];
    }
  };
  if constexpr (kPrefetch)
#pragma unroll
    for (int n = 0; n < TILES; ++n) load_x(next[n], n, 0, Window(g, 0));
  arrive(s);
  wait(s);  // the lines are filled, and every peer has started

  // What a tile writes to memory waits until the next tile is computed, or until the block has arrived at the barrier, whose release
  // waits for all earlier writes: no other thread of the launch reads these.
  struct {
    int cell;
    float c[2];
    Value h[2];
    ActiveFour active[2];
  } pending;

  for (int t = 0; t < g.lines; ++t) {
    unsigned char *const current = lines + (t & 1) * line_bytes, *const following = lines + (~t & 1) * line_bytes;
    const Window window(g, t), next_window(g, t + 1);  // empty after the last line
    const bool more = t + 1 < g.lines;
    auto store_pending = [&] {
#pragma unroll
      for (int j = 0; j < 2; ++j)
        if (window.has(pending.cell + j)) {
          const int64_t to = position(t, pending.cell + j);
          static_cast<Value*>(a.h)[to] = pending.h[j];
          a.c[to] = pending.c[j];
          static_cast<ActiveFour*>(a.gates)[to] = pending.active[j];
        }
    };
    pending.cell = -2;  // none
#pragma unroll
    for (int n = 0; n < TILES; ++n) {
      const int tile = first_cell(n), cell = tile + 2 * at.p;
      if (!window.meets(tile)) continue;
      Four(&x)[2] = next[kPrefetch ? n : 0];
      if constexpr (!kPrefetch) load_x(x, n, t, window);

      float z[4][2];  // by gate and cell
      if constexpr (T::kFma) {
        multiply_fma(z, current + cell * stride, s, reinterpret_cast<const float*>(shared_weights) + at.slice * 32 + 4 * at.q);
      } else {
        multiply<F, PAIRS>(z, primitive::shared_address(current + tile * stride), s, at.lane, weights);
      }
      store_pending();
      pending.cell = cell;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float4 in = T::widen(x[j]);
        const Gates<float> gates = activate<ScalarMath>(Gates<float>{z[0][j] + in.x, z[1][j] + in.y, z[2][j] + in.z, z[3][j] + in.w});
        const float c_next = next_c(gates, c[n][j]);
        pending.c[j] = c_next;
        pending.h[j] = T::narrow(hidden_state<ScalarMath>(gates, c_next));
        pending.active[j] = T::narrow_active(make_float4(gates.i, gates.f, gates.g, gates.o));
        if (!window.has(cell + j)) continue;
        c[n][j] = c_next;
        reinterpret_cast<Value*>(following + (cell + j + s.border()) * stride)[unit] = T::line_value(pending.h[j]);
      }
      if (s.blocks > 1 && more) {
        // The warp's 8 units at 8 cells are 8 rows of 16 or 32 bytes: whole 16-byte pieces. 8 lanes on 8 rows: no bank conflict.
        __syncwarp();
        constexpr int kPieces = 8 * sizeof(Value) / 16, kAll = 8 * kPieces;
#pragma unroll 1
        for (int i = at.lane; i < kAll * (s.blocks - 1); i += 32) {
          const int r = tile + i % 8, piece = i / 8 % kPieces, other = i / kAll, peer = other + (other >= at.rank);
          const unsigned char* source = following + (r + s.border()) * stride + (unit - at.q) * int(sizeof(Value)) + 16 * piece;
          if (window.has(r))
            primitive::store_peer16(primitive::map_rank(primitive::shared_address(source), peer), *reinterpret_cast<const uint4*>(source));
        }
      }
    }
    if (more) arrive(s);  // after the last line nothing was pushed: a block may leave
    store_pending();
    if constexpr (kPrefetch)
#pragma unroll
      for (int n = 0; n < TILES; ++n) load_x(next[n], n, t + 1, next_window);
    if (more) wait(s);
  }
}

}  // namespace pixelrnn::cuda
