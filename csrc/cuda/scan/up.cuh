// With five gates, a cell exchanges values with the cell above it, which is on the line before, and often belongs to
// another thread. docs/kernels.md (section "Cells of five gates") explains why no thread reads an old value.
#pragma once
#include "block.cuh"
#include "lanes.cuh"

namespace pixelrnn::cuda {

// Gives each cell the c of the cell above it. Lanes exchange c within a tile (8 cells). Shared memory passes the c of a
// tile's last cell to the next tile, [line % 2][tile + 1][unit]. Index 0 of the tiles keeps c0, the c above the image.
class UpStates {
 public:
  // The constructor writes shared memory, so all threads of the block must pass a barrier before they use the object.
  PIXELRNN_DEVICE UpStates(const TilingOf<5>& s, const ThreadIds& ids, float* edges, float c0)
      : in_front_(edges + ids.group * s.units + ids.slice * 8 + ids.q),
        to_tile_(s.groups * s.units),
        to_next_(s.units),
        to_other_line_(s.up_slots() * s.units),
        lane_before_(ids.lane - 1),
        p_(ids.p) {
    for (int i = 4 * ids.group + ids.p; i < 2 * s.up_slots(); i += 4 * s.groups)
      edges[i * s.units + ids.slice * 8 + ids.q] = c0;
  }
  // Returns c of the cell above this thread's first cell in tile n, on line t. `second` is c of this thread's second
  // cell on line t - 1. All lanes call this together.
  PIXELRNN_DEVICE float above(float second, int n, int t) const {
    float state = __shfl_sync(~0u, second, lane_before_);
    if (p_ == 0) state = in_front_[n * to_tile_ + (t & 1 ? 0 : to_other_line_)];
    return state;
  }
  PIXELRNN_DEVICE void store(float second, int n, int t) const {
    if (p_ == 3) in_front_[n * to_tile_ + to_next_ + (t & 1 ? to_other_line_ : 0)] = second;
  }

 private:
  float* in_front_;
  int to_tile_, to_next_, to_other_line_, lane_before_, p_;
};

// Passes gradients of c to the cell above through shared memory, [line % 2][cell + 1][unit]. Cell r of line t loads
// index r + 1, and stores index r for line t - 1. Cell 0 adds to index 0, because no cell lies above it.
template <int N> class UpGradients {
  using Floats = FloatN<N>;

 public:
  // `unit` is this thread's first hidden unit. The constructor writes shared memory, so all threads of the block must
  // pass a barrier before they use the object.
  PIXELRNN_DEVICE UpGradients(const TilingOf<5>& s, const ThreadIds& ids, float* memory, int unit)
      : own_(memory + unit), units_(s.units), to_other_line_(s.up_slots() * s.units) {
    for (int i = ids.thread; i < 2 * to_other_line_; i += blockDim.x) memory[i] = 0;
  }
  PIXELRNN_DEVICE Floats load(int t, int cell, int to_piece) const {
    return load_at(own_ + line(t) + (cell + 1) * units_ + to_piece);
  }
  PIXELRNN_DEVICE void store(int t, int cell, int to_piece, Floats gradient) const {
    float* const to = own_ + line(t - 1) + cell * units_ + to_piece;
    if (cell == 0) gradient = gradient + load_at(to);
    *as_bits<Floats>(to) = to_bits(gradient);
  }
  PIXELRNN_DEVICE Floats sum(int to_piece) const {
    const float* const first = own_ + to_piece;
    return load_at(first) + load_at(first + to_other_line_);
  }

 private:
  static PIXELRNN_DEVICE Floats load_at(const float* from) {
    const Bits<Floats> loaded = *as_bits<Floats>(from);
    return bit_cast<Floats>(loaded);
  }
  PIXELRNN_DEVICE int line(int t) const { return t & 1 ? to_other_line_ : 0; }
  float* own_;
  int units_, to_other_line_;
};

}  // namespace pixelrnn::cuda
