// A scan on a GPU: its sizes, its aligned operands and the choice of its kernels.
#pragma once
#include <optional>
#include <tuple>
#include <vector>

#include "../../cuda/path.h"
#include "../../cuda/ragged.h"
#include "../../cuda/step.h"
#include "../../geometry.h"
#include "../arguments.h"
#include "tensors.h"

namespace pixelrnn::cuda {

// The dtypes of the cell state and of the activated gates, by the dtype of the maps.
inline ScalarType cell_state_type(ScalarType t) { return t == ScalarType::Double ? t : ScalarType::Float; }
inline ScalarType gates_type(ScalarType t) { return t == ScalarType::BFloat16 ? ScalarType::Half : t; }

// Throws unless a line's hidden units over all images can be counted in 32 bits.
void check_lines(const ScanSizes&, bool diagonal);
Problem problem(const ScanSizes&, bool diagonal, Format, bool backward);

struct Scan : ScanSizes {
  const NamedCell& cell;
  bool diagonal, tf32;
  ScalarType type;
  std::array<Corner, kMaxDirections> corner;
  Tensor weight_hh;
  Optional h0, c0, peephole, sizes;
  Path path;

  // Checks the arguments. The tensors' device must be current, since operands may be copied.
  explicit Scan(const ScanArguments&);

  bool empty() const { return images * height * width * hidden == 0; }
  int pixels() const { return int(height * width); }
  Geometry geometry(int direction) const;
  RaggedImages ragged_images() const;
  StepCell step_cell() const { return {cell.formula, cell.scale, in(peephole)}; }
  // Returns a new map. It is zero if images have sizes, because kernels write nothing outside images.
  Tensor new_map(const std::vector<int64_t>& shape) const;

  // Returns the resident kernels' plan, or for the step path (a launch for each line) a plan without a variant.
  Plan choose_plan(bool backward) const;
  // Packs the weight for one pass. The backward packs again, so that the forward need not save a packed weight.
  Tensor packed_weight(const Plan&, CUstream) const;

 private:
  std::optional<Format> format() const;
};

// Runs one matrix product and one kernel for each line (steps.cpp). Writes h [B, H, W, D, h], c and gates, and nothing
// outside an image.
void step_forward_scan(const Scan&, const Tensor& x, Tensor& h, Tensor& c, Tensor& gates, CUstream);

// Returns the gradients of the initial c of each cell of a line, [D, cells, B, h], and of c above the first row, summed
// over the row, [D, B, h]. With four gates the second is empty.
std::tuple<Tensor, Tensor> step_backward_scan(
    const Scan&, const Tensor& dh, const Tensor& c, const Tensor& gates, Tensor& dx, CUstream);

}  // namespace pixelrnn::cuda
