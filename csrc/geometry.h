// A scan goes through a map line by line. Row LSTM: a line is an image row, cells are numbered by column. Diagonal
// LSTM: a line is an anti-diagonal, cells are numbered by image row; cell r of line t is pixel (r, t - r). This
// numbering replaces the paper's skewed map (section 3.3): nothing is copied, and cells in the padding are not active.
//
// A scan starts at a corner of its image: "above" and "left" mean earlier in the scan. An image smaller than its map
// lies in the map's top left corner. Pixel indices are affine in line and cell, so a neighbour at a fixed displacement
// is always the same number of lines earlier, and of cells further.
#pragma once

#include "host_device.h"

namespace pixelrnn {

constexpr int kMaxDirections = 4;

// A neighbour's offset in pixels, `up` rows above and `left` columns to the left.
struct Displacement { int up, left; };

struct Corner {
  bool bottom = false, right = false;
  PIXELRNN_HOST_DEVICE int row_step() const { return bottom ? -1 : 1; }
  PIXELRNN_HOST_DEVICE int column_step() const { return right ? -1 : 1; }
};

struct Geometry {
  int lines, cells;  // number of lines, and of cells of a full line
  int skew, width;   // with skew, cell r is active on line t while 0 <= t - r < width; otherwise always
  int base, line_stride, cell_stride;

  // `stride` is the number of pixels from row to row of the map.
  static PIXELRNN_HOST_DEVICE Geometry row(int height, int width, Corner corner, int stride) {
    return {width ? height : 0, width, 0, width, start(height, width, corner, stride), corner.row_step() * stride,
        corner.column_step()};
  }
  static PIXELRNN_HOST_DEVICE Geometry diagonal(int height, int width, Corner corner, int stride) {
    return {height && width ? height + width - 1 : 0, height, 1, width, start(height, width, corner, stride),
        corner.column_step(), corner.row_step() * stride - corner.column_step()};
  }
  static Geometry row(int height, int width, Corner corner) { return row(height, width, corner, width); }
  static Geometry diagonal(int height, int width, Corner corner) { return diagonal(height, width, corner, width); }
  static PIXELRNN_HOST_DEVICE int start(int height, int width, Corner corner, int stride) {
    return (corner.bottom ? (height - 1) * stride : 0) + (corner.right ? width - 1 : 0);
  }

  PIXELRNN_HOST_DEVICE int pixel(int t, int r) const { return base + t * line_stride + r * cell_stride; }
  // Cells first(t) <= r < end(t) of line t are active: they are pixels of the image.
  PIXELRNN_HOST_DEVICE int first(int t) const { return skew && t >= width ? t - width + 1 : 0; }
  PIXELRNN_HOST_DEVICE int end(int t) const {
    if (t < 0 || t >= lines) return 0;
    return skew && t + 1 < cells ? t + 1 : cells;
  }
  PIXELRNN_HOST_DEVICE bool is_active(int t, int r) const { return r >= first(t) && r < end(t); }
  // The neighbour at displacement d of cell r of line t is cell r + shift(d) of line t - lag(d).
  PIXELRNN_HOST_DEVICE int lag(Displacement d) const { return skew ? d.up + d.left : d.up; }
  PIXELRNN_HOST_DEVICE int shift(Displacement d) const { return skew ? -d.up : -d.left; }
};

// Returns the displacement of state-to-state tap k. A Row LSTM's taps are in the row above, centred on the cell. A
// Diagonal LSTM's taps are above and to the left.
PIXELRNN_HOST_DEVICE Displacement state_tap(bool diagonal, int taps, int k) {
  return diagonal ? Displacement{k == 0, k == 1} : Displacement{1, taps / 2 - k};
}
// Returns the displacement of the pixel whose c enters a cell's c: left (Diagonal LSTM) or above (Row LSTM).
PIXELRNN_HOST_DEVICE Displacement carry_tap(bool diagonal) {
  return diagonal ? Displacement{0, 1} : Displacement{1, 0};
}
// The pixel above, whose c also enters a cell's c in LSTM2d.
constexpr Displacement kUp = {1, 0};
// Returns the displacement of input-to-state tap k in a row of `kernel` pixels centred on the cell.
PIXELRNN_HOST_DEVICE Displacement input_tap(int kernel, int k) { return {0, kernel / 2 - k}; }

}  // namespace pixelrnn
