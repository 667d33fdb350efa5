// A scan goes through a feature map line by line. In a Row LSTM, a line is an image row, and cell r of line t is pixel
// (t, r). In a Diagonal LSTM, a line is an anti-diagonal, and cell r of line t is pixel (r, t - r). This numbering
// replaces the paper's skewed map (section 3.3) without a copy. Cells in the padding of the skewed map are not active.
//
// A scan starts at a corner of its image, so "above" and "left" mean earlier in the scan. An image smaller than its map
// lies in the map's top left corner.
#pragma once

#include "host_device.h"

namespace pixelrnn {

constexpr int kMaxDirections = 4;

struct Displacement { int up, left; };

struct Corner {
  bool bottom = false, right = false;
  PIXELRNN_HOST_DEVICE int row_step() const { return bottom ? -1 : 1; }
  PIXELRNN_HOST_DEVICE int column_step() const { return right ? -1 : 1; }
};

struct Geometry {
  int lines, cells;  // number of lines, and of cells of a full line
  // skew is 1 in a Diagonal LSTM, where cell r is active on line t while 0 <= t - r < width. It is 0 in a Row LSTM,
  // where all cells are active.
  int skew, width;
  int base, line_stride, cell_stride;

  // `stride` is the distance from one row of the feature map to the next, as a number of pixels.
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
  PIXELRNN_HOST_DEVICE int first(int t) const { return skew && t >= width ? t - width + 1 : 0; }
  PIXELRNN_HOST_DEVICE int end(int t) const {
    if (t < 0 || t >= lines) return 0;
    return skew && t + 1 < cells ? t + 1 : cells;
  }
  PIXELRNN_HOST_DEVICE bool is_active(int t, int r) const { return r >= first(t) && r < end(t); }
  // The neighbour of cell r of line t at displacement d is cell r + shift(d) of line t - lag(d).
  PIXELRNN_HOST_DEVICE int lag(Displacement d) const { return skew ? d.up + d.left : d.up; }
  PIXELRNN_HOST_DEVICE int shift(Displacement d) const { return skew ? -d.up : -d.left; }
};

// Returns the displacement of neighbour k, whose h a cell reads. In a Row LSTM, the neighbours are in the row above,
// centred on the cell. In a Diagonal LSTM, neighbour 0 is above and neighbour 1 to the left.
PIXELRNN_HOST_DEVICE Displacement state_tap(bool diagonal, int taps, int k) {
  return diagonal ? Displacement{k == 0, k == 1} : Displacement{1, taps / 2 - k};
}
// c is carried from the left neighbour in a Diagonal LSTM, and from the upper neighbour in a Row LSTM.
PIXELRNN_HOST_DEVICE Displacement carry_tap(bool diagonal) {
  return diagonal ? Displacement{0, 1} : Displacement{1, 0};
}
// Cells of LSTM2d also read c of the upper neighbour.
constexpr Displacement kUp = {1, 0};
// Returns the displacement of the k-th input pixel of a kernel that is centred on the cell.
PIXELRNN_HOST_DEVICE Displacement input_tap(int kernel, int k) { return {0, kernel / 2 - k}; }

}  // namespace pixelrnn
