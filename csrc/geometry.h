// The geometry of a scan: a map is swept line by line, one line a step.
//
// Row LSTM: a line is an image row, its cells are the columns.
// Diagonal LSTM: a line is an anti-diagonal, its cells are the image rows; cell r of line t is pixel (r, t - r). The
// skewed map of the paper (section 3.3) is this index: nothing is skewed or copied, and the padded half is outside the
// window of active cells.
// A scan starts at a corner of its image and runs away from it: "above" and "left" mean before, in the order of the
// scan. The image may be smaller than the map that holds it, in the map's top left corner.
//
// So every address is affine in (line, cell), and a neighbour at a fixed displacement in the image is a fixed number of
// lines back and a fixed number of cells along.
#pragma once

#include "host_device.h"

namespace pixelrnn {

constexpr int kMostDirections = 4;

// The pixel `up` rows above and `left` columns before, in the order of the scan.
struct Displacement { int up, left; };

// Where a scan starts.
struct Corner {
  bool bottom = false, right = false;
  PIXELRNN_HOST_DEVICE int rows() const { return bottom ? -1 : 1; }  // the way over the rows, over the columns
  PIXELRNN_HOST_DEVICE int columns() const { return right ? -1 : 1; }
};

struct Geometry {
  int lines, cells;      // number of lines, cells of a whole line
  int skew, width;       // skew: cell r is active on line t while 0 <= t - r < width; otherwise always
  int base, step, cell;  // cell r of line t is pixel base + t * step + r * cell

  // stride: pixels from row to row of the map.
  static PIXELRNN_HOST_DEVICE Geometry row(int height, int width, Corner corner, int stride) {
    return {width ? height : 0, width, 0, width, start(height, width, corner, stride), corner.rows() * stride,
        corner.columns()};
  }
  static PIXELRNN_HOST_DEVICE Geometry diagonal(int height, int width, Corner corner, int stride) {
    return {height && width ? height + width - 1 : 0, height, 1, width, start(height, width, corner, stride),
        corner.columns(), corner.rows() * stride - corner.columns()};
  }
  static Geometry row(int height, int width, Corner corner = {}) { return row(height, width, corner, width); }
  static Geometry diagonal(int height, int width, Corner corner = {}) { return diagonal(height, width, corner, width); }
  static PIXELRNN_HOST_DEVICE int start(int height, int width, Corner corner, int stride) {
    return (corner.bottom ? (height - 1) * stride : 0) + (corner.right ? width - 1 : 0);
  }

  PIXELRNN_HOST_DEVICE int pixel(int t, int r) const { return base + t * step + r * cell; }
  // The window: cells first(t) <= r < last(t) of line t are pixels.
  PIXELRNN_HOST_DEVICE int first(int t) const { return skew && t >= width ? t - width + 1 : 0; }
  PIXELRNN_HOST_DEVICE int last(int t) const {
    if (t < 0 || t >= lines) return 0;
    return skew && t + 1 < cells ? t + 1 : cells;
  }
  PIXELRNN_HOST_DEVICE bool active(int t, int r) const { return r >= first(t) && r < last(t); }
  // A displaced neighbour of cell r of line t is cell r + shift of line t - lag.
  PIXELRNN_HOST_DEVICE int lag(Displacement d) const { return skew ? d.up + d.left : d.up; }
  PIXELRNN_HOST_DEVICE int shift(Displacement d) const { return skew ? -d.up : -d.left; }
};

// State-to-state taps. Row LSTM: a row of `taps` pixels above, centred. Diagonal LSTM: above, then left.
PIXELRNN_HOST_DEVICE Displacement state_tap(bool diagonal, int taps, int k) {
  return diagonal ? Displacement{k == 0, k == 1} : Displacement{1, taps / 2 - k};
}
// The pixel whose cell state is carried on: the last one of the Diagonal LSTM's taps, the middle one of the Row LSTM's.
PIXELRNN_HOST_DEVICE Displacement carry_tap(bool diagonal) {
  return diagonal ? Displacement{0, 1} : Displacement{1, 0};
}
// The pixel whose state a cell with two carries has beside that of carry_tap.
constexpr Displacement kUp = {1, 0};
// Input-to-state taps: a row of `kernel` pixels centred on the cell itself.
PIXELRNN_HOST_DEVICE Displacement input_tap(int kernel, int k) { return {0, kernel / 2 - k}; }

}  // namespace pixelrnn
