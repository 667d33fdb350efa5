// csrc/cuda/tiling.h, plan.h, path.h and estimate.h for Python: the planner of the CUDA kernels without them, without a
// GPU.
#include <pybind11/functional.h>
#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cuda/estimate.h"
#include "cuda/path.h"
#include "cuda/plan.h"
#include "cuda/tiling.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace {

using namespace pixelrnn::cuda;

void bind_tiling(py::module_& m) {
  py::native_enum<Format>(m, "Format", "enum.Enum")
      .value("bf16", Format::bf16)
      .value("fp16", Format::fp16)
      .value("tf32", Format::tf32)
      .value("fp32", Format::fp32)
      .finalize();
  py::class_<Tiling>(m, "Tiling")
      .def(py::init([](Format format, bool backward, int hidden, int taps, int blocks, int groups, int tiles,
                        int images, int gates) {
        return Tiling{format, backward, hidden, taps, blocks, hidden / blocks, groups, tiles, images, {}, gates};
      }),
          "format"_a, "backward"_a, "hidden"_a, "taps"_a, "blocks"_a = 1, "groups"_a = 1, "tiles"_a = 1, "images"_a = 1,
          "gates"_a = 4)
      .def_readonly("backward", &Tiling::backward)
      .def_readonly("hidden", &Tiling::hidden)
      .def_readonly("taps", &Tiling::taps)
      .def_readonly("blocks", &Tiling::blocks)
      .def_readonly("units", &Tiling::units)
      .def_readonly("groups", &Tiling::groups)
      .def_readonly("tiles", &Tiling::tiles)
      .def_readonly("images", &Tiling::images)
      .def_readonly("gates", &Tiling::gates)
      .def_property_readonly("first_offsets",
          [](const Tiling& s) { return std::vector<int>(std::begin(s.first_offsets), std::end(s.first_offsets)); })
      .def_property_readonly("address", [](const Tiling& s) { return reinterpret_cast<uintptr_t>(&s); })
      .def("bytes", &Tiling::bytes)
      .def("fma", &Tiling::fma)
      .def("tap_values", &Tiling::tap_values)
      .def("pairs_of_tap", &Tiling::pairs_of_tap)
      .def("pairs", &Tiling::pairs)
      .def("tap_width", &Tiling::tap_width)
      .def("slice_rows", &Tiling::slice_rows)
      .def("slices", &Tiling::slices)
      .def("matrix_rows", &Tiling::matrix_rows)
      .def("threads", &Tiling::threads)
      .def("cells", &Tiling::cells)
      .def("border", &Tiling::border)
      .def("rows", &Tiling::rows)
      .def("stride", &Tiling::stride)
      .def("line_bytes", &Tiling::line_bytes)
      .def("pair_offset", &Tiling::pair_offset)
      .def("up_bytes", &Tiling::up_bytes)
      .def("part_step", &Tiling::part_step)
      .def("part_stride", &Tiling::part_stride)
      .def("part_floats", &Tiling::part_floats)
      .def("pass_cells", &Tiling::pass_cells)
      .def("unit_of_row", &Tiling::unit_of_row)
      .def("weight_values", &Tiling::weight_values)
      .def("weight_bytes", &Tiling::weight_bytes)
      .def("weight_at", &weight_at, "rank"_a, "row"_a, "tap"_a, "value"_a)
      // weight_source() of every packed value of a direction.
      .def("weight_sources", [](const Tiling& s) {
        std::vector<int> sources;
        for (int i = 0; i < s.blocks * s.weight_values(); ++i) sources.push_back(weight_source(s, i));
        return sources;
      });
  py::class_<PackSize>(m, "PackSize")
      .def(py::init<const Tiling&>())
      .def_readonly("tile_rows", &PackSize::tile_rows)
      .def_readonly("step_values", &PackSize::step_values)
      .def_readonly("tiles", &PackSize::tiles)
      .def_readonly("steps", &PackSize::steps);
  m.def("is_of_one_tile", &is_of_one_tile, "own"_a, "cluster"_a);
  m.attr("pair_bytes") = kPairBytes;
}

void bind_variants(py::module_& m) {
  py::native_enum<Kind>(m, "Kind", "enum.Enum")
      .value("single", Kind::single)
      .value("cluster", Kind::cluster)
      .value("images", Kind::images)
      .finalize();
  py::class_<Held>(m, "Held")
      .def_readonly("registers", &Held::registers)
      .def_readonly("shared", &Held::shared)
      .def("most", &Held::most);
  m.attr("held_any") = int(Held::kAny);
  m.def("tiles_at_once", &tiles_at_once, "held"_a, "most_tiles"_a, "fma"_a);
  m.def("images_of", &images_of);
  m.def("has_blocks", &has_blocks);
  py::class_<Variant>(m, "Variant")
      .def_readonly("name", &Variant::name)
      .def_readonly("format", &Variant::format)
      .def_readonly("backward", &Variant::backward)
      .def_readonly("kind", &Variant::kind)
      .def_readonly("held", &Variant::held)
      .def_readonly("own", &Variant::own)
      .def_readonly("threads", &Variant::threads)
      .def_readonly("gates", &Variant::gates)
      .def("is_", &Variant::is);
  m.attr("variants") = every_variant();
}

