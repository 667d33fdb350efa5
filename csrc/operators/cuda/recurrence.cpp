#include "recurrence.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "../../cuda/scan/resident.h"
#include "device.h"
#include "scan.h"

namespace pixelrnn::cuda {
namespace {

template <class Args> Args with_geometries(const Scan& s, Args args) {
  for (int d = 0; d < kMaxDirections; ++d) args.geometry[d] = s.geometry(d);
  return args;
}
CellParameters<float> cell(const Scan& s) { return {s.cell.formula, float(s.cell.scale)}; }

// Whether kernels that compute a scan in one launch take h and dh as [D, B, H, W, h]. With [B, H, W, D, h], which all
// other code uses, the compiler would run out of registers on some GPUs.
bool is_direction_major(const Scan& s) { return !carries_up(s.gates) && s.directions > 1; }

template <int G> void resident_forward(const Scan& s, const Plan& plan, const Tensor& x, const Tensor& h,
    const Tensor& c, const Tensor& gates, CUstream stream) {
  const Tensor packed = s.packed_weight(plan, stream);
  const auto args = with_geometries(s, ForwardArgsOf<G>{x.const_data_ptr(), packed.const_data_ptr(), in(s.h0), in(s.c0),
                                           h.mutable_data_ptr(), static_cast<float*>(c.mutable_data_ptr()),
                                           gates.mutable_data_ptr(), int(s.images), s.pixels(), plan.tiling, {}});
  if constexpr (carries_up(G))
    check(forward(plan, ForwardArgs5{args, cell(s), s.ragged_images()}, int(s.directions), stream));
  else check(forward(plan, args, int(s.directions), stream));
}

template <int G> void resident_backward(const Scan& s, const Plan& plan, const Tensor& dh, const Tensor& c,
    const Tensor& gates, const Tensor& dx, const Tensor& dc_left, const Tensor& dc_above, CUstream stream) {
  const Tensor packed = s.packed_weight(plan, stream);
  const auto args = with_geometries(
      s, BackwardArgsOf<G>{dh.const_data_ptr(), gates.const_data_ptr(), static_cast<const float*>(c.const_data_ptr()),
             packed.const_data_ptr(), in(s.c0), dx.mutable_data_ptr(), static_cast<float*>(dc_left.mutable_data_ptr()),
             int(s.images), s.pixels(), plan.tiling, {}});
  if constexpr (carries_up(G))
    check(backward(plan,
        BackwardArgs5{args, cell(s), s.ragged_images(), static_cast<float*>(dc_above.mutable_data_ptr())},
        int(s.directions), stream));
  else check(backward(plan, args, int(s.directions), stream));
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> recurrence(const ScanArguments& a) {
  STD_TORCH_CHECK(a.x || !a.input || !a.weight_ih, "scan: expected x for the recurrence, got input");
  check_same_device(
      "weight_hh", a.weight_hh, {{"x", a.x}, {"h0", a.h0}, {"c0", a.c0}, {"peephole", a.peephole}, {"sizes", a.sizes}});
  const DeviceScope device(a.weight_hh);
  const Scan s(a);
  const Tensor x = aligned(*a.x);
  Tensor c = stable::new_empty(x, s.maps(s.hidden), cell_state_type(s.type)),
         gates = stable::new_empty(x, s.maps(s.columns()), gates_type(s.type));
  if (s.empty()) return {s.new_map(s.h()), c, gates};
  const Plan plan = s.choose_plan(false);
  Tensor h = plan.variant && is_direction_major(s)
                 ? call_permute(stable::new_empty(x, s.maps(s.hidden)), {1, 2, 3, 0, 4})
                 : s.new_map(s.h());
  if (!plan.variant) step_forward_scan(s, x, h, c, gates, device.stream());
  else if (s.gates == 4) resident_forward<4>(s, plan, x, h, c, gates, device.stream());
  else resident_forward<5>(s, plan, x, h, c, gates, device.stream());
  return {h, c, gates};
}

std::tuple<Tensor, Tensor, Tensor> recurrence_backward(const RecurrenceGradients& g) {
  const ScanArguments& a = g.scan;
  check_same_device("weight_hh", a.weight_hh,
      {{"dh", g.dh}, {"c", g.c}, {"gates", g.gates}, {"c0", a.c0}, {"peephole", a.peephole}, {"sizes", a.sizes}});
  const DeviceScope device(a.weight_hh);
  const Scan s(a);
  check_sizes("dh", g.dh, s.h(), s.type);
  check_sizes("c", g.c, s.maps(s.hidden), cell_state_type(s.type));
  check_sizes("gates", g.gates, s.maps(s.columns()), gates_type(s.type));
  const Tensor c = aligned(g.c), gates = aligned(g.gates);
  Tensor dx = s.new_map(s.maps(s.columns()));
  const std::vector<int64_t> left{s.directions, s.images, s.diagonal ? s.height : s.width, s.hidden},
      above{s.directions, carries_up(s.gates) ? s.images : 0, s.hidden};
  if (s.empty()) return {dx, stable::new_zeros(c, left), stable::new_zeros(c, above)};
  const Plan plan = s.choose_plan(true);
  const Tensor dh = aligned(plan.variant && is_direction_major(s) ? call_permute(g.dh, {3, 0, 1, 2, 4}) : g.dh);
  if (!plan.variant) {
    const auto [dc_left, dc_above] = step_backward_scan(s, dh, c, gates, dx, device.stream());
    return {dx, call_permute(dc_left, {0, 2, 1, 3}), dc_above};
  }
  Tensor dc_left = stable::new_empty(c, left), dc_above = stable::new_empty(c, above);
  if (s.gates == 4) resident_backward<4>(s, plan, dh, c, gates, dx, dc_left, dc_above, device.stream());
  else resident_backward<5>(s, plan, dh, c, gates, dx, dc_left, dc_above, device.stream());
  return {dx, dc_left, dc_above};
}

std::tuple<std::string, std::string> describe_current_plan(int64_t directions, int64_t images, int64_t height,
    int64_t width, int64_t hidden, int64_t taps, bool diagonal, std::string format, std::string path, int64_t gates) {
  Device device;
  check(enter_current_device());
  check(current_device(device));
  return describe({directions, images, height, width, hidden, taps, diagonal, format, path, gates},
      [&](const Problem& p, const Restriction& r) {
        Plan chosen;
        check(plan_on_current_device(p, device, r, chosen));
        return chosen;
      });
}

}  // namespace pixelrnn::cuda
