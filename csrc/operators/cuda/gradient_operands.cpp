#include <algorithm>

#include "../../cuda/scan/gradients.h"
#include "device.h"
#include "recurrence.h"
#include "tensors.h"

namespace pixelrnn::cuda {
namespace {

// `values` is the number of values from one pixel to the next.
MapShape map_shape(int64_t directions, int64_t images, int64_t height, int64_t width, int64_t values, int64_t taps,
    bool diagonal, const Optional& sizes, const std::vector<int64_t>& corners) {
  constexpr int64_t limit = int64_t(1) << 31;
  STD_TORCH_CHECK(taps > 0, "pixelrnn_ext: expected taps of 1 or more, got ", taps);
  check_below("taps", taps, kMaxTaps);
  check_below("rows of all images", images * height, limit);
  check_below("taps of all images", images * taps, limit);
  check_below("pixels of an image", height * width, limit);
  check_below("values of a row and its taps", width * std::max<int64_t>(2, taps) * values, limit);
  check_sizes("sizes", sizes, {images, 2}, ScalarType::Long);
  MapShape shape{int(directions), int(images), int(taps),
      {static_cast<const int64_t*>(in(sizes)), int(height), int(width), diagonal, {}}};
  const auto parsed = read_corners(corners, directions);
  std::copy(parsed.begin(), parsed.end(), shape.maps.corner);
  return shape;
}

}  // namespace

Tensor neighbour_states(Tensor h, Optional h0, Optional sizes, std::vector<int64_t> corners, bool diagonal,
    int64_t taps, int64_t first, int64_t count) {
  check_same_device("h", h, {{"h0", h0}, {"sizes", sizes}});
  check_axes("h", h, "[B, H, W, D, h]");
  check_sizes("h0", h0, {h.size(3), h.size(4)}, h);
  STD_TORCH_CHECK(first >= 0 && count > 0 && first + count <= taps, "scan: expected taps below ", taps, ", got ", first,
      " to ", first + count - 1);
  map_type(h.scalar_type());
  const DeviceScope device(h);
  h = aligned(h), h0 = aligned(h0), sizes = aligned(sizes);
  const int64_t images = h.size(0), height = h.size(1), width = h.size(2), directions = h.size(3), hidden = h.size(4);
  const MapShape shape =
      map_shape(directions, images, height, width, directions * hidden, taps, diagonal, sizes, corners);
  Tensor out = stable::new_empty(h, {directions, images, height, width, count, hidden});
  if (!out.numel()) return out;
  const NeighboursArgs args{h.const_data_ptr(), in(h0), out.mutable_data_ptr(), shape, int(first), int(count), 0};
  check(gather_neighbours(args, hidden * h.element_size(), device.stream()));
  return out;
}

Tensor border_sums(Tensor dx, Optional sizes, std::vector<int64_t> corners, bool diagonal, int64_t taps) {
  check_same_device("dx", dx, {{"sizes", sizes}});
  check_axes("dx", dx, "[D, B, H, W, G h]");
  const MapType type = map_type(dx.scalar_type());
  const DeviceScope device(dx);
  dx = aligned(dx), sizes = aligned(sizes);
  const int64_t directions = dx.size(0), images = dx.size(1), columns = dx.size(4);
  const MapShape shape = map_shape(directions, images, dx.size(2), dx.size(3), columns, taps, diagonal, sizes, corners);
  Tensor out = stable::new_empty(
      dx, {directions, images, taps, columns}, type == MapType::float64 ? ScalarType::Double : ScalarType::Float);
  if (!out.numel()) return out;
  check(sum_border(type, {dx.const_data_ptr(), out.mutable_data_ptr(), shape, int(columns)}, device.stream()));
  return out;
}

}  // namespace pixelrnn::cuda
