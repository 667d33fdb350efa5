// The sum of a BiLSTM's two directions, the second one shifted down by a row (section 3.3).
#pragma once
#include <algorithm>
#include <cstdint>

namespace pixelrnn::cpu {

// y(r) = left(r) + right(r - 1), of rows r0 <= r < r1 counted through images of `height` rows of `size` values.
template <class T>
void merge_rows(int64_t height, int64_t size, const T* left, const T* right, T* y, int64_t r0, int64_t r1) {
  for (int64_t r = r0; r < r1; ++r) {
    const T *a = left + r * size, *b = right + (r - 1) * size;
    T* out = y + r * size;
    if (r % height == 0) std::copy(a, a + size, out);
    else
      for (int64_t i = 0; i < size; ++i) out[i] = a[i] + b[i];
  }
}

}  // namespace pixelrnn::cpu
