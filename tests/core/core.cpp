// Binds csrc/cell.h, cell5.h, geometry.h, cpu/cores.h, cpu/formats.h, cpu/pages.h and sizes of cpu/scan.h to Python.
// The cells use the vector math of the CPU kernels.
#include <array>
#include <optional>
#include <tuple>

#include "bind.h"
#include "cell.h"
#include "cell5.h"
#include "cpu/cores.h"
#include "cpu/formats.h"
#include "cpu/pages.h"
#include "cpu/scan.h"
#include "geometry.h"
#define PIXELRNN_ISA baseline
#define PIXELRNN_VECTOR_BYTES 16
#include "cpu/tiles/simd.h"

void bind_cuda(py::module_&);

namespace {

using namespace pixelrnn;

// `stride` is the number of pixels from one row of the feature map to the next. The value 0 stands for the image's
// width.
template <Geometry (*make)(int, int, Corner, int)>
Geometry geometry(int height, int width, bool mirrored, bool bottom, int stride) {
  return make(height, width, {bottom, mirrored}, stride ? stride : width);
}

void bind_geometry(py::module_& m) {
  BIND(Displacement, MEMBER(up), MEMBER(left)).def(py::init<int, int>());
  auto bound = BIND(Geometry, MEMBER(lines), MEMBER(cells), MEMBER(pixel), MEMBER(first), MEMBER(end),
      MEMBER(is_active), MEMBER(lag), MEMBER(shift));
  for (const auto& [name, make] :
      {std::pair("row", &geometry<&Geometry::row>), {"diagonal", &geometry<&Geometry::diagonal>}})
    bound.def_static(name, make, "height"_a, "width"_a, "mirrored"_a = false, "bottom"_a = false, "stride"_a = 0);
  DEF(state_tap);
  DEF(carry_tap);
  DEF(input_tap);
}

void bind_pages(py::module_& m) {
  using cpu::Pages;
  using Block = std::pair<uintptr_t, size_t>;
  py::class_<Pages>(m, "Pages")
      .def(py::init<size_t>(), "max_idle"_a)
      .def("take",
          [](Pages& pages, size_t bytes) {
            const cpu::Block block = pages.take(bytes);
            return Block{reinterpret_cast<uintptr_t>(block.data), block.bytes};
          })
      .def("give", [](Pages& pages, Block block) { pages.give({reinterpret_cast<void*>(block.first), block.second}); })
      .def_property_readonly("used_bytes", &Pages::used_bytes)
      .def_property_readonly("idle_bytes", &Pages::idle_bytes)
      .def_property_readonly("reclaimable_bytes", &Pages::reclaimable_bytes)
      .def_property_readonly("peak_bytes", &Pages::peak_bytes);
}

void bind_threads(py::module_& m) {
  m.def("limited_cores", [](int cores, const std::string& groups, const std::string& mount) {
    return cpu::limited_cores(cores, groups, mount);
  });
  m.def("useful_threads", [](int threads, int woken, bool diagonal, int images, int height, int width, int hidden) {
    const cpu::Shape shape{1, images, height, width, hidden, diagonal, {}, diagonal ? 2 : 1};
    return shape.useful_threads({threads, woken});
  });
}

template <class T> void bind_format(py::module_& m, const char* name) {
  m.def(name, [](const std::vector<float>& values) {
    std::vector<float> rounded;
    for (float x : values) rounded.push_back(T(x));
    return rounded;
  });
}

using cpu::baseline::Vec;
template <class T> Vec<T> splat(T x) {
  Vec<T> v;
  for (int i = 0; i < cpu::baseline::lanes<T>; ++i) v[i] = x;
  return v;
}
// Python passes numbers, but the cells take vectors. Each number fills all lanes, and lane 0 is returned.
template <template <class> class Struct, class T, size_t N> Struct<Vec<T>> vectors(const std::array<T, N>& scalars) {
  return std::apply([](auto... x) { return Struct<Vec<T>>{splat(x)...}; }, scalars);
}

template <class T> void bind_cell(py::module_ m) {
  using Math = cpu::baseline::VectorMath<T>;
  using Numbers = std::array<T, 4>;
  static constexpr auto numbers = [](const Gates<Vec<T>>& g) { return Numbers{g.i[0], g.f[0], g.g[0], g.o[0]}; };
  m.def("sigmoid", [](T x) { return T(Math::sigmoid(splat(x))[0]); });
  m.def("tanh", [](T x) { return T(Math::tanh(splat(x))[0]); });
  m.def("activate", [](const Numbers& z) { return numbers(activate<Math>(vectors<Gates>(z))); });
  m.def("next_c", [](const Numbers& a, T c_prev) { return T(next_c(vectors<Gates>(a), splat(c_prev))[0]); });
  m.def("hidden_state", [](const Numbers& a, T c) { return T(hidden_state<Math>(vectors<Gates>(a), splat(c))[0]); });
  const auto def_backward = [&](const char* name, auto derivative) {
    m.def(
        name,
        [=](const Numbers& a, T c, T c_prev, T dh, T dc) {
          Vec<T> carried = splat(dc);
          const Numbers dz = numbers(derivative(vectors<Gates>(a), splat(c), splat(c_prev), splat(dh), carried));
          return std::tuple(dz, T(carried[0]));
        },
        "a"_a, "c"_a, "c_prev"_a, "dh"_a, "dc"_a);
  };
  def_backward("cell_backward",
      [](auto a, auto c, auto c_prev, auto dh, auto& dc) { return cell_backward<Math>(a, c, c_prev, dh, dc); });
  def_backward("cell_backward_by_slopes",
      [](auto a, auto c, auto c_prev, auto dh, auto& dc) { return cell_backward(slopes<Math>(a, c, c_prev), dh, dc); });
}

// Python passes None, or four peephole weights in the order i, f, up, o.
template <class T> void bind_cell5(py::module_ m) {
  using Math = cpu::baseline::VectorMath<T>;
  using Numbers = std::array<T, 5>;
  using OptionalPeepholes = std::optional<std::array<T, 4>>;
  static constexpr auto numbers = [](const FiveGates<Vec<T>>& g) {
    return Numbers{g.i[0], g.f[0], g.g[0], g.o[0], g.up[0]};
  };
  static constexpr auto peephole_vectors = [](const OptionalPeepholes& p) {
    return p ? vectors<Peepholes>(*p) : Peepholes<Vec<T>>{};
  };
  m.def("cell5", [](Formula formula, T scale, const OptionalPeepholes& scalars, bool is_first, const Numbers& z,
                     T c_left, T c_up) {
    const auto peepholes = peephole_vectors(scalars);
    const auto out = cell5<Math, Vec<T>, T>(
        formula, scale, scalars ? &peepholes : nullptr, is_first, vectors<FiveGates>(z), splat(c_left), splat(c_up));
    return std::tuple(numbers(out.gates), T(out.c[0]), T((out.outer * Math::tanh(out.inner))[0]));
  });
  m.def("cell5_backward", [](Formula formula, T scale, const OptionalPeepholes& scalars, const Numbers& a, T c,
                              T c_left, T c_up, T dh, T dc_left, T dc_up) {
    const auto peepholes = peephole_vectors(scalars);
    Vec<T> left = splat(dc_left), up = splat(dc_up);
    const Numbers dz = numbers(cell5_backward<Math, Vec<T>, T>(formula, scale, scalars ? &peepholes : nullptr,
        vectors<FiveGates>(a), splat(c), splat(c_left), splat(c_up), splat(dh), left, up));
    return std::tuple(dz, T(left[0]), T(up[0]));
  });
  m.def("cell5_backward_by_slopes",
      [](Formula formula, T scale, const Numbers& a, T c, T c_left, T c_up, T dh, T dc_left, T dc_up) {
        Vec<T> left = splat(dc_left), up = splat(dc_up);
        const auto slopes =
            slopes5<Math, Vec<T>, T>(formula, scale, vectors<FiveGates>(a), splat(c), splat(c_left), splat(c_up));
        const Numbers dz = numbers(cell5_backward(slopes, splat(dh), left, up));
        return std::tuple(dz, T(left[0]), T(up[0]));
      });
}

template <class T> void bind_cells(py::module_ m) {
  bind_cell<T>(m);
  bind_cell5<T>(m);
}

}  // namespace

PYBIND11_MODULE(pixelrnn_core, m) {
  bind_geometry(m);
  bind_pages(m);
  bind_threads(m);
  bind_format<cpu::Bf16>(m, "bf16");
  bind_format<cpu::Half>(m, "half");
  py::native_enum<Formula>(m, "Formula", "enum.Enum")
      .value("stable", Formula::kStable)
      .value("forget", Formula::kForget)
      .value("leaky", Formula::kLeaky)
      .value("max", Formula::kMax)
      .finalize();
  bind_cells<float>(m.def_submodule("float32"));
  bind_cells<double>(m.def_submodule("float64"));
  bind_cuda(m);
}
