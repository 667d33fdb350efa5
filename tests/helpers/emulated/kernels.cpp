// The project's kernels for the emulator: the memory that each launch may touch, and the host code around them
// (csrc/operators/cuda) as operators on CPU tensors.
#include <torch/csrc/stable/library.h>

#include "cuda/driver.h"
#include "cuda/entry.h"
#include "cuda/gradients.h"
#include "cuda/resident.h"
#include "cuda/step.h"
#include "cuda/tiling.h"
#include "cuda/variants.h"
#include "emulator.h"
#include "operators/cuda/recurrence.h"

namespace {

using namespace pixelrnn::cuda;
using emulator::Access;
using emulator::Buffer;

std::vector<Buffer> pack_buffers(const void* p, dim3 grid) {
  const auto& a = *static_cast<const PackArgs*>(p);
  const Tiling& s = a.tiling;
  const size_t bytes = grid.z / s.blocks * s.bytes();
  return {
      {a.weight, bytes * s.taps * s.hidden * s.gates * s.hidden, Access::in, "weight"},
      {a.packed, bytes * s.blocks * s.weight_values(), Access::out, "packed weight"},
  };
}

Buffer sizes_buffer(const RaggedImages& maps, int images) {
  return {maps.sizes, 2 * size_t(images) * sizeof(int64_t), Access::in, "sizes"};
}

// Where images have sizes of their own, a launch writes a part of a map.
template <int G> std::vector<Buffer> scan_buffers(const ForwardArgsOf<G>& a, dim3 grid, Access map) {
  const auto& s = a.tiling;
  const size_t bytes = s.bytes(), states = grid.y * s.hidden, units = states * a.images * a.pixels;
  return {
      {a.x, G * units * bytes, Access::in, "x"},
      {a.packed, grid.y * bytes * s.blocks * s.weight_values(), Access::in, "packed weight"},
      {a.h0, states * bytes, Access::in, "h0"},
      {a.c0, states * bytes, Access::in, "c0"},
      {a.h, units * bytes, map, "h"},
      {a.c, units * 4, map, "c"},
      {a.gates, G * units * bytes, map, "gates"},
  };
}
template <int G>
std::vector<Buffer> scan_buffers(const BackwardArgsOf<G>& a, size_t cells, dim3 grid, Access map) {
  const auto& s = a.tiling;
  const size_t bytes = s.bytes(), states = grid.y * s.hidden, units = states * a.images * a.pixels;
  return {
      {a.dh, units * bytes, Access::in, "dh"},
      {a.gates, G * units * bytes, Access::in, "gates"},
      {a.c, units * 4, Access::in, "c"},
      {a.packed, grid.y * bytes * s.blocks * s.weight_values(), Access::in, "packed weight"},
      {a.c0, states * bytes, Access::in, "c0"},
      {a.dx, G * units * bytes, map, "dx"},
      {a.dc_first, states * a.images * cells * 4, Access::out, "dc_first"},
  };
}

using ForwardArgs4 = ForwardArgs;
using BackwardArgs4 = BackwardArgs;
std::vector<Buffer> forward_buffers_4(const void* p, dim3 grid) {
  return scan_buffers(*static_cast<const ForwardArgs4*>(p), grid, Access::out);
}
std::vector<Buffer> backward_buffers_4(const void* p, dim3 grid) {
  const auto& a = *static_cast<const BackwardArgs4*>(p);
  return scan_buffers(a, a.geometry[0].cells, grid, Access::out);
}
template <class Args5, class... Cells> std::vector<Buffer> scan_buffers_5(const Args5& a, dim3 grid, Cells... cells) {
  auto buffers = scan_buffers(a.scan, cells..., grid, a.ragged.sizes ? Access::in_out : Access::out);
  buffers.push_back(sizes_buffer(a.ragged, a.scan.images));
  return buffers;
}
std::vector<Buffer> forward_buffers_5(const void* p, dim3 grid) {
  return scan_buffers_5(*static_cast<const ForwardArgs5*>(p), grid);
}
std::vector<Buffer> backward_buffers_5(const void* p, dim3 grid) {
  const auto& a = *static_cast<const BackwardArgs5*>(p);
  auto buffers = scan_buffers_5(a, grid, size_t(a.ragged.height));
  buffers.push_back({a.dc_up, size_t(grid.y) * a.scan.tiling.hidden * a.scan.images * 4, Access::out, "dc_up"});
  return buffers;
}

// A launch of the step path writes one line of a map, and reads another: the rest of the map is neither.
struct StepSizes { size_t value, compute, states, units, rows, active; };
template <size_t VALUE, size_t COMPUTE> StepSizes step_sizes(const StepShape& s) {
  const size_t states = size_t(s.directions) * s.hidden;
  return {VALUE, COMPUTE, states, states * s.images * s.pixels, states * s.images * s.geometry[0].cells,
      states * s.images * s.active};
}
template <size_t VALUE, size_t COMPUTE, size_t G> std::vector<Buffer> step_forward_buffers(const void* p, dim3) {
  const auto& a = *static_cast<const StepForwardArgs*>(p);
  const StepSizes n = step_sizes<VALUE, COMPUTE>(a.shape);
  return {
      {a.product, G * n.active * VALUE, Access::in, "product"},
      {a.x, G * n.units * VALUE, Access::in, "x"},
      {a.c0, n.states * VALUE, Access::in, "c0"},
      {a.cell.peephole, 4 * n.states * VALUE, Access::in, "peephole"},
      sizes_buffer(a.shape.ragged, a.shape.images),
      {a.h, n.units * VALUE, Access::in_out, "h"},
      {a.c, n.units * COMPUTE, Access::in_out, "c"},
      {a.gates, G * n.units * VALUE, Access::in_out, "gates"},
      {a.operand, n.rows * a.shape.taps * VALUE, Access::in_out, "operand"},
  };
}
template <size_t VALUE, size_t COMPUTE, size_t G> std::vector<Buffer> step_backward_buffers(const void* p, dim3) {
  const auto& a = *static_cast<const StepBackwardArgs*>(p);
  const StepSizes n = step_sizes<VALUE, COMPUTE>(a.shape);
  const size_t of_images = n.states * a.shape.images;
  return {
      {a.product, n.active * VALUE, Access::in, "product"},
      {a.dh, n.units * VALUE, Access::in, "dh"},
      {a.gates, G * n.units * VALUE, Access::in, "gates"},
      {a.c, n.units * COMPUTE, Access::in, "c"},
      {a.c0, n.states * VALUE, Access::in, "c0"},
      {a.cell.peephole, 4 * n.states * VALUE, Access::in, "peephole"},
      sizes_buffer(a.shape.ragged, a.shape.images),
      {a.dx, G * n.units * VALUE, Access::in_out, "dx"},
      {a.dc, n.rows * COMPUTE, Access::in_out, "dc"},
      {a.dc_up, G == 5 ? 2 * (n.rows + of_images) * COMPUTE : 0, Access::in_out, "dc_up"},
      {a.dc_above, G == 5 ? of_images * COMPUTE : 0, Access::in_out, "dc_above"},
      {a.operand, G * n.rows * a.shape.taps * VALUE, Access::in_out, "operand"},
  };
}

size_t pixels(const MapShape& s) { return size_t(s.directions) * s.images * s.maps.height * s.maps.width; }
template <size_t PIECE> std::vector<Buffer> neighbours_buffers(const void* p, dim3) {
  const auto& a = *static_cast<const NeighboursArgs*>(p);
  const size_t state = a.pieces * PIECE, maps = pixels(a.shape);
  return {
      {a.h, maps * state, Access::in, "h"},
      sizes_buffer(a.shape.maps, a.shape.images),
      {a.h0, a.shape.directions * state, Access::in, "h0"},
      {a.out, maps * a.count * state, Access::out, "neighbours"},
  };
}
template <size_t VALUE, size_t COMPUTE> std::vector<Buffer> border_buffers(const void* p, dim3) {
  const auto& a = *static_cast<const BorderSumsArgs*>(p);
  return {
      {a.dx, pixels(a.shape) * a.columns * VALUE, Access::in, "dx"},
      sizes_buffer(a.shape.maps, a.shape.images),
      {a.out, size_t(a.shape.directions) * a.shape.images * a.shape.taps * a.columns * COMPUTE, Access::out,
          "border sums"},
  };
}

}  // namespace

