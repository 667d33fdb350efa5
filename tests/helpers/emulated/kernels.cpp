// Adapts the CUDA code of csrc to the emulator (tests/emulator). For every kernel, this file tells which buffers the
// kernel may access. It also registers the operators of csrc/operators/cuda for CPU tensors.
#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "cuda/driver/driver.h"
#include "cuda/sampler/block_kernel.h"
#include "cuda/sampler/column_kernel.h"
#include "cuda/scan/gradients.h"
#include "cuda/scan/resident.h"
#include "cuda/scan/step.h"
#include "cuda/scan/tiling.h"
#include "emulator.h"
#include "operators/cuda/columns.h"
#include "operators/cuda/recurrence.h"

namespace {

using namespace pixelrnn::cuda;
using emulator::Access;
using Buffers = std::vector<emulator::Buffer>;
using enum Access;

// Bytes of one value: `map` in a feature map, `compute` in the kernel's arithmetic.
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

// `map` is the kernel's access to feature maps: `out` if it writes all pixels, `in_out` if images are smaller than the
// map, because the other pixels keep their values.
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

// The struct holds the numbers of values in the buffers of a step kernel, which computes one image row or
// anti-diagonal. The kernel leaves the other pixels of a feature map unchanged, so its access to a map is in_out.
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

// Collects ranges of bytes that a launch accesses. Ranges may overlap, because several steps may access one buffer.
struct Memory {
  std::vector<std::pair<const char*, const char*>> ranges;
  template <class T> void add(const T* data, size_t values) {
    if (data && values)
      ranges.push_back({reinterpret_cast<const char*>(data), reinterpret_cast<const char*>(data + values)});
  }
  template <class Column> void add_column(const Column& column, int images, size_t channels) {
    add(column.data, size_t(images - 1) * column.stride + channels);
  }
  Buffers merged(Access access, const char* name) {
    std::sort(ranges.begin(), ranges.end());
    Buffers found;
    const char* end = nullptr;
    for (const auto& [first, last] : ranges) {
      if (found.empty() || first >= end) found.push_back({first, 0, access, name}), end = first;
      end = std::max(end, last);
      found.back().bytes = size_t(end - static_cast<const char*>(found.back().data));
    }
    return found;
  }
};
template <class T> Buffers buffers(const ColumnStageArgs<T>& a) {
  Memory constants, columns;
  for (int i = 0; i < a.steps; ++i) {
    const StageStep<T>& s = a.step[i];
    const bool is_draw = s.kind == StageKind::draw, is_cell = s.kind == StageKind::cell;
    columns.add_column(s.base, a.images, is_cell ? 3 * s.gate_stride + s.count : s.count);
    for (const auto& operand : {s.addend, s.carried}) columns.add_column(operand, a.images, s.count);
    for (const auto& output : {s.c, s.h, s.output}) columns.add_column(output, a.images, is_draw ? 1 : s.count);
    for (int t = 0; t < s.taps; ++t)
      if (s.tap[t].channels) columns.add_column(s.tap[t], a.images, s.tap[t].channels);
    for (int f = 0; f < s.fused; ++f) {
      columns.add_column(s.pointwise[f].other, a.images, s.count);
      columns.add_column(s.pointwise[f].output, a.images, s.count);
    }
    constants.add(s.packed, size_t(is_cell ? s.count : (s.count + kQuad - 1) / kQuad) * s.channels * kQuad);
    if (!is_draw) continue;
    const size_t values = size_t(a.images - 1) * s.colours + 1;
    columns.add(s.values, values), constants.add(s.uniform, values), constants.add(s.known, values);
    constants.add(s.scaled, s.last_level + 1);
  }
  Buffers found = columns.merged(in_out, "columns");
  for (const auto& constant : constants.merged(in, "constants")) found.push_back(constant);
  return found;
}

// The function finds the operands of the sampler's kernel in the lists of operations that the kernel itself reads from
// global memory.
template <class T> Buffers buffers(const BlockArgs<T>& a) {
  Memory constants, rows;
  const size_t pixels = size_t(a.images) * a.colours * a.height * a.width,
               columns = size_t(a.margin + a.width) * a.images;
  constants.add(a.uniform, pixels), constants.add(a.known, pixels);
  rows.add(a.values, pixels), rows.add(a.logit_map, pixels * a.logits);
  const auto list = [&](auto* type, int64_t offset) { return reinterpret_cast<decltype(type)>(a.memory + offset); };
  const auto* const row_step = list((const RowStepArgs<T>*)nullptr, a.row_steps);
  const auto* const row_tap = list((const RowTapArgs<T>*)nullptr, a.row_taps);
  const auto* const copies = list((const WeightCopy<T>*)nullptr, a.weights);
  for (int i = 0; i < a.weight_copies; ++i) constants.add(copies[i].from, copies[i].count);
  for (int i = 0; i < a.before_row + a.after_row; ++i) {
    const RowStepArgs<T>& s = row_step[i];
    const size_t row_columns = size_t(s.columns) * a.images;
    rows.add(s.output, row_columns * s.outputs);
    for (int t = 0; t < s.taps; ++t)
      rows.add(row_tap[s.first_tap + t].source, row_columns * row_tap[s.first_tap + t].channels);
    constants.add(s.bias, s.outputs);
    constants.add(s.packed, size_t(s.outputs + kQuad - 1) / kQuad * s.channels * kQuad);
    constants.add(s.map, (a.images - 1) * s.map_image + (s.outputs - 1) * s.map_channel + (a.height - 1) * s.map_row +
                             (s.columns - 1) * s.map_column + 1);
  }
  // `end` is the address at which the memory of the kernel's operation lists ends. If a cluster of blocks draws an
  // image, the weights of all blocks come last in this memory.
  const size_t end = a.blocks > 1
                         ? size_t(a.stream + (size_t(a.blocks) * (a.main.stages + a.mirrored.stages) << a.log_stage))
                         : size_t(copies + a.weight_copies);
  for (const auto& p : {a.main, a.mirrored}) {
    const auto* const loads = list((const BlockLoad<T>*)nullptr, p.load);
    for (int i = 0; i < p.loads; ++i) rows.add(loads[i].data, columns * loads[i].channels);
    const auto* const moves = list((const BlockMove<T>*)nullptr, p.moves);
    for (int i = 0; i < p.moves_per_column; ++i)
      if (moves[i].row) rows.add(moves[i].row, (columns - 1) * moves[i].channels + moves[i].count);
    const auto* const operands = list((const BlockOperand<T>*)nullptr, p.operands);
    for (int i = 0; i < p.operand_count; ++i) rows.add(operands[i].data, columns * operands[i].channels);
  }
  Buffers found = rows.merged(in_out, "rows");
  for (const auto& constant : constants.merged(in, "constants")) found.push_back(constant);
  found.push_back({a.memory, end - size_t(a.memory), in, "programs"});
  return found;
}

template <class T> Buffers buffers(const PackStreamArgs<T>& a, dim3 grid) {
  Memory constants, stream;
  constants.add(a.copies, grid.x);
  for (unsigned i = 0; i < grid.x; ++i) {
    constants.add(a.copies[i].from, a.copies[i].count);
    stream.add(a.stream + a.copies[i].to, a.copies[i].count);
  }
  Buffers found = constants.merged(in, "weights");
  for (const auto& copied : stream.merged(in_out, "stream")) found.push_back(copied);
  return found;
}

}  // namespace

