// Binds the planner of the CUDA kernels to Python, without a GPU: csrc/cuda/tiling.h, plan.h, path.h and estimate.h.
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

// Binds a class. Each MEMBER is a field or method, under its C++ name.
template <class T, class... Members>
py::class_<T> bind(py::module_& m, const char* name, std::pair<const char*, Members>... members) {
  py::class_<T> bound(m, name);
  const auto add = [&](const char* member_name, auto member) {
    if constexpr (std::is_member_function_pointer_v<decltype(member)>) bound.def(member_name, member);
    else bound.def_readonly(member_name, member);
  };
  (add(members.first, members.second), ...);
  return bound;
}
#define MEMBER(Class, name) std::pair(#name, &Class::name)

void bind_tiling(py::module_& m) {
  py::native_enum<Format>(m, "Format", "enum.Enum")
      .value("bf16", Format::bf16)
      .value("fp16", Format::fp16)
      .value("tf32", Format::tf32)
      .value("fp32", Format::fp32)
      .finalize();
  bind<Tiling>(m, "Tiling", MEMBER(Tiling, backward), MEMBER(Tiling, hidden), MEMBER(Tiling, taps),
      MEMBER(Tiling, blocks), MEMBER(Tiling, units), MEMBER(Tiling, groups), MEMBER(Tiling, tiles),
      MEMBER(Tiling, images), MEMBER(Tiling, gates), MEMBER(Tiling, bytes), MEMBER(Tiling, fma),
      MEMBER(Tiling, tap_values), MEMBER(Tiling, pairs_of_tap), MEMBER(Tiling, pairs), MEMBER(Tiling, tap_width),
      MEMBER(Tiling, slice_rows), MEMBER(Tiling, slices), MEMBER(Tiling, matrix_rows), MEMBER(Tiling, threads),
      MEMBER(Tiling, cells), MEMBER(Tiling, border), MEMBER(Tiling, rows), MEMBER(Tiling, stride),
      MEMBER(Tiling, line_bytes), MEMBER(Tiling, pair_offset), MEMBER(Tiling, up_bytes), MEMBER(Tiling, part_step),
      MEMBER(Tiling, part_stride), MEMBER(Tiling, part_floats), MEMBER(Tiling, cells_at_once),
      MEMBER(Tiling, unit_of_row), MEMBER(Tiling, weight_values), MEMBER(Tiling, weight_bytes))
      .def(py::init([](Format format, bool backward, int hidden, int taps, int blocks, int groups, int tiles,
                        int images, int gates) {
        return Tiling{format, backward, hidden, taps, blocks, hidden / blocks, groups, tiles, images, {}, gates};
      }),
          "format"_a, "backward"_a, "hidden"_a, "taps"_a, "blocks"_a = 1, "groups"_a = 1, "tiles"_a = 1, "images"_a = 1,
          "gates"_a = 4)
      .def_property_readonly("first_offsets",
          [](const Tiling& s) { return std::vector<int>(std::begin(s.first_offsets), std::end(s.first_offsets)); })
      .def_property_readonly("address", [](const Tiling& s) { return reinterpret_cast<uintptr_t>(&s); })
      .def("weight_at", &weight_at)
      .def("weight_sources", [](const Tiling& s) {
        std::vector<int> sources;
        for (int i = 0; i < s.blocks * s.weight_values(); ++i) sources.push_back(weight_source(s, i));
        return sources;
      });
  bind<PackSize>(m, "PackSize", MEMBER(PackSize, tile_rows), MEMBER(PackSize, step_values), MEMBER(PackSize, tiles),
      MEMBER(PackSize, steps))
      .def(py::init<const Tiling&>());
  m.def("has_one_tile", &has_one_tile);
  m.attr("pair_bytes") = kPairBytes;
}

void bind_variants(py::module_& m) {
  py::native_enum<Kind>(m, "Kind", "enum.Enum")
      .value("single", Kind::single)
      .value("cluster", Kind::cluster)
      .value("images", Kind::images)
      .finalize();
  bind<Pairs>(m, "Pairs", MEMBER(Pairs, registers), MEMBER(Pairs, shared), MEMBER(Pairs, max));
  m.attr("any_pairs") = int(Pairs::kAny);
  m.def("tiles_at_once", &tiles_at_once);
  m.def("images_per_cluster", &images_per_cluster);
  m.def("has_blocks", &has_blocks);
  bind<Variant>(m, "Variant", MEMBER(Variant, name), MEMBER(Variant, format), MEMBER(Variant, backward),
      MEMBER(Variant, kind), MEMBER(Variant, pairs), MEMBER(Variant, tiles_or_units), MEMBER(Variant, threads),
      MEMBER(Variant, gates))
      .def("has_suffix", &Variant::has_suffix);
  m.attr("variants") = every_variant();
}

void bind_plan(py::module_& m) {
  bind<Problem>(m, "Problem", MEMBER(Problem, cells))
      .def(py::init<Format, bool, int, int, int, int, int64_t, int64_t, int>());
  py::class_<Device>(m, "Device").def(py::init<int, int, int>());
  const Restriction any;
  bind<Restriction>(m, "Restriction", MEMBER(Restriction, max_blocks), MEMBER(Restriction, blocks),
      MEMBER(Restriction, groups), MEMBER(Restriction, variant), MEMBER(Restriction, step))
      .def(py::init<int, int, int, std::string, bool>(), "max_blocks"_a = any.max_blocks, "blocks"_a = any.blocks,
          "groups"_a = any.groups, "variant"_a = any.variant, "step"_a = any.step);
  py::class_<Constants> constants(m, "Constants");
  constants.def(py::init<>());
  py::list names;
  for (const auto& [name, member] : {MEMBER(Constants, launch), MEMBER(Constants, first_line),
           MEMBER(Constants, weights_of_cycle), MEMBER(Constants, step_products), MEMBER(Constants, cluster_doubt),
           MEMBER(Constants, product), MEMBER(Constants, exchange_bytes), MEMBER(Constants, exchange_lines),
           MEMBER(Constants, clock), MEMBER(Constants, bandwidth), MEMBER(Constants, line), MEMBER(Constants, tile),
           MEMBER(Constants, pair), MEMBER(Constants, cell)}) {
    constants.def_readwrite(name, member);
    names.append(name);
  }
  constants.attr("names") = names;
  bind<Plan>(m, "Plan", MEMBER(Plan, variant), MEMBER(Plan, tiling), MEMBER(Plan, shared_memory),
      MEMBER(Plan, concurrency), MEMBER(Plan, seconds), MEMBER(Plan, cycles), MEMBER(Plan, cost), MEMBER(Plan, why_not),
      MEMBER(Plan, describe));
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
  m.def("known_device", &known_device);
}

}  // namespace

void bind_cuda(py::module_& m) {
  bind_tiling(m);
  bind_variants(m);
  bind_plan(m);
}
