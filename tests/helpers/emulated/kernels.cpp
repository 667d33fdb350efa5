// Adapts the CUDA code of csrc to the emulator, which runs CUDA kernels on a CPU. For every kernel, this file tells the
// emulator which buffers the kernel may access. It also registers the operators of csrc/operators/cuda for CPU tensors.
#include <torch/csrc/stable/library.h>

#include "cuda/driver.h"
#include "cuda/gradients.h"
#include "cuda/resident.h"
#include "cuda/step.h"
#include "cuda/tiling.h"
#include "emulator.h"
#include "operators/cuda/recurrence.h"

namespace {

using namespace pixelrnn::cuda;
using emulator::Access;
using Buffers = std::vector<emulator::Buffer>;
using enum Access;

// Bytes of a value in a feature map (`map`), and bytes of a value in the kernel's arithmetic (`compute`).
struct ValueBytes { size_t map, compute; };
template <class Args> const Args& as(const void* args) { return *static_cast<const Args*>(args); }

Buffers buffers(const PackArgs& a, dim3 grid) {
  const Tiling& s = a.tiling;
  const size_t bytes = grid.z / s.blocks * s.bytes();
  return {
      {a.weight, bytes * s.taps * s.hidden * s.gates * s.hidden, in, "weight"},
      {a.packed, bytes * s.blocks * s.weight_values(), out, "packed weight"},
  };
}

emulator::Buffer sizes_buffer(const RaggedImages& maps, int images) {
  return {maps.sizes, 2 * size_t(images) * sizeof(int64_t), in, "sizes"};
}

// `map` says how the kernel accesses the feature maps that it writes. It is `out` if the kernel writes all pixels. If
// images are smaller than the map, it is `in_out`, because pixels outside of an image keep their values.
template <int G> Buffers buffers(const ForwardArgsOf<G>& a, dim3 grid, Access map = out) {
  const auto& s = a.tiling;
  const size_t bytes = s.bytes(), states = grid.y * s.hidden, units = states * a.images * a.pixels;
  return {
      {a.x, G * units * bytes, in, "x"},
      {a.packed, grid.y * bytes * s.blocks * s.weight_values(), in, "packed weight"},
      {a.h0, states * bytes, in, "h0"},
      {a.c0, states * bytes, in, "c0"},
      {a.h, units * bytes, map, "h"},
      {a.c, units * 4, map, "c"},
      {a.gates, G * units * bytes, map, "gates"},
  };
}
template <int G>
Buffers buffers(const BackwardArgsOf<G>& a, dim3 grid, Access map, size_t cells) {
  const auto& s = a.tiling;
  const size_t bytes = s.bytes(), states = grid.y * s.hidden, units = states * a.images * a.pixels;
  return {
      {a.dh, units * bytes, in, "dh"},
      {a.gates, G * units * bytes, in, "gates"},
      {a.c, units * 4, in, "c"},
      {a.packed, grid.y * bytes * s.blocks * s.weight_values(), in, "packed weight"},
      {a.c0, states * bytes, in, "c0"},
      {a.dx, G * units * bytes, map, "dx"},
      {a.dc_first, states * a.images * cells * 4, out, "dc_first"},
  };
}

Buffers buffers(const BackwardArgs& a, dim3 grid) { return buffers(a, grid, out, a.geometry[0].cells); }
template <class Args5, class... Cells> Buffers buffers_5(const Args5& a, dim3 grid, Cells... cells) {
  auto found = buffers(a.scan, grid, a.ragged.sizes ? in_out : out, cells...);
  found.push_back(sizes_buffer(a.ragged, a.scan.images));
  return found;
}
Buffers buffers(const ForwardArgs5& a, dim3 grid) { return buffers_5(a, grid); }
Buffers buffers(const BackwardArgs5& a, dim3 grid) {
  auto found = buffers_5(a, grid, size_t(a.ragged.height));
  found.push_back({a.dc_up, size_t(grid.y) * a.scan.tiling.hidden * a.scan.images * 4, out, "dc_up"});
  return found;
}

// Numbers of values in the buffers of a step kernel, which computes one line of a scan: an image row or an
// anti-diagonal. A launch writes one line of each map and keeps the other lines, so its access to a map is in_out.
struct StepSizes {
  size_t states, units, rows, active;
  explicit StepSizes(const StepShape& s)
      : states(size_t(s.directions) * s.hidden),
        units(states * s.images * s.pixels),
        rows(states * s.images * s.geometry[0].cells),
        active(states * s.images * s.active) {}
};
Buffers buffers(const StepForwardArgs& a, ValueBytes type, size_t gates) {
  const StepSizes n(a.shape);
  return {
      {a.product, gates * n.active * type.map, in, "product"},
      {a.x, gates * n.units * type.map, in, "x"},
      {a.c0, n.states * type.map, in, "c0"},
      {a.cell.peephole, 4 * n.states * type.map, in, "peephole"},
      sizes_buffer(a.shape.ragged, a.shape.images),
      {a.h, n.units * type.map, in_out, "h"},
      {a.c, n.units * type.compute, in_out, "c"},
      {a.gates, gates * n.units * type.map, in_out, "gates"},
      {a.operand, n.rows * a.shape.taps * type.map, in_out, "operand"},
  };
}
Buffers buffers(const StepBackwardArgs& a, ValueBytes type, size_t gates) {
  const StepSizes n(a.shape);
  const size_t image_states = n.states * a.shape.images;
  return {
      {a.product, n.active * type.map, in, "product"},
      {a.dh, n.units * type.map, in, "dh"},
      {a.gates, gates * n.units * type.map, in, "gates"},
      {a.c, n.units * type.compute, in, "c"},
      {a.c0, n.states * type.map, in, "c0"},
      {a.cell.peephole, 4 * n.states * type.map, in, "peephole"},
      sizes_buffer(a.shape.ragged, a.shape.images),
      {a.dx, gates * n.units * type.map, in_out, "dx"},
      {a.dc, n.rows * type.compute, in_out, "dc"},
      {a.dc_up, gates == 5 ? 2 * (n.rows + image_states) * type.compute : 0, in_out, "dc_up"},
      {a.dc_above, gates == 5 ? image_states * type.compute : 0, in_out, "dc_above"},
      {a.operand, gates * n.rows * a.shape.taps * type.map, in_out, "operand"},
  };
}

size_t pixels(const MapShape& s) { return size_t(s.directions) * s.images * s.maps.height * s.maps.width; }
Buffers buffers(const NeighboursArgs& a, size_t piece) {
  const size_t state = a.pieces * piece, maps = pixels(a.shape);
  return {
      {a.h, maps * state, in, "h"},
      sizes_buffer(a.shape.maps, a.shape.images),
      {a.h0, a.shape.directions * state, in, "h0"},
      {a.out, maps * a.count * state, out, "neighbours"},
  };
}
Buffers buffers(const BorderSumsArgs& a, ValueBytes type) {
  return {
      {a.dx, pixels(a.shape) * a.columns * type.map, in, "dx"},
      sizes_buffer(a.shape.maps, a.shape.images),
      {a.out, size_t(a.shape.directions) * a.shape.images * a.shape.taps * a.columns * type.compute, out,
          "border sums"},
  };
}

}  // namespace

