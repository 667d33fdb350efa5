#include "gradient_operands.h"

#include "../../cuda/gradients.h"
#include "device.h"
#include "tensors.h"

namespace pixelrnn::cuda {
namespace {

using torch::headeronly::ScalarType;

MapShape map_shape(const Tensor& map, int64_t taps, bool diagonal, bool reverse) {
  const int64_t directions = map.size(0), images = map.size(1), height = map.size(2), width = map.size(3),
                hidden = map.size(4);
  constexpr int64_t most = int64_t(1) << 31;
  STD_TORCH_CHECK(taps > 0 && taps < (1 << 20) && images * height < most && images * taps < most &&
                      width * taps * hidden < most && height * width < most,
      "line_scan: the map is too large");
  return {int(directions), int(images), int(height), int(width), int(hidden), diagonal, reverse, int(taps)};
}
std::optional<MapType> map_type(ScalarType t) {
  switch (t) {
    case ScalarType::Float: return MapType::float32;
    case ScalarType::Double: return MapType::float64;
    case ScalarType::Half: return MapType::float16;
    case ScalarType::BFloat16: return MapType::bfloat16;
    default: return std::nullopt;
  }
}

}  // namespace

Tensor neighbour_states(
    Tensor h, Optional h0, int64_t taps, int64_t first, int64_t count, bool diagonal, bool reverse) {
  check_on_one_device("line_scan", "h", h, {{"h0", h0}});
  STD_TORCH_CHECK(h.dim() == 5, "line_scan: expected h [D, B, H, W, h]");
  const bool right = !h0 || (h0->dim() == 2 && h0->size(0) == h.size(0) && h0->size(1) == h.size(4) &&
                                h0->scalar_type() == h.scalar_type());
  STD_TORCH_CHECK(right, "line_scan: expected h0 [D, h] of the dtype of h");
  STD_TORCH_CHECK(first >= 0 && count > 0 && first + count <= taps, "line_scan: expected taps below ", taps, ", got ",
      first, " to ", first + count - 1);
  STD_TORCH_CHECK(
      map_type(h.scalar_type()), "line_scan: expected float32, float64, float16 or bfloat16, got ", h.scalar_type());
  const OnDeviceOf device(h);
  h = prepared(h), h0 = prepared(h0);
  Tensor out = torch::stable::new_empty(h, {h.size(0), h.size(1), h.size(2), h.size(3), count, h.size(4)});
  if (!out.numel()) return out;
  const NeighboursArgs args{h.const_data_ptr(), h0 ? h0->const_data_ptr() : nullptr, out.mutable_data_ptr(),
      map_shape(h, taps, diagonal, reverse), int(first), int(count), 0};
  check(gather_neighbours(args, int(h.element_size()), device.stream()));
  return out;
}

Tensor border_sums(Tensor dx, int64_t taps, bool diagonal, bool reverse) {
  STD_TORCH_CHECK(dx.dim() == 6 && dx.size(5) == 4, "line_scan: expected dx [D, B, H, W, h, 4]");
  const std::optional<MapType> type = map_type(dx.scalar_type());
  STD_TORCH_CHECK(type, "line_scan: expected float32, float64, float16 or bfloat16, got ", dx.scalar_type());
  const OnDeviceOf device(dx);
  dx = prepared(dx);
  const ScalarType wide = *type == MapType::float64 ? ScalarType::Double : ScalarType::Float;
  Tensor out = torch::stable::new_empty(dx, {dx.size(0), dx.size(1), taps, dx.size(4), 4}, wide);
  if (!out.numel()) return out;
  check(sum_border(
      *type, {dx.const_data_ptr(), out.mutable_data_ptr(), map_shape(dx, taps, diagonal, reverse)}, device.stream()));
  return out;
}

}  // namespace pixelrnn::cuda
