#pragma once
#include <optional>
#include <tuple>
#include <vector>

#include "../../cuda/ragged.h"
#include "../../cuda/scan/path.h"
#include "../../cuda/scan/step.h"
#include "../../geometry.h"
#include "../planning.h"
#include "tensors.h"

namespace pixelrnn::cuda {

// The dtypes of c and of the activated gates, for feature maps of dtype t.
inline ScalarType cell_state_type(ScalarType t) { return t == ScalarType::Double ? t : ScalarType::Float; }
inline ScalarType gates_type(ScalarType t) { return t == ScalarType::BFloat16 ? ScalarType::Half : t; }

struct Scan : ScanSizes {
  const NamedCell& cell;
  bool diagonal, tf32;
  ScalarType type;
  std::array<Corner, kMaxDirections> corner;
  Tensor weight_hh;
  Optional h0, c0, peephole, sizes;
  Path path;

  // The tensors' device must be current, because operands may be copied.
  explicit Scan(const ScanArguments&);

  bool empty() const { return images * height * width * hidden == 0; }
  int pixels() const { return int(height * width); }
  Geometry geometry(int direction) const;
  RaggedImages ragged_images() const;
  StepCell step_cell() const { return {cell.formula, cell.scale, in(peephole)}; }
  // Returns a new feature map. If there are `sizes`, the map is filled with zeros, because kernels write nothing
  // outside the images.
  Tensor new_map(const std::vector<int64_t>& shape) const;

  // If the plan's `variant` is null, each line needs launches of its own.
  Plan choose_plan(bool backward) const;
  // The forward does not save its packed weight, so the backward packs again.
  Tensor packed_weight(const Plan&, CUstream) const;

 private:
  std::optional<Format> format() const;
};

// Runs one matrix product and one kernel launch for each line. Writes nothing outside an image.
void step_forward_scan(const Scan&, const Tensor& x, Tensor& h, Tensor& c, Tensor& gates, CUstream);

// Returns dc_left and dc_above (recurrence.h), except that dc_left is [D, H, B, h], or [D, W, B, h] in a Row LSTM.
std::tuple<Tensor, Tensor> step_backward_scan(
    const Scan&, const Tensor& dh, const Tensor& c, const Tensor& gates, Tensor& dx, CUstream);

}  // namespace pixelrnn::cuda
