#include "recurrence.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "../../cuda/estimate.h"
#include "../../cuda/resident.h"
#include "device.h"
#include "scan.h"
#include "steps.h"

namespace pixelrnn::cuda {
namespace {

Scan scan_of(const Tensor& map, const Tensor& weight, bool diagonal, bool reverse, bool tf32) {
  STD_TORCH_CHECK(weight.dim() == 5 && map.dim() == 6,
      "line_scan: expected weight [D, taps, h, 4, h] and x or gates [D, B, H, W, h, 4]");
  Scan s{"line_scan", map.size(0), map.size(1), map.size(2), map.size(3), map.size(4), weight.size(1), diagonal, tf32,
      weight.scalar_type(), {}};
  for (int d = 0; d < 2; ++d) s.corner[d] = {false, reverse != (d == 1)};
  s.check_type();
  s.check_sizes();
  STD_TORCH_CHECK(s.directions == 1 || s.directions == 2, "line_scan: expected 1 or 2 directions, got ", s.directions);
  s.check_tensor("weight", weight, {s.directions, s.taps, s.hidden, 4, s.hidden}, s.type);
  return s;
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> recurrence(
    Tensor x, Tensor weight, Optional h0, Optional c0, bool diagonal, bool reverse, std::string path, bool tf32) {
  check_on_one_device("line_scan", "weight", weight, {{"x", x}, {"h0", h0}, {"c0", c0}});
  const OnDeviceOf device(weight);
  x = prepared(x), weight = prepared(weight), h0 = prepared(h0), c0 = prepared(c0);
  const Scan s = scan_of(x, weight, diagonal, reverse, tf32);
  s.check_tensor("x", x, {s.directions, s.images, s.height, s.width, s.hidden, 4}, s.type);
  s.check_tensor("h0", h0, {s.directions, s.hidden}, s.type);
  s.check_tensor("c0", c0, {s.directions, s.hidden}, s.type);
  const Path wanted(path);

  Tensor h = torch::stable::new_empty(x, {s.directions, s.images, s.height, s.width, s.hidden});
  Tensor c =
      torch::stable::new_empty(x, {s.directions, s.images, s.height, s.width, s.hidden}, cell_state_type(s.type));
  Tensor gates =
      torch::stable::new_empty(x, {s.directions, s.images, s.height, s.width, s.hidden, 4}, gates_type(s.type));
  if (s.empty()) return {h, c, gates};
  const Plan plan = s.choose(wanted, false);
  const CUstream stream = device.stream();
  if (!plan.variant) {
    step_forward_scan(s, {}, x, weight, h0, c0, h, c, gates, stream);
    return {h, c, gates};
  }
  const Tensor packed = s.packed_weight(plan, weight, stream);
  const ForwardArgs args{x.const_data_ptr(), packed.const_data_ptr(), in(h0), in(c0), h.mutable_data_ptr(),
      static_cast<float*>(c.mutable_data_ptr()), gates.mutable_data_ptr(), int(s.images), s.pixels(), plan.tiling,
      {s.geometry(0), s.geometry(1)}};
  check(forward(plan, args, int(s.directions), stream));
  return {h, c, gates};
}

std::tuple<Tensor, Tensor> recurrence_backward(Tensor dh, Tensor weight, Optional c0, Tensor c, Tensor gates,
    bool diagonal, bool reverse, std::string path, bool tf32) {
  check_on_one_device("line_scan", "weight", weight, {{"dh", dh}, {"c0", c0}, {"c", c}, {"gates", gates}});
  const OnDeviceOf device(weight);
  dh = prepared(dh), weight = prepared(weight), c0 = prepared(c0), c = prepared(c), gates = prepared(gates);
  const Scan s = scan_of(gates, weight, diagonal, reverse, tf32);
  s.check_tensor("gates", gates, {s.directions, s.images, s.height, s.width, s.hidden, 4}, gates_type(s.type));
  s.check_tensor("dh", dh, {s.directions, s.images, s.height, s.width, s.hidden}, s.type);
  s.check_tensor("c", c, {s.directions, s.images, s.height, s.width, s.hidden}, cell_state_type(s.type));
  s.check_tensor("c0", c0, {s.directions, s.hidden}, s.type);
  const Path wanted(path);

  Tensor dx = torch::stable::new_empty(gates, {s.directions, s.images, s.height, s.width, s.hidden, 4}, s.type);
  if (s.empty()) return {dx, torch::stable::new_zeros(c, {s.directions, s.images, 0, s.hidden})};
  const Plan plan = s.choose(wanted, true);
  const CUstream stream = device.stream();
  if (!plan.variant) {
    const Tensor by_cell = std::get<0>(step_backward_scan(s, {}, dh, weight, c0, c, gates, dx, stream));
    return {dx, call_permute(by_cell, {0, 2, 1, 3})};
  }
  Tensor dc = torch::stable::new_empty(c, {s.directions, s.images, s.geometry(0).cells, s.hidden});
  const Tensor packed = s.packed_weight(plan, weight, stream);
  const BackwardArgs args{dh.const_data_ptr(), gates.const_data_ptr(), static_cast<const float*>(c.const_data_ptr()),
      packed.const_data_ptr(), in(c0), dx.mutable_data_ptr(), static_cast<float*>(dc.mutable_data_ptr()), int(s.images),
      s.pixels(), plan.tiling, {s.geometry(0), s.geometry(1)}};
  check(backward(plan, args, int(s.directions), stream));
  return {dx, dc};
}

std::tuple<std::string, std::string> describe_plan(int64_t directions, int64_t images, int64_t height, int64_t width,
    int64_t hidden, int64_t taps, bool diagonal, std::string format, int64_t capability, std::string path,
    int64_t gates) {
  const char* const names[] = {"bf16", "fp16", "tf32", "fp32"};
  const auto which = std::find(std::begin(names), std::end(names), format);
  STD_TORCH_CHECK(
      which != std::end(names), "describe_plan: expected format 'bf16', 'fp16', 'tf32' or 'fp32', got '", format, "'");
  STD_TORCH_CHECK(gates == 4 || gates == 5, "describe_plan: expected 4 or 5 gates, got ", gates);
  Device device = known_device(int(capability));
  if (capability == 0) {
    check(enter_current_device());
    check(current_device(device));
  }
  const Scan s{"describe_plan", directions, images, height, width, hidden, taps, diagonal, false, ScalarType::Float, {},
      int(gates)};
  s.check_sizes();
  STD_TORCH_CHECK(directions > 0 && directions <= kMostDirections && images >= 0 && height > 0 && width > 0 &&
                      hidden > 0 && taps > 0,
      "describe_plan: expected sizes of 1 or more");
  auto describe = [&](bool backward) {
    const Problem p = s.problem(Format(which - names), backward);
    const Restriction restriction = Path(path).restriction(p.format, backward, p.gates);
    if (capability) return plan(p, device, restriction).describe();
    Plan here;
    check(plan_here(p, device, restriction, here));
    return here.describe();
  };
  return {describe(false), describe(true)};
}

}  // namespace pixelrnn::cuda
