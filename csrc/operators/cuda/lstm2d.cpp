#include "lstm2d.h"

#include <algorithm>
#include <type_traits>

#include "../../cuda/resident.h"
#include "../cells.h"
#include "device.h"
#include "scan.h"
#include "steps.h"

namespace pixelrnn::cuda {
namespace {

// A scan of LSTM2d, and what one of the Diagonal LSTM does not have.
struct Scan2d : Scan {
  const Cell& kind;
  Optional peepholes, sizes;

  Scan2d(const Tensor& map, const Tensor& weight, const Optional& peepholes, const Optional& sizes,
      const std::vector<int64_t>& corners, const std::string& cell, bool tf32)
      : Scan{"lstm2d_scan", map.size(0), map.size(1), map.size(2), map.size(3), weight.size(2), 2, true, tf32,
            weight.scalar_type(), {}, cell_named(cell).gates},
        kind(cell_named(cell)),
        peepholes(peepholes),
        sizes(sizes) {
    check_type();
    check_sizes();
    read_corners(corners, directions, corner);
    check_tensor("weight", weight, {directions, 2, hidden, gates, hidden}, type);
    check_tensor("peepholes", peepholes, {directions, 4, hidden}, type);
    check_tensor("sizes", sizes, {images, 2}, ScalarType::Long);
    STD_TORCH_CHECK(!peepholes || kind.may_have_peepholes, "lstm2d_scan: the cell ", cell, " has no peepholes");
  }

  std::vector<int64_t> joined() const { return {images, height, width, directions, hidden}; }  // of h and dh
  std::vector<int64_t> maps(int64_t columns) const { return {directions, images, height, width, columns}; }

  RaggedImages ragged() const {
    RaggedImages r{sizes ? static_cast<const int64_t*>(sizes->const_data_ptr()) : nullptr, int(height), int(width), {}};
    std::copy(std::begin(corner), std::end(corner), std::begin(r.corner));
    return r;
  }
  CarriesArgs carries() const { return {kind.formula, float(kind.scale), ragged()}; }
  template <class Args> Args with_geometries(Args args) const {
    for (int d = 0; d < kMostDirections; ++d) args.geometry[d] = geometry(d);
    return args;
  }
  StepCell step_cell() const { return {kind.formula, kind.scale, in(peepholes), true, ragged()}; }

