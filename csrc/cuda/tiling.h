// How one scan is laid over thread blocks: the sizes that the kernels, the packing of the weights and the planner share.
//
// C blocks (a cluster, or one block) own an image for the whole scan; each owns hidden / C units. The recurrent product of
// a line is a matrix product: M rows of weights times K values of the neighbours of each cell. It is cut into tiles of
//
//   M    16 rows: the tensor core's; 4 rows a thread, 32 a warp where plain FMA computes it
//   N    8 cells: a warp takes `tiles` of them, `groups` warps share the line
//   K    64 bytes of a row of the line (a "pair": two steps of the tensor core)
//
// Forward: a row is the hidden state of a cell, M are the 4 gates of the block's own units, K is taps * hidden.
// Backward: a row holds the gradients of the block's own gates, M are all units, K is taps * 4 * units: each block gets a
// partial sum for every unit, which it pushes to the block that owns the unit.
#pragma once
#include <cstdint>

#include "../geometry.h"

namespace pixelrnn::cuda {

// Storage formats of maps and weights. Accumulators and the cell state are float32 in all of them.
enum class Format { bf16, fp16, tf32, fp32 };

constexpr int kTileCells = 8;
constexpr int kPairBytes = 64, kStepBytes = 32;

PIXELRNN_HOST_DEVICE int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

struct Tiling {
  Format format;
  bool backward;
  int hidden, taps;
  int blocks;  // of a cluster
  int units;   // of a block
  int groups;  // warps side by side along the line
  int tiles;   // of a warp

  PIXELRNN_HOST_DEVICE int bytes() const { return format == Format::bf16 || format == Format::fp16 ? 2 : 4; }
  PIXELRNN_HOST_DEVICE bool fma() const { return format == Format::fp32; }

  // K. A tap's share is padded to whole pairs; the padding is zero in the line and in the weights.
  PIXELRNN_HOST_DEVICE int tap_values() const { return backward ? 4 * units : hidden; }
  PIXELRNN_HOST_DEVICE int pairs_of_tap() const { return round_up(tap_values() * bytes(), kPairBytes) / kPairBytes; }
  PIXELRNN_HOST_DEVICE int pairs() const { return taps * pairs_of_tap(); }
  PIXELRNN_HOST_DEVICE int tap_width() const { return pairs_of_tap() * kPairBytes / bytes(); }

  // M. A warp takes a slice: 8 units with their gates (forward), 16 or, with FMA, 32 units (backward).
  PIXELRNN_HOST_DEVICE int slice_rows() const { return backward && !fma() ? 16 : 32; }
  PIXELRNN_HOST_DEVICE int slices() const { return round_up(backward ? hidden : 4 * units, slice_rows()) / slice_rows(); }
  PIXELRNN_HOST_DEVICE int matrix_rows() const { return slices() * slice_rows(); }

  PIXELRNN_HOST_DEVICE int threads() const { return 32 * slices() * groups; }
  PIXELRNN_HOST_DEVICE int cells() const { return kTileCells * tiles * groups; }

  // The line in shared memory: cell r is row r + border() of `rows()`, and tap k of it is k rows from r on. 16 bytes more than
  // whole pairs, so that neighbouring rows are in different banks.
  PIXELRNN_HOST_DEVICE int border() const { return backward ? taps - 1 - taps / 2 : taps / 2; }
  PIXELRNN_HOST_DEVICE int rows() const { return cells() + taps - 1; }
  PIXELRNN_HOST_DEVICE int stride() const { return pairs_of_tap() * kPairBytes + 16; }
  PIXELRNN_HOST_DEVICE int line_bytes() const { return rows() * stride(); }
  PIXELRNN_HOST_DEVICE int lines_bytes() const { return (backward ? 1 : 2) * line_bytes(); }

