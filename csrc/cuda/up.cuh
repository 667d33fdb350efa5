// Exchange with the cell above in kernels of five gates: cell r - 1 of the line before, which another thread computes.
// docs/kernels.md explains why no read is stale ("Cells of five gates").
#pragma once
#include "block.cuh"
#include "lanes.cuh"

namespace pixelrnn::cuda {

// Forward: gives each cell the c above it. The last cell of a tile stores its c in [line % 2][tile + 1][unit] of shared
// memory. Slot 0 is the border, c0.
class UpStates {
 public:
  // Fills the slots of this thread's unit with c0. A block barrier has to follow.
  PIXELRNN_DEVICE UpStates(const TilingOf<5>& s, const Place& at, float* edges, float c0)
      : in_front_(edges + at.group * s.units + at.slice * 8 + at.q),
        to_tile_(s.groups * s.units),
        to_next_(s.units),
        to_other_line_(s.up_cells() * s.units),
        lane_before_(at.lane - 1),
        p_(at.p) {
    for (int i = 4 * at.group + at.p; i < 2 * s.up_cells(); i += 4 * s.groups)
      edges[i * s.units + at.slice * 8 + at.q] = c0;
  }
  // Returns the c above this thread's first cell of the warp's n-th tile on line t. `second` is the c of its second
  // cell on the line before. All lanes call it together.
  PIXELRNN_DEVICE float above(float second, int n, int t) const {
    float state = __shfl_sync(~0u, second, lane_before_);
    if (p_ == 0) state = in_front_[n * to_tile_ + (t & 1 ? 0 : to_other_line_)];
    return state;
  }
  // Keeps the c of the tile's last cell for line t + 1. `second` is the c of this thread's second cell on line t.
  PIXELRNN_DEVICE void keep(float second, int n, int t) const {
    if (p_ == 3) in_front_[n * to_tile_ + to_next_ + (t & 1 ? to_other_line_ : 0)] = second;
  }

 private:
  float* in_front_;  // slot before the warp's first tile, for even lines
  int to_tile_, to_next_, to_other_line_, lane_before_, p_;
};

// Backward: passes the gradient for the c above each cell, in [line % 2][cell + 1][unit] of shared memory. Cell r of
// line t takes slot r + 1 and gives slot r to line t - 1. Slot 0 sums what leaves the image above its first row.
template <int N> class UpGradients {
  using Floats = Lanes<N>;

 public:
  // Zeroes all slots. `unit` is this thread's first unit. A block barrier has to follow.
  PIXELRNN_DEVICE UpGradients(const TilingOf<5>& s, const Place& at, float* memory, int unit)
      : own_(memory + unit), units_(s.units), to_other_line_(s.up_cells() * s.units) {
    for (int i = at.thread; i < 2 * to_other_line_; i += blockDim.x) memory[i] = 0;
  }
  PIXELRNN_DEVICE Floats take(int t, int cell, int to_piece) const {
    return load(own_ + line(t) + (cell + 1) * units_ + to_piece);
  }
  PIXELRNN_DEVICE void give(int t, int cell, int to_piece, Floats gradient) const {
    float* const to = own_ + line(t - 1) + cell * units_ + to_piece;
    if (cell == 0) gradient = gradient + load(to);
    *whole<Floats>(to) = bits<Whole<Floats>>(gradient);
  }
  // Returns the sum of slot 0 over both lines.
  PIXELRNN_DEVICE Floats sum(int to_piece) const {
    const float* const first = own_ + to_piece;
    return load(first) + load(first + to_other_line_);
  }

 private:
  static PIXELRNN_DEVICE Floats load(const float* from) {
    const Whole<Floats> loaded = *whole<Floats>(from);
    return bits<Floats>(loaded);
  }
  PIXELRNN_DEVICE int line(int t) const { return t & 1 ? to_other_line_ : 0; }
  float* own_;
  int units_, to_other_line_;
};

}  // namespace pixelrnn::cuda
