#include "gradients.h"

#include "../driver/launch.h"

namespace pixelrnn::cuda {

CUresult gather_neighbours(NeighboursArgs a, int64_t state_bytes, CUstream stream) {
  const MapShape& s = a.shape;
  int piece = 16;
  while (state_bytes % piece) piece /= 2;
  a.pieces = int(state_bytes / piece);
  return launch("neighbours_" + std::to_string(piece),
      {unsigned(s.images) * s.maps.height, unsigned(s.directions), 128}, a, stream);
}

CUresult sum_border(MapType type, const BorderSumsArgs& a, CUstream stream) {
  constexpr unsigned threads = 128;
  const MapShape& s = a.shape;
  LaunchShape grid{unsigned(s.images) * s.taps, (unsigned(a.columns) + threads - 1) / threads, threads};
  grid.blocks_z = unsigned(s.directions);
  return launch("border_sums_" + type_name(type), grid, a, stream);
}

}  // namespace pixelrnn::cuda
