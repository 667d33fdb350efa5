#include "scan.h"

#include <algorithm>

#include "../../cuda/scan/resident.h"

namespace pixelrnn::cuda {

Scan::Scan(const ScanArguments& a)
    : ScanSizes(checked_sizes(a)),
      cell(cell_named(a.cell)),
      diagonal(a.diagonal),
      tf32(a.tf32),
      type(a.weight_hh.scalar_type()),
      corner(read_corners(a.corners, directions)),
      weight_hh(aligned(a.weight_hh)),
      h0(aligned(a.h0)),
      c0(aligned(a.c0)),
      peephole(aligned(a.peephole)),
      sizes(aligned(a.sizes)),
      path(a.path) {
  map_type(type);  // throws unless there are kernels for the dtype
  check_lines(*this, diagonal);
}

Geometry Scan::geometry(int direction) const { return geometry_of(*this, diagonal, corner[direction]); }

RaggedImages Scan::ragged_images() const {
  RaggedImages images{static_cast<const int64_t*>(in(sizes)), int(height), int(width), diagonal, {}};
  std::copy(corner.begin(), corner.end(), images.corner);
  return images;
}

Tensor Scan::new_map(const std::vector<int64_t>& shape) const {
  return sizes ? stable::new_zeros(weight_hh, shape) : stable::new_empty(weight_hh, shape);
}

std::optional<Format> Scan::format() const {
  switch (type) {
    case ScalarType::BFloat16: return Format::bf16;
    case ScalarType::Half: return Format::fp16;
    case ScalarType::Float: return tf32 ? Format::tf32 : Format::fp32;
    default: return std::nullopt;
  }
}

Plan Scan::choose_plan(bool backward) const {
  Plan chosen;
  if (path.step) return chosen;
  const auto f = format();
  chosen.why_not = !f                            ? "expected float32, float16 or bfloat16, got float64"
                   : sizes && !carries_up(gates) ? "expected no sizes with a cell of four gates"
                   : peephole                    ? "expected no peepholes"
                                                 : "";
  if (chosen.why_not.empty()) {
    Device device;
    check(current_device(device));
    auto plan_pass = [&](bool backward) {
      Plan p;
      check(plan_on_current_device(
          problem(*this, diagonal, *f, backward), device, path.restriction(*f, backward, int(gates)), p));
      return p;
    };
    chosen = plan_pass(backward);
    // If the path requires resident kernels, the forward already fails when no resident kernel can run the backward.
    // This check is left out if the path fixes the number of groups of warps, because such a path only serves to
    // measure one pass.
    if (path.resident && !path.groups && chosen.variant && !backward) {
      const Plan backward_plan = plan_pass(true);
      STD_TORCH_CHECK(backward_plan.variant, "scan: the resident path cannot run backward: ", backward_plan.why_not);
    }
  }
  STD_TORCH_CHECK(!path.resident || chosen.variant, "scan: the resident path cannot run: ", chosen.why_not);
  return chosen;
}

Tensor Scan::packed_weight(const Plan& plan, CUstream stream) const {
  Tensor packed = stable::new_empty(weight_hh, {directions, plan.tiling.blocks, plan.tiling.weight_values()});
  check(pack({weight_hh.const_data_ptr(), packed.mutable_data_ptr(), plan.tiling}, int(directions), stream));
  return packed;
}

}  // namespace pixelrnn::cuda
