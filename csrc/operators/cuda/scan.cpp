#include "scan.h"

#include "../../cuda/resident.h"

namespace pixelrnn::cuda {

void Scan::check_type() const {
  STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::Half ||
                      type == ScalarType::BFloat16,
      name, ": expected float32, float64, float16 or bfloat16, got ", type);
}

void Scan::check_sizes() const {
  STD_TORCH_CHECK(height * width < (int64_t(1) << 31) && images < (int64_t(1) << 28) && hidden < (1 << 24), name,
      ": the map is too large");
  STD_TORCH_CHECK(
      images * hidden * (diagonal ? height : width) < (int64_t(1) << 31), name, ": a line of the map is too large");
  STD_TORCH_CHECK(diagonal ? taps == 2 : taps % 2 == 1, name, ": expected ",
      diagonal ? "2 taps" : "an odd number of taps", ", got ", taps);
}

void Scan::check_tensor(
    const char* tensor, const Optional& t, const std::vector<int64_t>& sizes, ScalarType expected) const {
  if (!t) return;
  bool right = t->dim() == int64_t(sizes.size());
  for (size_t i = 0; right && i < sizes.size(); ++i) right = t->size(i) == sizes[i];
  STD_TORCH_CHECK(right, name, ": ", tensor, " has the wrong shape");
  STD_TORCH_CHECK(
      t->scalar_type() == expected, name, ": expected ", tensor, " of dtype ", expected, ", got ", t->scalar_type());
}

Problem Scan::problem(Format format, bool backward) const {
  const Geometry g = geometry(0);
  return {format, backward, int(hidden), int(taps), g.lines, g.cells, images, directions, gates};
}

std::optional<Format> Scan::format() const {
  switch (type) {
    case ScalarType::BFloat16: return Format::bf16;
    case ScalarType::Half: return Format::fp16;
    case ScalarType::Float: return tf32 ? Format::tf32 : Format::fp32;
    default: return std::nullopt;
  }
}

Plan Scan::choose(const Path& path, bool backward, const std::string& refusal) const {
  Plan chosen;
  if (path.step) return chosen;
  chosen.why_not = refusal;
  const auto f = format();
  if (refusal.empty() && f) {
    Device device;
    check(current_device(device));
    auto ask = [&](bool backward) {
      Plan p;
      check(plan_here(problem(*f, backward), device, path.restriction(*f, backward, gates), p));
      return p;
    };
    chosen = ask(backward);
    // Forced, the forward must not begin what the backward cannot finish; but groups of warps are those of one pass, to
    // be measured.
    if (path.resident && !path.groups && chosen.variant && !backward) {
      const Plan later = ask(true);
      STD_TORCH_CHECK(later.variant, name, ": the resident path cannot run backward: ", later.why_not);
    }
  } else if (refusal.empty()) {
    chosen.why_not = "expected float32, float16 or bfloat16, got float64";
  }
  STD_TORCH_CHECK(!path.resident || chosen.variant, name, ": the resident path cannot run: ", chosen.why_not);
  return chosen;
}

Tensor Scan::packed_weight(const Plan& plan, const Tensor& weight, CUstream stream) const {
  Tensor packed = torch::stable::new_empty(weight, {directions, plan.tiling.blocks, plan.tiling.weight_values()});
  check(pack({weight.const_data_ptr(), packed.mutable_data_ptr(), plan.tiling}, int(directions), stream));
  return packed;
}

}  // namespace pixelrnn::cuda