  Plan choose(const Path& path, bool backward) const {
    return Scan::choose(path, backward,
        gates == 4 && sizes ? "expected no sizes with a cell of four gates"
        : peepholes         ? "expected no peepholes"
                            : "");
  }
};

// The gates of a unit, for a kernel's arguments.
using Four = std::integral_constant<int, 4>;
using Five = std::integral_constant<int, 5>;

void check_maps(const Tensor& map, const Tensor& weight) {
  STD_TORCH_CHECK(weight.dim() == 5 && map.dim() == 5,
      "lstm2d_scan: expected weight [D, 2, h, G, h] and x or gates [D, B, H, W, G h]");
}

// Zero where nothing may be written: outside of smaller images.
Tensor fresh(const Tensor& like, const std::vector<int64_t>& sizes, bool ragged, std::optional<ScalarType> type = {}) {
  return ragged ? torch::stable::new_zeros(like, sizes, type) : torch::stable::new_empty(like, sizes, type);
}

// The kernels of four gates have a map of h for each direction, those of five one of all directions.
Tensor apart(const Tensor& joined) { return prepared(call_permute(joined, {3, 0, 1, 2, 4})); }

}  // namespace

std::tuple<Tensor, Tensor, Tensor> recurrence2d(Tensor x, Tensor weight, Optional h0, Optional c0, Optional peepholes,
    Optional sizes, std::vector<int64_t> corners, std::string cell, std::string path, bool tf32) {
  check_on_one_device(
      "lstm2d_scan", "weight", weight, {{"x", x}, {"h0", h0}, {"c0", c0}, {"peepholes", peepholes}, {"sizes", sizes}});
  check_maps(x, weight);
  const OnDeviceOf device(weight);
  x = prepared(x), weight = prepared(weight), h0 = prepared(h0), c0 = prepared(c0), sizes = prepared(sizes);
  const Scan2d s(x, weight, prepared(peepholes), sizes, corners, cell, tf32);
  s.check_tensor("x", x, s.maps(s.columns()), s.type);
  s.check_tensor("h0", h0, {s.directions, s.hidden}, s.type);
  s.check_tensor("c0", c0, {s.directions, s.hidden}, s.type);
  const Path wanted(path);

  Tensor h = fresh(x, s.joined(), sizes.has_value());
  Tensor c = torch::stable::new_empty(x, s.maps(s.hidden), cell_state_type(s.type));
  Tensor gates = torch::stable::new_empty(x, s.maps(s.columns()), gates_type(s.type));
  if (s.empty()) return {h, c, gates};
  const Plan plan = s.choose(wanted, false);
  const CUstream stream = device.stream();
  if (!plan.variant) {
    step_forward_scan(s, s.step_cell(), x, weight, h0, c0, h, c, gates, stream);
    return {h, c, gates};
  }
  const Tensor packed = s.packed_weight(plan, weight, stream);
  const Tensor of_directions = s.gates == 4 ? torch::stable::new_empty(x, s.maps(s.hidden)) : h;
  auto args = [&](auto known) {
    return s.with_geometries(ForwardArgsOf<decltype(known)::value>{x.const_data_ptr(), packed.const_data_ptr(), in(h0),
        in(c0), of_directions.mutable_data_ptr(), static_cast<float*>(c.mutable_data_ptr()), gates.mutable_data_ptr(),
        int(s.images), s.pixels(), plan.tiling, {}});
  };
  if (s.gates == 5) {
    check(forward(plan, ForwardArgs2d{args(Five()), s.carries()}, int(s.directions), stream));
  } else {
    check(forward(plan, args(Four()), int(s.directions), stream));
    torch::stable::copy_(h, call_permute(of_directions, {1, 2, 3, 0, 4}));
  }
  return {h, c, gates};
}

std::tuple<Tensor, Tensor, Tensor> recurrence2d_backward(Tensor dh, Tensor weight, Optional c0, Optional peepholes,
    Optional sizes, Tensor c, Tensor gates, std::vector<int64_t> corners, std::string cell, std::string path,
    bool tf32) {
  check_on_one_device("lstm2d_scan", "weight", weight,
      {{"dh", dh}, {"c0", c0}, {"peepholes", peepholes}, {"sizes", sizes}, {"c", c}, {"gates", gates}});
  check_maps(gates, weight);
  const OnDeviceOf device(weight);
  dh = prepared(dh), weight = prepared(weight), c0 = prepared(c0), c = prepared(c), gates = prepared(gates),
  sizes = prepared(sizes);
  const Scan2d s(gates, weight, prepared(peepholes), sizes, corners, cell, tf32);
  s.check_tensor("gates", gates, s.maps(s.columns()), gates_type(s.type));
  s.check_tensor("dh", dh, s.joined(), s.type);
  s.check_tensor("c", c, s.maps(s.hidden), cell_state_type(s.type));
  s.check_tensor("c0", c0, {s.directions, s.hidden}, s.type);
  const Path wanted(path);

  Tensor dx = fresh(gates, s.maps(s.columns()), sizes.has_value(), s.type);
  const std::vector<int64_t> of_rows{s.directions, s.images, s.height, s.hidden},
      of_images{s.directions, s.gates == 5 ? s.images : 0, s.hidden};
  if (s.empty()) return {dx, torch::stable::new_zeros(c, of_rows), torch::stable::new_zeros(c, of_images)};
  const Plan plan = s.choose(wanted, true);
  const CUstream stream = device.stream();
  if (!plan.variant) {
    const auto [left, above] = step_backward_scan(s, s.step_cell(), dh, weight, c0, c, gates, dx, stream);
    return {dx, call_permute(left, {0, 2, 1, 3}), above};
  }
  Tensor left = torch::stable::new_empty(c, of_rows), above = torch::stable::new_empty(c, of_images);
  const Tensor packed = s.packed_weight(plan, weight, stream), of_directions = s.gates == 4 ? apart(dh) : dh;
  auto args = [&](auto known) {
    return s.with_geometries(
        BackwardArgsOf<decltype(known)::value>{of_directions.const_data_ptr(), gates.const_data_ptr(),
            static_cast<const float*>(c.const_data_ptr()), packed.const_data_ptr(), in(c0), dx.mutable_data_ptr(),
            static_cast<float*>(left.mutable_data_ptr()), int(s.images), s.pixels(), plan.tiling, {}});
  };
  if (s.gates == 5)
    check(backward(plan, BackwardArgs2d{args(Five()), s.carries(), static_cast<float*>(above.mutable_data_ptr())},
        int(s.directions), stream));
  else check(backward(plan, args(Four()), int(s.directions), stream));
  return {dx, left, above};
}

}  // namespace pixelrnn::cuda