void bind_plan(py::module_& m) {
  py::class_<Problem>(m, "Problem")
      .def(py::init([](Format format, bool backward, int hidden, int taps, int lines, int cells, int64_t images,
                        int64_t directions, int gates) {
        return Problem{format, backward, hidden, taps, lines, cells, images, directions, gates};
      }),
          "format"_a, "backward"_a, "hidden"_a, "taps"_a, "lines"_a, "cells"_a, "images"_a, "directions"_a,
          "gates"_a = 4)
      .def_readonly("cells", &Problem::cells);
  py::class_<Device>(m, "Device")
      .def(py::init([](int capability, int shared_memory, int multiprocessors) {
        return Device{capability, shared_memory, multiprocessors};
      }),
          "capability"_a, "shared_memory"_a, "multiprocessors"_a);
  const Restriction any;
  py::class_<Restriction>(m, "Restriction")
      .def(py::init([](int max_blocks, int blocks, int groups, std::string variant, bool step) {
        return Restriction{max_blocks, blocks, groups, std::move(variant), step};
      }),
          "max_blocks"_a = any.max_blocks, "blocks"_a = any.blocks, "groups"_a = any.groups, "variant"_a = any.variant,
          "step"_a = any.step)
      .def_readonly("max_blocks", &Restriction::max_blocks)
      .def_readonly("blocks", &Restriction::blocks)
      .def_readonly("groups", &Restriction::groups)
      .def_readonly("variant", &Restriction::variant)
      .def_readonly("step", &Restriction::step);
  py::class_<Constants> constants(m, "Constants");
  constants.def(py::init<>());
  py::list names;
  auto constant = [&](const char* name, double Constants::* member) {
    constants.def_readwrite(name, member);
    names.append(name);
  };
  constant("launch", &Constants::launch);
  constant("first_line", &Constants::first_line);
  constant("weights_of_cycle", &Constants::weights_of_cycle);
  constant("step_products", &Constants::step_products);
  constant("cluster_doubt", &Constants::cluster_doubt);
  constant("product", &Constants::product);
  constant("exchange_bytes", &Constants::exchange_bytes);
  constant("exchange_lines", &Constants::exchange_lines);
  constant("clock", &Constants::clock);
  constant("bandwidth", &Constants::bandwidth);
  constant("line", &Constants::line);
  constant("tile", &Constants::tile);
  constant("pair", &Constants::pair);
  constant("cell", &Constants::cell);
  constants.attr("names") = names;
  py::class_<Plan>(m, "Plan")
      .def_readonly("variant", &Plan::variant)
      .def_readonly("tiling", &Plan::tiling)
      .def_readonly("shared_memory", &Plan::shared_memory)
      .def_readonly("at_once", &Plan::at_once)
      .def_readonly("seconds", &Plan::seconds)
      .def_readonly("cycles", &Plan::cycles)
      .def_readonly("cost", &Plan::cost)
      .def_readonly("why_not", &Plan::why_not)
      .def("describe", &Plan::describe);
  m.def("plan", &plan, "problem"_a, "device"_a, "restriction"_a = any, "concurrency"_a = nullptr,
      "constants"_a = Constants());
  m.def(
      "candidates",
      [](const Problem& p, const Device& device, const Restriction& restriction, const Concurrency& ask,
          const Constants& constants) { return candidates(p, device, restriction, ask, constants); },
      "problem"_a, "device"_a, "restriction"_a = any, "concurrency"_a = nullptr, "constants"_a = Constants());
  py::class_<Path>(m, "Path")
      .def(py::init<const std::string&>())
      .def("restriction", &Path::restriction, "format"_a, "backward"_a, "gates"_a = 4);
  m.def("has_variant", &has_variant, "format"_a, "backward"_a, "suffix"_a, "blocks"_a, "gates"_a = 4);
  m.def("estimate_step", &estimate_step, "problem"_a, "device"_a, "constants"_a = Constants());
  m.def("known_device", &known_device, "capability"_a);
}

}  // namespace

void bind_cuda(py::module_& m) {
  bind_tiling(m);
  bind_variants(m);
  bind_plan(m);
}
