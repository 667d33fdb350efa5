// The sum of a BiLSTM's two directions, the second one shifted down by a row (section 3.3), and its adjoint. Maps are
// [images][height][row], a row of width * channels values.
#pragma once
#include <algorithm>
#include <cstdint>

#include "buffer.h"
#include "team.h"

namespace pixelrnn::cpu {

// y(r) = left(r) + right(r - 1)
template <class T> void merge_directions(
    int64_t images, int64_t height, int64_t row, const T* left, const T* right, T* y, const Team& team) {
  const int64_t rows = images * height;
  const int shares = int(std::min<int64_t>(team.threads, rows));
  team.parallel(shares, [&](int s0, int s1) {
    for (int64_t r = share(rows, s0, shares); r < share(rows, s1, shares); ++r) {
      const T *a = left + r * row, *b = right + (r - 1) * row;
      T* out = y + r * row;
      if (r % height == 0) std::copy(a, a + row, out);
      else
        for (int64_t i = 0; i < row; ++i) out[i] = a[i] + b[i];
    }
  });
}

// left(r) = y(r), right(r) = y(r + 1)
template <class T> void split_directions(
    int64_t images, int64_t height, int64_t row, const T* y, T* left, T* right, const Team& team) {
  const int64_t rows = images * height;
  const int shares = int(std::min<int64_t>(team.threads, rows));
  team.parallel(shares, [&](int s0, int s1) {
    for (int64_t r = share(rows, s0, shares); r < share(rows, s1, shares); ++r) {
      const T* from = y + r * row;
      std::copy(from, from + row, left + r * row);
      if (r % height + 1 < height) std::copy(from + row, from + 2 * row, right + r * row);
      else std::fill(right + r * row, right + (r + 1) * row, T(0));
    }
  });
}

}  // namespace pixelrnn::cpu
