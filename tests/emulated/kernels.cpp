// The project's kernels for the emulator: the memory that each launch may touch, and the host code around them
// (csrc/cuda/recurrence.cpp) as operators on CPU tensors.
#include <torch/csrc/stable/library.h>

#include "cuda/entry.h"
#include "cuda/recurrence.h"
#include "cuda/schemas.h"
#include "cuda/step.h"
#include "cuda/tiling.h"
#include "cuda/variants.h"
#include "emulator.h"

namespace {

using namespace pixelrnn::cuda;
using emulator::Access;
using emulator::Buffer;

std::vector<Buffer> pack_buffers(const void* p, dim3 grid) {
  const auto& a = *static_cast<const PackArgs*>(p);
  const Tiling& s = a.tiling;
  const size_t bytes = grid.y * s.bytes();
  return {{a.weight, bytes * s.taps * s.hidden * 4 * s.hidden, Access::in, "weight"},
          {a.packed, bytes * s.blocks * s.weight_values(), Access::out, "packed weight"}};
}

std::vector<Buffer> forward_buffers(const void* p, dim3 grid) {
  const auto& a = *static_cast<const ForwardArgs*>(p);
  const Tiling& s = a.tiling;
  const size_t bytes = s.bytes(), states = grid.y * s.hidden, units = states * a.images * a.pixels;
  return {{a.x, 4 * units * bytes, Access::in, "x"},
          {a.packed, grid.y * bytes * s.blocks * s.weight_values(), Access::in, "packed weight"},
          {a.h0, states * bytes, Access::in, "h0"},
          {a.c0, states * bytes, Access::in, "c0"},
          {a.h, units * bytes, Access::out, "h"},
          {a.c, units * 4, Access::out, "c"},
          {a.gates, 4 * units * bytes, Access::out, "gates"}};
}

std::vector<Buffer> backward_buffers(const void* p, dim3 grid) {
  const auto& a = *static_cast<const BackwardArgs*>(p);
  const Tiling& s = a.tiling;
  const size_t bytes = s.bytes(), states = grid.y * s.hidden, units = states * a.images * a.pixels;
  return {{a.dh, units * bytes, Access::in, "dh"},
          {a.gates, 4 * units * bytes, Access::in, "gates"},
          {a.c, units * 4, Access::in, "c"},
          {a.packed, grid.y * bytes * s.blocks * s.weight_values(), Access::in, "packed weight"},
          {a.c0, states * bytes, Access::in, "c0"},
          {a.dx, 4 * units * bytes, Access::out, "dx"},
          {a.dc_first, states * a.images * a.geometry[0].cells * 4, Access::out, "dc_first"}};
}

// A launch of the step path writes one line of a map, and reads another: the rest of the map is neither.
struct StepSizes {
  size_t value, compute, states, units, rows, active;
};
template <size_t VALUE, size_t COMPUTE> StepSizes step_sizes(const StepShape& s) {
  const size_t states = size_t(s.directions) * s.hidden;
  return {VALUE, COMPUTE, states, states * s.images * s.pixels, states * s.images * s.geometry[0].cells, states * s.images * s.active};
}
template <size_t VALUE, size_t COMPUTE> std::vector<Buffer> step_forward_buffers(const void* p, dim3) {
  const auto& a = *static_cast<const StepForwardArgs*>(p);
  const StepSizes n = step_sizes<VALUE, COMPUTE>(a.shape);
  return {{a.product, 4 * n.active * VALUE, Access::in, "product"},
          {a.x, 4 * n.units * VALUE, Access::in, "x"},
          {a.c0, n.states * VALUE, Access::in, "c0"},
          {a.h, n.units * VALUE, Access::in_out, "h"},
          {a.c, n.units * COMPUTE, Access::in_out, "c"},
          {a.gates, 4 * n.units * VALUE, Access::in_out, "gates"},
          {a.operand, n.rows * a.shape.taps * VALUE, Access::in_out, "operand"}};
}
template <size_t VALUE, size_t COMPUTE> std::vector<Buffer> step_backward_buffers(const void* p, dim3) {
  const auto& a = *static_cast<const StepBackwardArgs*>(p);
  const StepSizes n = step_sizes<VALUE, COMPUTE>(a.shape);
  return {{a.product, n.active * VALUE, Access::in, "product"},
          {a.dh, n.units * VALUE, Access::in, "dh"},
          {a.gates, 4 * n.units * VALUE, Access::in, "gates"},
          {a.c, n.units * COMPUTE, Access::in, "c"},
          {a.c0, n.states * VALUE, Access::in, "c0"},
          {a.dx, 4 * n.units * VALUE, Access::in_out, "dx"},
          {a.dc, n.rows * COMPUTE, Access::in_out, "dc"},
          {a.operand, 4 * n.rows * a.shape.taps * VALUE, Access::in_out, "operand"}};
}

}  // namespace

#define DECLARE(name) PIXELRNN_DECLARE_ENTRY(name);
#define FORWARD(name, ...) DECLARE(name)
#define BACKWARD(name, ...) DECLARE(name)
PIXELRNN_VARIANTS
DECLARE(pack_bf16) DECLARE(pack_fp16) DECLARE(pack_tf32) DECLARE(pack_fp32)
DECLARE(step_forward_float32) DECLARE(step_forward_float64) DECLARE(step_forward_float16) DECLARE(step_forward_bfloat16)
DECLARE(step_backward_float32) DECLARE(step_backward_float64) DECLARE(step_backward_float16) DECLARE(step_backward_bfloat16)
#undef FORWARD
#undef BACKWARD

static const bool added = [] {
  auto add = [](const char* name, const void* entry, size_t args_bytes, auto buffers) { emulator::add_kernel({name, entry, args_bytes, buffers}); };
#define ADD(name, Args, buffers) add(#name, name##_entry, sizeof(Args), buffers);
#define FORWARD(name, ...) ADD(name, ForwardArgs, forward_buffers)
#define BACKWARD(name, ...) ADD(name, BackwardArgs, backward_buffers)
  PIXELRNN_VARIANTS
  ADD(pack_bf16, PackArgs, pack_buffers) ADD(pack_fp16, PackArgs, pack_buffers)
  ADD(pack_tf32, PackArgs, pack_buffers) ADD(pack_fp32, PackArgs, pack_buffers)
#define STEP(name, value, compute)                                                          \
  ADD(step_forward_##name, StepForwardArgs, (step_forward_buffers<value, compute>))         \
  ADD(step_backward_##name, StepBackwardArgs, (step_backward_buffers<value, compute>))
  STEP(float32, 4, 4) STEP(float64, 8, 8) STEP(float16, 2, 4) STEP(bfloat16, 2, 4)
  return true;
}();

// PIXELRNN_NAMESPACE: one for each architecture, so that they can be loaded together.
#define REGISTER(name)                                                                                                            \
  STABLE_TORCH_LIBRARY(name, m) { PIXELRNN_RECURRENCE_SCHEMAS(m) }                                                                \
  STABLE_TORCH_LIBRARY_IMPL(name, CPU, m) {                                                                                       \
    m.impl("recurrence", TORCH_BOX(&recurrence));                                                                                 \
    m.impl("recurrence_backward", TORCH_BOX(&recurrence_backward));                                                               \
  }                                                                                                                               \
  STABLE_TORCH_LIBRARY_IMPL(name, CompositeExplicitAutograd, m) { m.impl("describe_plan", TORCH_BOX(&describe_plan)); }
REGISTER(PIXELRNN_NAMESPACE)
