#pragma once
#include <cstdint>

#include "convert.cuh"
#include "gradients.h"

namespace pixelrnn::cuda {

// A block is a row of one image, blockIdx.y the direction.
template <class Piece> __device__ __forceinline__ void neighbours(const NeighboursArgs& a) {
  const MapShape& s = a.shape;
  const int direction = blockIdx.y, row = blockIdx.x % s.height, of_pixel = a.count * a.pieces;
  const int64_t map_row = int64_t(direction) * gridDim.x + blockIdx.x;
  const Piece* const h = static_cast<const Piece*>(a.h) + map_row * s.width * a.pieces;
  const Piece* const h0 = a.h0 ? static_cast<const Piece*>(a.h0) + direction * a.pieces : nullptr;
  Piece* const out = static_cast<Piece*>(a.out) + map_row * s.width * of_pixel;
  for (int i = threadIdx.x; i < s.width * of_pixel; i += blockDim.x) {
    const int column = i / of_pixel, within = i - column * of_pixel, k = within / a.pieces,
              piece = within - k * a.pieces;
    const Displacement move = s.move(a.first_tap + k, direction);
    const int from = column - move.left;
    Piece value{};
    if (row >= move.up && from >= 0 && from < s.width) value = h[(from - move.up * s.width) * a.pieces + piece];
    else if (h0) value = h0[piece];
    out[i] = value;
  }
}

// A thread sums one gate of one unit. blockIdx.x is the image and the tap, blockIdx.z the direction.
template <class T> __device__ __forceinline__ void border_sums(const BorderSumsArgs& a) {
  using Sum = decltype(widen(T()));
  const MapShape& s = a.shape;
  const int columns = 4 * s.hidden, column = blockIdx.y * blockDim.x + threadIdx.x, direction = blockIdx.z;
  if (column >= columns) return;
  const int image = blockIdx.x / s.taps, tap = blockIdx.x - image * s.taps;
  const Displacement move = s.move(tap, direction);
  const int64_t map = int64_t(direction) * s.images + image;
  const T* const dx = static_cast<const T*>(a.dx) + map * s.height * s.width * columns + column;
  const int up = min(move.up, s.height), sides = min(abs(move.left), s.width),
            first = move.left > 0 ? 0 : s.width - sides;
  Sum sum = 0;
  for (int i = 0; i < up * s.width; ++i) sum += widen(dx[int64_t(i) * columns]);
  for (int row = up; row < s.height; ++row)
    for (int i = first; i < first + sides; ++i) sum += widen(dx[(int64_t(row) * s.width + i) * columns]);
  static_cast<Sum*>(a.out)[(map * s.taps + tap) * columns + column] = sum;
}

}  // namespace pixelrnn::cuda