Buffers emulator::buffers_of(const std::string& kernel, const void* args, dim3 grid) {
  const auto is = [&](const char* prefix) { return kernel.starts_with(prefix); };
  const ValueBytes type = kernel.find("float64") != kernel.npos   ? ValueBytes{8, 8}
                          : kernel.find("float32") != kernel.npos ? ValueBytes{4, 4}
                                                                  : ValueBytes{2, 4};
  const size_t gates = kernel.back() - '0';
  if (is("pack")) return buffers(as<PackArgs>(args), grid);
  if (is("forward_")) return buffers(as<ForwardArgs>(args), grid);
  if (is("backward_")) return buffers(as<BackwardArgs>(args), grid);
  if (is("forward5_")) return buffers(as<ForwardArgs5>(args), grid);
  if (is("backward5_")) return buffers(as<BackwardArgs5>(args), grid);
  if (is("step_forward_")) return buffers(as<StepForwardArgs>(args), type, gates);
  if (is("step_backward_")) return buffers(as<StepBackwardArgs>(args), type, gates);
  if (is("border_sums_")) return buffers(as<BorderSumsArgs>(args), type);
  if (is("neighbours_")) return buffers(as<NeighboursArgs>(args), std::stoul(kernel.substr(kernel.find('_') + 1)));
  throw std::runtime_error("expected a kernel of csrc/cuda, got " + kernel);
}

// Launches the kernel that packs weights, for test_pack.py. Returns the driver's error message, or "" on success.
extern "C" const char* emulated_pack(const Tiling* s, const void* weight, void* packed, int directions) {
  const CUresult error = pack({weight, packed, *s}, directions, nullptr);
  const char* text = "";
  if (error) driver().cuGetErrorString(error, &text);
  return text;
}

// Operators are registered in the namespace PIXELRNN_NAMESPACE. The build defines a different one for each library, so
// one process can load several libraries.
#define REGISTER(name)                                                  \
  STABLE_TORCH_LIBRARY(name, m) { define_recurrences(m); }              \
  STABLE_TORCH_LIBRARY_IMPL(name, CPU, m) { implement_recurrences(m); } \
  STABLE_TORCH_LIBRARY_IMPL(name, CompositeExplicitAutograd, m) { m.impl("describe_plan", TORCH_BOX(&describe_plan)); }
REGISTER(PIXELRNN_NAMESPACE)
