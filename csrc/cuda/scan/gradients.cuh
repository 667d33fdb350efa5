#pragma once
#include <cstdint>

#include "../convert.cuh"
#include "gradients.h"

namespace pixelrnn::cuda {

template <class Piece> PIXELRNN_DEVICE void neighbours(const NeighboursArgs& a) {
  const RaggedImages& maps = a.shape.maps;
  const int direction = blockIdx.y, image = blockIdx.x / maps.height, row = blockIdx.x - image * maps.height;
  const int height = maps.height_of(image), width = maps.width_of(image);
  const int rows = maps.corner[direction].row_step(), columns = maps.corner[direction].column_step();
  const int pixel = a.shape.directions * a.pieces, out_pixel = a.count * a.pieces;
  const Piece* const h =
      static_cast<const Piece*>(a.h) + int64_t(blockIdx.x) * maps.width * pixel + direction * a.pieces;
  const Piece* const h0 = a.h0 ? static_cast<const Piece*>(a.h0) + direction * a.pieces : nullptr;
  Piece* const out =
      static_cast<Piece*>(a.out) + (int64_t(direction) * gridDim.x + blockIdx.x) * maps.width * out_pixel;
  for (int i = threadIdx.x; i < maps.width * out_pixel; i += blockDim.x) {
    const int column = i / out_pixel, within = i - column * out_pixel, k = within / a.pieces,
              piece = within - k * a.pieces;
    const Displacement move = state_tap(maps.diagonal, a.shape.taps, a.first_tap + k);
    const int up = move.up * rows, from = column - move.left * columns;
    Piece value{};
    if (unsigned(row - up) < unsigned(height) && unsigned(from) < unsigned(width))
      value = h[(from - up * maps.width) * pixel + piece];
    else if (h0) value = h0[piece];
    out[i] = value;
  }
}

// Each thread sums dx of one column (a gate of a hidden unit) over the pixels whose neighbour `tap` lies outside the
// image.
template <class T> PIXELRNN_DEVICE void border_sums(const BorderSumsArgs& a) {
  using Sum = decltype(widen(T()));
  const RaggedImages& maps = a.shape.maps;
  const int column = blockIdx.y * blockDim.x + threadIdx.x, direction = blockIdx.z, taps = a.shape.taps;
  if (column >= a.columns) return;
  const int image = blockIdx.x / taps, tap = blockIdx.x - image * taps;
  const Displacement move = state_tap(maps.diagonal, taps, tap);
  const Corner corner = maps.corner[direction];
  const int height = maps.height_of(image), width = maps.width_of(image);
  const int64_t map = int64_t(direction) * a.shape.images + image;
  const T* const first =
      static_cast<const T*>(a.dx) +
      (map * maps.height * maps.width + Geometry::start(height, width, corner, maps.width)) * a.columns + column;
  Sum sum = 0;
  const int up = min(move.up, height), sides = min(abs(move.left), width), side = move.left > 0 ? 0 : width - sides;
  const int64_t to_row = int64_t(corner.row_step()) * maps.width * a.columns,
                to_column = corner.column_step() * a.columns;
  for (int row = 0; row < height; ++row) {
    const bool is_whole = row < up;
    const T* from = first + row * to_row + (is_whole ? 0 : side) * to_column;
    for (int i = is_whole ? width : sides; i > 0; --i, from += to_column) sum += widen(*from);
  }
  static_cast<Sum*>(a.out)[(map * taps + tap) * a.columns + column] = sum;
}

}  // namespace pixelrnn::cuda
