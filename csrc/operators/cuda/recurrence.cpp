#include "recurrence.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>
#include <initializer_list>
#include <utility>
#include <vector>

#include "../../cuda/estimate.h"
#include "../../cuda/path.h"
#include "../../cuda/resident.h"
#include "../../cuda/step.h"
#include "device.h"
#include "tensors.h"

namespace pixelrnn::cuda {
namespace {

using torch::headeronly::ScalarType;

ScalarType cell_state_type(ScalarType t) { return t == ScalarType::Double ? t : ScalarType::Float; }
ScalarType gates_type(ScalarType t) { return t == ScalarType::BFloat16 ? ScalarType::Half : t; }

const void* in(const Optional& t) { return t ? t->const_data_ptr() : nullptr; }

// One scan: its sizes, the type of its maps, the paths that may run it.
struct Scan {
  int64_t directions, images, height, width, hidden, taps;
  bool diagonal, reverse, tf32;
  ScalarType type;

  void check_sizes() const {
    STD_TORCH_CHECK(height * width < (int64_t(1) << 31) && images < (int64_t(1) << 28) && hidden < (1 << 24),
        "line_scan: the map is too large");
    STD_TORCH_CHECK(images * hidden * (diagonal ? height : width) < (int64_t(1) << 31),
        "line_scan: a line of the map is too large");
    STD_TORCH_CHECK(directions == 1 || directions == 2, "line_scan: expected 1 or 2 directions, got ", directions);
    STD_TORCH_CHECK(diagonal ? taps == 2 : taps % 2 == 1, "line_scan: expected ",
        diagonal ? "2 taps" : "an odd number of taps", ", got ", taps);
  }
  bool empty() const { return images * height * width * hidden == 0; }

  Geometry geometry(int direction) const {
    const bool mirrored = reverse != (direction == 1);
    return diagonal ? Geometry::diagonal(int(height), int(width), {false, mirrored})
                    : Geometry::row(int(height), int(width), {false, mirrored});
  }
  int pixels() const { return int(height * width); }

  void check_tensor(const char* name, const Optional& t, const std::vector<int64_t>& sizes, ScalarType expected) const {
    if (!t) return;
    bool right = t->dim() == int64_t(sizes.size());
    for (size_t i = 0; right && i < sizes.size(); ++i) right = t->size(i) == sizes[i];
    STD_TORCH_CHECK(right, "line_scan: ", name, " has the wrong shape");
    STD_TORCH_CHECK(
        t->scalar_type() == expected, "line_scan: expected ", name, " of dtype ", expected, ", got ", t->scalar_type());
  }

  Problem problem(Format format, bool backward) const {
    const Geometry g = geometry(0);
    return {format, backward, int(hidden), int(taps), g.lines, g.cells, images, directions};
  }
  std::optional<Format> format() const {
    switch (type) {
      case ScalarType::BFloat16: return Format::bf16;
      case ScalarType::Half: return Format::fp16;
      case ScalarType::Float: return tf32 ? Format::tf32 : Format::fp32;
      default: return std::nullopt;
    }
  }

