// Merges the maps of all directions.
#pragma once
#include <algorithm>
#include <cstdint>

#include "scan.h"

namespace pixelrnn::cpu {

// Writes rows r0 <= r < r1 of the merged map, counted through the images, from h. The shift moves the second direction
// down by a row (section 3.3), but never out of its image.
template <class T> void merge_rows(const Shape& s, Merge merge, const T* h, T* merged, int64_t r0, int64_t r1) {
  const int64_t hidden = s.hidden, stride = s.h_stride(), row_values = s.width * stride;
  for (int64_t r = r0; r < r1; ++r) {
    const T* first = h + r * row_values;
    const T* second = first + hidden - (merge == Merge::kShift ? row_values : 0);
    T* out = merged + r * s.width * hidden;
    const int64_t row = r % s.height;
    if (row >= s.extent(r / s.height).height) {
      std::fill(out, out + s.width * hidden, T(0));
      continue;
    }
    const bool alone = s.directions == 1 || (merge == Merge::kShift && row == 0);
    for (int p = 0; p < s.width; ++p, first += stride, second += stride, out += hidden) {
      if (alone) std::copy(first, first + hidden, out);
      else
        for (int64_t u = 0; u < hidden; ++u) out[u] = first[u] + second[u];
      for (int d = 2; d < s.directions; ++d)
        for (int64_t u = 0; u < hidden; ++u) out[u] += first[d * hidden + u];
    }
  }
}

}  // namespace pixelrnn::cpu