Buffers emulator::buffers_of(const std::string& kernel, const void* args, dim3 grid) {
  const auto is = [&](const char* prefix) { return kernel.starts_with(prefix); };
  const ValueBytes type = kernel.find("float64") != kernel.npos   ? ValueBytes{8, 8}
                          : kernel.find("float32") != kernel.npos ? ValueBytes{4, 4}
                                                                  : ValueBytes{2, 4};
  const size_t gates = kernel.back() - '0';
  if (is("pack_stream_float32")) return buffers(as<PackStreamArgs<float>>(args), grid);
  if (is("pack_stream_float64")) return buffers(as<PackStreamArgs<double>>(args), grid);
  if (is("pack")) return buffers(as<PackArgs>(args), grid);
  if (is("forward_")) return buffers(as<ForwardArgs>(args), grid);
  if (is("backward_")) return buffers(as<BackwardArgs>(args), grid);
  if (is("forward5_")) return buffers(as<ForwardArgs5>(args), grid);
  if (is("backward5_")) return buffers(as<BackwardArgs5>(args), grid);
  if (is("step_forward_")) return buffers(as<StepForwardArgs>(args), type, gates);
  if (is("step_backward_")) return buffers(as<StepBackwardArgs>(args), type, gates);
  if (is("block_sampler_float32") || is("cluster_sampler_float32")) return buffers(as<BlockArgs<float>>(args));
  if (is("block_sampler_float64") || is("cluster_sampler_float64")) return buffers(as<BlockArgs<double>>(args));
  if (is("column_stage_float32")) return buffers(as<ColumnStageArgs<float>>(args));
  if (is("column_stage_float64")) return buffers(as<ColumnStageArgs<double>>(args));
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

// The build defines another namespace for each library, so that one process can load several.
#define REGISTER(name)                                                  \
  STABLE_TORCH_LIBRARY(name, m) {                                       \
    define_recurrences(m);                                              \
    m.def(PIXELRNN_RUN_COLUMNS);                                        \
    define_planning(m);                                                 \
    define_sampling(m);                                                 \
  }                                                                     \
  STABLE_TORCH_LIBRARY_IMPL(name, CPU, m) {                             \
    implement_recurrences(m);                                           \
    implement_sampling(m);                                              \
  }                                                                     \
  STABLE_TORCH_LIBRARY_IMPL(name, CompositeExplicitAutograd, m) {       \
    implement_planning(m);                                              \
    m.impl("describe_current_plan", TORCH_BOX(&describe_current_plan)); \
  }
REGISTER(PIXELRNN_NAMESPACE)