  // The resident plan for this pass, or none for the step path.
  Plan choose(const Path& path, bool backward) const {
    Plan chosen;
    if (path.step) return chosen;
    if (const auto f = format()) {
      Device device;
      check(current_device(device));
      auto ask = [&](bool backward) {
        Plan p;
        check(plan_here(problem(*f, backward), device, path.restriction(*f, backward), p));
        return p;
      };
      chosen = ask(backward);
      // Forced, the forward must not begin what the backward cannot finish; but groups of warps are those of one pass,
      // to be measured.
      if (path.resident && !path.groups && chosen.variant && !backward) {
        const Plan later = ask(true);
        STD_TORCH_CHECK(later.variant, "line_scan: the resident path cannot run backward: ", later.why_not);
      }
    } else {
      chosen.why_not = "expected float32, float16 or bfloat16, got float64";
    }
    STD_TORCH_CHECK(!path.resident || chosen.variant, "line_scan: the resident path cannot run: ", chosen.why_not);
    return chosen;
  }
};

Scan scan_of(const Tensor& map, const Tensor& weight, bool diagonal, bool reverse, bool tf32) {
  STD_TORCH_CHECK(weight.dim() == 5 && map.dim() == 6,
      "line_scan: expected weight [D, taps, h, 4, h] and x or gates [D, B, H, W, h, 4]");
  const Scan s{map.size(0), map.size(1), map.size(2), map.size(3), map.size(4), weight.size(1), diagonal, reverse, tf32,
      weight.scalar_type()};
  STD_TORCH_CHECK(s.type == ScalarType::Float || s.type == ScalarType::Double || s.type == ScalarType::Half ||
                      s.type == ScalarType::BFloat16,
      "line_scan: expected float32, float64, float16 or bfloat16, got ", s.type);
  s.check_sizes();
  s.check_tensor("weight", weight, {s.directions, s.taps, s.hidden, 4, s.hidden}, s.type);
  return s;
}

// Each pass packs its own layout, when it is called: the backward is another call of an operator, which the forward
// knows nothing of (there may be none, or several), and what it would have to save for it is as large as the weights.
Tensor packed_weight(const Scan& s, const Plan& plan, const Tensor& weight, cudaStream_t stream) {
  Tensor packed = torch::stable::new_empty(weight, {s.directions, plan.tiling.blocks, plan.tiling.weight_values()});
  check(pack({weight.const_data_ptr(), packed.mutable_data_ptr(), plan.tiling}, int(s.directions), stream));
  return packed;
}

// ---- the step path: one matrix product and one kernel a line

StepType step_type(ScalarType t) {
  return t == ScalarType::Double     ? StepType::float64
         : t == ScalarType::Half     ? StepType::float16
         : t == ScalarType::BFloat16 ? StepType::bfloat16
                                     : StepType::float32;
}

StepShape step_shape(const Scan& s, int line) {
  const Geometry g = s.geometry(0);  // both directions have the same window
  StepShape shape{int(s.directions), int(s.images), s.pixels(), int(s.hidden), int(s.taps), line, g.first(line),
      g.last(line) - g.first(line), {}};
  for (int d = 0; d < 2; ++d) shape.geometry[d] = s.geometry(d);
  return shape;
}

Tensor call_permute(const Tensor& t, const std::vector<int64_t>& order) {
  std::array<StableIValue, 2> stack{torch::stable::detail::from(t), torch::stable::detail::from(order)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::permute", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

void bmm_out(const Tensor& a, const Tensor& b, const Tensor& out) {
  std::array<StableIValue, 3> stack{
      torch::stable::detail::from(a), torch::stable::detail::from(b), torch::stable::detail::from(out)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::bmm", "out", stack.data(), TORCH_ABI_VERSION));
  (void)torch::stable::detail::to<Tensor>(stack[0]);
}

// The product of the active rows of a line: operand [D, cells * B, K], weight [D, K, N] -> the first rows of `out` [D *
// cells * B * N].
Tensor multiply_active(const Scan& s, const StepShape& line, Tensor operand, const Tensor& weight, Tensor out) {
  const int64_t rows = int64_t(line.active) * s.images, columns = weight.size(2);
  const Tensor product = torch::stable::view(
      torch::stable::narrow(out, 0, 0, s.directions * rows * columns), {s.directions, rows, columns});
  bmm_out(torch::stable::narrow(operand, 1, int64_t(line.first) * s.images, rows), weight, product);
  return product;
}

// Neighbours outside the image have the state h0.
Tensor initial_operand(const Scan& s, const Optional& h0, const Tensor& like, int64_t rows) {
  Tensor operand = torch::stable::new_zeros(like, {s.directions, rows, s.taps * s.hidden});
  if (!h0) return operand;
  Tensor by_tap = torch::stable::view(operand, {s.directions, rows * s.taps, s.hidden});
  torch::stable::copy_(by_tap, torch::stable::unsqueeze(*h0, 1));
  return operand;
}

void step_forward_scan(const Scan& s, const Tensor& x, const Tensor& weight, const Optional& h0, const Optional& c0,
    Tensor& h, Tensor& c, Tensor& gates, cudaStream_t stream) {
  const Geometry g = s.geometry(0);
  const int64_t rows = int64_t(g.cells) * s.images;
  // [D, taps, to, gate, from] -> [D, taps and from, to and gate]
  const Tensor matrix =
      torch::stable::reshape(call_permute(weight, {0, 1, 4, 2, 3}), {s.directions, s.taps * s.hidden, 4 * s.hidden});
  const Tensor operand = initial_operand(s, h0, x, rows),
               space = torch::stable::new_empty(x, {s.directions * rows * 4 * s.hidden});
  for (int t = 0; t < g.lines; ++t) {
    const StepShape line = step_shape(s, t);
    const Tensor product = multiply_active(s, line, operand, matrix, space);
    check(step_forward(step_type(s.type),
        {line, product.const_data_ptr(), x.const_data_ptr(), in(c0), h.mutable_data_ptr(), c.mutable_data_ptr(),
            gates.mutable_data_ptr(), operand.mutable_data_ptr()},
        stream));
  }
}

Tensor step_backward_scan(const Scan& s, const Tensor& dh, const Tensor& weight, const Optional& c0, const Tensor& c,
    const Tensor& gates, Tensor& dx, cudaStream_t stream) {
  const Geometry g = s.geometry(0);
  const int64_t rows = int64_t(g.cells) * s.images;
  const Tensor matrix = torch::stable::reshape(weight, {s.directions, s.taps * 4 * s.hidden, s.hidden});
  const Tensor operand = torch::stable::new_zeros(dx, {s.directions, rows, s.taps * 4 * s.hidden}),
               space = torch::stable::new_empty(dx, {s.directions * rows * s.hidden});
  Tensor dc = torch::stable::new_zeros(c, {s.directions, rows, s.hidden});
  for (int t = g.lines - 1; t >= 0; --t) {
    const StepShape line = step_shape(s, t);
    Optional product;
    if (t + 1 < g.lines) product = multiply_active(s, line, operand, matrix, space);
    check(step_backward(step_type(s.type),
        {line, in(product), dh.const_data_ptr(), gates.const_data_ptr(), c.const_data_ptr(), in(c0),
            dx.mutable_data_ptr(), dc.mutable_data_ptr(), operand.mutable_data_ptr()},
        stream));
  }
  return dc;
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> recurrence(
    Tensor x, Tensor weight, Optional h0, Optional c0, bool diagonal, bool reverse, std::string path, bool tf32) {
  check_on_one_device("weight", weight, {{"x", x}, {"h0", h0}, {"c0", c0}});
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
  const cudaStream_t stream = device.stream();
  if (!plan.variant) {
    step_forward_scan(s, x, weight, h0, c0, h, c, gates, stream);
    return {h, c, gates};
  }
  const Tensor packed = packed_weight(s, plan, weight, stream);
  const ForwardArgs args{x.const_data_ptr(), packed.const_data_ptr(), in(h0), in(c0), h.mutable_data_ptr(),
      static_cast<float*>(c.mutable_data_ptr()), gates.mutable_data_ptr(), int(s.images), s.pixels(), plan.tiling,
      {s.geometry(0), s.geometry(1)}};
  check(forward(plan, args, int(s.directions), stream));
  return {h, c, gates};
}

std::tuple<Tensor, Tensor> recurrence_backward(Tensor dh, Tensor weight, Optional c0, Tensor c, Tensor gates,
    bool diagonal, bool reverse, std::string path, bool tf32) {
  check_on_one_device("weight", weight, {{"dh", dh}, {"c0", c0}, {"c", c}, {"gates", gates}});
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
  const cudaStream_t stream = device.stream();
  if (!plan.variant) {
    const Tensor dc = step_backward_scan(s, dh, weight, c0, c, gates, dx, stream);
    const Tensor by_cell = torch::stable::view(dc, {s.directions, s.geometry(0).cells, s.images, s.hidden});
    return {dx, call_permute(by_cell, {0, 2, 1, 3})};
  }
  Tensor dc = torch::stable::new_empty(c, {s.directions, s.images, s.geometry(0).cells, s.hidden});
  const Tensor packed = packed_weight(s, plan, weight, stream);
  const BackwardArgs args{dh.const_data_ptr(), gates.const_data_ptr(), static_cast<const float*>(c.const_data_ptr()),
      packed.const_data_ptr(), in(c0), dx.mutable_data_ptr(), static_cast<float*>(dc.mutable_data_ptr()), int(s.images),
      s.pixels(), plan.tiling, {s.geometry(0), s.geometry(1)}};
  check(backward(plan, args, int(s.directions), stream));
  return {dx, dc};
}

std::tuple<std::string, std::string> describe_plan(int64_t directions, int64_t images, int64_t height, int64_t width,
    int64_t hidden, int64_t taps, bool diagonal, std::string format, int64_t capability, std::string path) {
  const char* const names[] = {"bf16", "fp16", "tf32", "fp32"};
  int which = 0;
  while (which < 4 && format != names[which]) ++which;
  STD_TORCH_CHECK(which < 4, "describe_plan: expected format 'bf16', 'fp16', 'tf32' or 'fp32', got '", format, "'");
  Device device = known_device(int(capability));
  if (capability == 0) check(current_device(device));
  const Scan s{directions, images, height, width, hidden, taps, diagonal, false, false, ScalarType::Float};
  s.check_sizes();
  STD_TORCH_CHECK(directions > 0 && images >= 0 && height > 0 && width > 0 && hidden > 0 && taps > 0,
      "describe_plan: expected sizes of 1 or more");
  auto describe = [&](bool backward) {
    const Problem p = s.problem(Format(which), backward);
    const Restriction restriction = Path(path).restriction(p.format, backward);
    if (capability) return plan(p, device, restriction).describe();
    Plan here;
    check(plan_here(p, device, restriction, here));
    return here.describe();
  };
  return {describe(false), describe(true)};
}

}  // namespace pixelrnn::cuda
