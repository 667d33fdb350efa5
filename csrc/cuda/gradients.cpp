#include "gradients.h"

#include "entry.h"
#include "launch.h"

PIXELRNN_DECLARE_ENTRY(neighbours_2);
PIXELRNN_DECLARE_ENTRY(neighbours_4);
PIXELRNN_DECLARE_ENTRY(neighbours_8);
PIXELRNN_DECLARE_ENTRY(neighbours_16);
PIXELRNN_DECLARE_ENTRY(border_sums_float32);
PIXELRNN_DECLARE_ENTRY(border_sums_float64);
PIXELRNN_DECLARE_ENTRY(border_sums_float16);
PIXELRNN_DECLARE_ENTRY(border_sums_bfloat16);

namespace pixelrnn::cuda {

CUresult gather_neighbours(NeighboursArgs a, int64_t state_bytes, CUstream stream) {
  const MapShape& s = a.shape;
  int piece = 16;
  while (state_bytes % piece) piece /= 2;
  a.pieces = int(state_bytes / piece);
  const void* const entry = piece == 16  ? neighbours_16_entry
                            : piece == 8 ? neighbours_8_entry
                            : piece == 4 ? neighbours_4_entry
                                         : neighbours_2_entry;
  return launch(entry, {unsigned(s.images) * s.maps.height, unsigned(s.directions), 128}, a, stream);
}

CUresult sum_border(MapType type, const BorderSumsArgs& a, CUstream stream) {
  constexpr unsigned threads = 128;
  const void* const entries[] = {
      border_sums_float32_entry, border_sums_float64_entry, border_sums_float16_entry, border_sums_bfloat16_entry};
  const MapShape& s = a.shape;
  Layout layout{unsigned(s.images) * s.taps, (unsigned(a.columns) + threads - 1) / threads, threads};
  layout.blocks_z = unsigned(s.directions);
  return launch(entries[int(type)], layout, a, stream);
}

}  // namespace pixelrnn::cuda
