// Binds the planner of the CUDA kernels to Python. It needs no GPU.
#include <pybind11/functional.h>

#include "bind.h"
#include "cuda/scan/estimate.h"
#include "cuda/scan/path.h"
#include "cuda/scan/plan.h"
#include "cuda/scan/tiling.h"

namespace {

using namespace pixelrnn::cuda;

void bind_tiling(py::module_& m) {
  py::native_enum<Format>(m, "Format", "enum.Enum")
      .value("bf16", Format::bf16)
      .value("fp16", Format::fp16)
      .value("tf32", Format::tf32)
      .value("fp32", Format::fp32)
      .finalize();
  BIND(Tiling, MEMBER(backward), MEMBER(segments), MEMBER(hidden), MEMBER(taps), MEMBER(blocks), MEMBER(units),
      MEMBER(groups), MEMBER(tiles), MEMBER(images), MEMBER(gates), MEMBER(bytes), MEMBER(fma), MEMBER(tap_values),
      MEMBER(pairs_of_tap), MEMBER(pairs), MEMBER(tap_width), MEMBER(slice_rows), MEMBER(slices), MEMBER(matrix_rows),
      MEMBER(threads), MEMBER(cells), MEMBER(border), MEMBER(rows), MEMBER(stride), MEMBER(chunk_stride),
      MEMBER(line_bytes), MEMBER(lead_bytes), MEMBER(pair_offset), MEMBER(up_bytes), MEMBER(part_step),
      MEMBER(part_stride), MEMBER(part_floats), MEMBER(part_in_segments), MEMBER(odd_bits), MEMBER(cells_at_once),
      MEMBER(unit_of_row), MEMBER(weight_values), MEMBER(weight_bytes))
      .def(py::init([](Format format, bool backward, int hidden, int taps, int blocks, int groups, int tiles,
                        int images, int gates, bool segments) {
        return Tiling{
            format, backward, segments, hidden, taps, blocks, hidden / blocks, groups, tiles, images, {}, gates};
      }),
          "format"_a, "backward"_a, "hidden"_a, "taps"_a, "blocks"_a = 1, "groups"_a = 1, "tiles"_a = 1, "images"_a = 1,
          "gates"_a = 4, "segments"_a = false)
      .def_property_readonly("first_offsets",
          [](const Tiling& s) { return std::vector<int>(std::begin(s.first_offsets), std::end(s.first_offsets)); })
      .def_property_readonly("address", [](const Tiling& s) { return reinterpret_cast<uintptr_t>(&s); })
      .def("weight_at", &weight_at)
      .def("weight_sources", [](const Tiling& s) {
        std::vector<int> sources;
        for (int i = 0; i < s.blocks * s.weight_values(); ++i) sources.push_back(weight_source(s, i));
        return sources;
      });
  BIND(PackSize, MEMBER(tile_rows), MEMBER(step_values), MEMBER(tiles), MEMBER(steps)).def(py::init<const Tiling&>());
  DEF(has_one_tile);
  DEF(pushes_segments);
  m.attr("pair_bytes") = kPairBytes;
  m.attr("chunk_bytes") = kChunkBytes;
  m.attr("segment_bytes") = kSegmentBytes;
}

void bind_variants(py::module_& m) {
  py::native_enum<Kind>(m, "Kind", "enum.Enum")
      .value("single", Kind::single)
      .value("cluster", Kind::cluster)
      .value("images", Kind::images)
      .finalize();
  BIND(Pairs, MEMBER(registers), MEMBER(shared), MEMBER(max));
  m.attr("any_pairs") = int(Pairs::kAny);
  DEF(tiles_at_once);
  DEF(images_per_cluster);
  DEF(has_blocks);
  BIND(Variant, MEMBER(name), MEMBER(format), MEMBER(backward), MEMBER(kind), MEMBER(pairs), MEMBER(tiles_or_units),
      MEMBER(threads), MEMBER(gates), MEMBER(has_suffix));
  m.attr("variants") = every_variant();
}

void bind_plan(py::module_& m) {
  BIND(Problem, MEMBER(cells)).def(py::init<Format, bool, int, int, int, int, int64_t, int64_t, int>());
  py::class_<Device>(m, "Device").def(py::init<int, int, int>());
  const Restriction any;
  BIND(Restriction, MEMBER(max_blocks), MEMBER(blocks), MEMBER(groups), MEMBER(variant), MEMBER(step))
      .def(py::init<int, int, int, std::string, bool>(), "max_blocks"_a = any.max_blocks, "blocks"_a = any.blocks,
          "groups"_a = any.groups, "variant"_a = any.variant, "step"_a = any.step);
  using Class = Constants;
  py::class_<Class> constants(m, "Constants");
  constants.def(py::init<>());
  py::list names;
  for (const auto& [name, member] :
      {MEMBER(launch), MEMBER(first_line), MEMBER(weights_of_cycle), MEMBER(step_products), MEMBER(cluster_doubt),
          MEMBER(product), MEMBER(exchange_bytes), MEMBER(exchange_lines), MEMBER(clock), MEMBER(bandwidth),
          MEMBER(line), MEMBER(tile), MEMBER(pair), MEMBER(cell)}) {
    constants.def_readwrite(name, member);
    names.append(name);
  }
  constants.attr("names") = names;
  BIND(Plan, MEMBER(variant), MEMBER(tiling), MEMBER(shared_memory), MEMBER(concurrency), MEMBER(seconds),
      MEMBER(cycles), MEMBER(cost), MEMBER(why_not), MEMBER(describe));
  const auto def = [&](const char* name, auto function) {
    m.def(name, function, "problem"_a, "device"_a, "restriction"_a = any, "concurrency"_a = nullptr,
        "constants"_a = Constants());
  };
  def("plan", &plan);
  def("candidates",
      [](const Problem& p, const Device& device, const Restriction& restriction, const Concurrency& concurrency,
          const Constants& constants) { return candidates(p, device, restriction, concurrency, constants); });
  py::class_<Path>(m, "Path")
      .def(py::init<const std::string&>())
      .def("restriction", &Path::restriction, "format"_a, "backward"_a, "gates"_a = 4);
  m.def("has_variant", &has_variant, "format"_a, "backward"_a, "suffix"_a, "blocks"_a, "gates"_a = 4);
  m.def("estimate_step", &estimate_step, "problem"_a, "device"_a, "constants"_a = Constants());
  DEF(known_device);
}

}  // namespace

void bind_cuda(py::module_& m) {
  bind_tiling(m);
  bind_variants(m);
  bind_plan(m);
}
