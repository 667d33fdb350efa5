#include "gradients.h"

#include "launch.h"

namespace pixelrnn::cuda {

CUresult gather_neighbours(NeighboursArgs a, int64_t state_bytes, CUstream stream) {
  const MapShape& s = a.shape;
  int piece = 16;
  while (state_bytes % piece) piece /= 2;
  a.pieces = int(state_bytes / piece);
  const char* const name = piece == 16  ? "neighbours_16"
                           : piece == 8 ? "neighbours_8"
                           : piece == 4 ? "neighbours_4"
                                        : "neighbours_2";
  return launch(name, {unsigned(s.images) * s.maps.height, unsigned(s.directions), 128}, a, stream);
}

CUresult sum_border(MapType type, const BorderSumsArgs& a, CUstream stream) {
  constexpr unsigned threads = 128;
  constexpr const char* names[] = {
      "border_sums_float32", "border_sums_float64", "border_sums_float16", "border_sums_bfloat16"};
  const MapShape& s = a.shape;
  Layout layout{unsigned(s.images) * s.taps, (unsigned(a.columns) + threads - 1) / threads, threads};
  layout.blocks_z = unsigned(s.directions);
  return launch(names[int(type)], layout, a, stream);
}

}  // namespace pixelrnn::cuda