  // Backward: the partial sums that a block receives, [buffer][rank][cells][part_stride] floats.
  PIXELRNN_HOST_DEVICE int part_stride() const { return units + 4; }
  PIXELRNN_HOST_DEVICE int part_floats() const { return cells() * part_stride(); }
  PIXELRNN_HOST_DEVICE int part_buffers() const { return blocks > 1 ? 2 : 1; }
  PIXELRNN_HOST_DEVICE int parts_bytes() const { return backward ? 4 * part_buffers() * blocks * part_floats() : 0; }
  // Backward: cell r and unit u belong to a thread; each takes every pass_cells()-th cell.
  PIXELRNN_HOST_DEVICE int pass_cells() const { return threads() / units; }

  // The weights of one block.
  PIXELRNN_HOST_DEVICE int weight_values() const { return matrix_rows() * taps * tap_width(); }
  PIXELRNN_HOST_DEVICE int weight_bytes() const { return weight_values() * bytes(); }
};

// Where a value of the packed weights comes from: direction d's packed weights are [rank][weight_values()], ordered so that
// a thread loads what it multiplies in pieces of 16 bytes.
//   tensor core: [16 rows][step][lane][register][half], a lane's registers being rows q, q + 8 at two halves of the step
//   FMA:         [K][M]
// The result is an index into the direction's [taps][hidden][4][hidden] (the last one the unit that is read), or -1: zero.
PIXELRNN_HOST_DEVICE int64_t weight_source(const Tiling& s, int64_t i) {
  const int rank = int(i / s.weight_values());
  i %= s.weight_values();
  int row, k;
  if (s.fma()) {
    row = int(i % s.matrix_rows()), k = int(i / s.matrix_rows());
  } else {
    const int per_register = 4 / s.bytes(), step_values = kStepBytes / s.bytes(), steps = 2 * s.pairs();
    const int half = int(i % per_register), reg = int(i / per_register % 4), lane = int(i / (4 * per_register) % 32);
    const int64_t piece = i / (128 * per_register);
    row = int(piece / steps) * 16 + lane / 4 + 8 * (reg & 1);
    k = int(piece % steps) * step_values + (reg >> 1) * (step_values / 2) + lane % 4 * per_register + half;
  }
  const int tap = k / s.tap_width(), value = k % s.tap_width();
  if (value >= s.tap_values()) return -1;
  int to, gate, from, source_tap;  // the weight from unit `from` of the neighbour to a gate of unit `to`
  if (s.backward) {
    // A row of the line is read by the cells before it in the scan, hence from the last tap to the first.
    source_tap = s.taps - 1 - tap, to = rank * s.units + value / 4, gate = value % 4, from = row;
  } else {
    // A thread of a tensor core holds rows q and q + 8 of two tiles: gates i and f, g and o of a unit.
    const int unit = s.fma() ? row / 4 : row / 32 * 8 + row % 8;
    source_tap = tap, to = rank * s.units + unit, gate = s.fma() ? row % 4 : row / 8 % 4, from = value;
  }
  if (from >= s.hidden || to >= s.hidden) return -1;
  return ((int64_t(source_tap) * s.hidden + to) * 4 + gate) * s.hidden + from;
}

// ---- what the kernels are given. Maps are [directions][images][pixels][...]. -------------------------------------------
struct PackArgs {
  const void* weight;  // [directions][taps][hidden][4][hidden]
  void* packed;        // [directions][blocks][weight_values()]
  Tiling tiling;
};
struct ForwardArgs {
  const void* x;       // [.., hidden, 4]
  const void* packed;
  const void *h0, *c0; // [directions, hidden] or null
  void* h;             // [.., hidden]
  float* c;            // [.., hidden]
  void* gates;         // [.., hidden, 4] activated
  int images, pixels;
  Tiling tiling;
  Geometry geometry[2];  // by direction
};
struct BackwardArgs {
  const void* dh;      // [.., hidden]
  const void* gates;
  const float* c;
  const void* packed;
  const void* c0;      // [directions, hidden] or null
  void* dx;            // [.., hidden, 4]
  float* dc_first;     // [directions, images, cells, hidden] gradient of the cell state before each chain, or null
  int images, pixels;
  Tiling tiling;
  Geometry geometry[2];
};

}  // namespace pixelrnn::cuda