#define DECLARE(name) PIXELRNN_DECLARE_ENTRY(name)
#define FORWARD(G, name, ...) DECLARE(name);
#define BACKWARD FORWARD
PIXELRNN_KERNELS
#define PACK(F)      \
  DECLARE(pack_##F); \
  DECLARE(pack5_##F)
PACK(bf16);
PACK(fp16);
PACK(tf32);
PACK(fp32);
#undef PACK
#define STEP(name)                   \
  DECLARE(step_forward_##name##_4);  \
  DECLARE(step_backward_##name##_4); \
  DECLARE(step_forward_##name##_5);  \
  DECLARE(step_backward_##name##_5)
STEP(float32);
STEP(float64);
STEP(float16);
STEP(bfloat16);
#undef STEP
DECLARE(neighbours_2);
DECLARE(neighbours_4);
DECLARE(neighbours_8);
DECLARE(neighbours_16);
DECLARE(border_sums_float32);
DECLARE(border_sums_float64);
DECLARE(border_sums_float16);
DECLARE(border_sums_bfloat16);
#undef FORWARD
#undef BACKWARD

static const bool added = [] {
  auto add = [](const char* name, const void* entry, size_t args_bytes, auto buffers) {
    emulator::add_kernel({name, entry, args_bytes, buffers});
  };
#define ADD(name, Args, buffers) add(#name, name##_entry, sizeof(Args), buffers)
#define FORWARD(G, name, ...) ADD(name, ForwardArgs##G, forward_buffers_##G);
#define BACKWARD(G, name, ...) ADD(name, BackwardArgs##G, backward_buffers_##G);
  PIXELRNN_KERNELS
#define PACK(F)                          \
  ADD(pack_##F, PackArgs, pack_buffers); \
  ADD(pack5_##F, PackArgs, pack_buffers)
  PACK(bf16);
  PACK(fp16);
  PACK(tf32);
  PACK(fp32);
#define STEP_OF(name, value, compute, gates)                                                          \
  ADD(step_forward_##name##_##gates, StepForwardArgs, (step_forward_buffers<value, compute, gates>)); \
  ADD(step_backward_##name##_##gates, StepBackwardArgs, (step_backward_buffers<value, compute, gates>))
#define STEP(name, value, compute)  \
  STEP_OF(name, value, compute, 4); \
  STEP_OF(name, value, compute, 5); \
  ADD(border_sums_##name, BorderSumsArgs, (border_buffers<value, compute>))
  STEP(float32, 4, 4);
  STEP(float64, 8, 8);
  STEP(float16, 2, 4);
  STEP(bfloat16, 2, 4);
  ADD(neighbours_2, NeighboursArgs, neighbours_buffers<2>);
  ADD(neighbours_4, NeighboursArgs, neighbours_buffers<4>);
  ADD(neighbours_8, NeighboursArgs, neighbours_buffers<8>);
  ADD(neighbours_16, NeighboursArgs, neighbours_buffers<16>);
  return true;
}();

// For tests/scan/cuda/emulated/test_pack.py: the packing alone.
extern "C" const char* emulated_pack(const Tiling* s, const void* weight, void* packed, int directions) {
  const CUresult error = pack({weight, packed, *s}, directions, nullptr);
  const char* text = "";
  if (error) driver().cuGetErrorString(error, &text);
  return text;
}

// PIXELRNN_NAMESPACE: one for each architecture, so that they can be loaded together.
#define REGISTER(name)                                                  \
  STABLE_TORCH_LIBRARY(name, m) { define_recurrences(m); }              \
  STABLE_TORCH_LIBRARY_IMPL(name, CPU, m) { implement_recurrences(m); } \
  STABLE_TORCH_LIBRARY_IMPL(name, CompositeExplicitAutograd, m) { m.impl("describe_plan", TORCH_BOX(&describe_plan)); }
REGISTER(PIXELRNN_NAMESPACE)
