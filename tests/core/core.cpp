// Binds csrc/geometry.h, cell.h, cell5.h and cpu/pages.h to Python. The cells use the vector math of the CPU kernels.
#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <tuple>

#include "cell.h"
#include "cell5.h"
#include "cpu/pages.h"
#include "geometry.h"
#define PIXELRNN_ISA baseline
#define PIXELRNN_VECTOR_BYTES 16
#include "cpu/tiles/simd.h"

namespace py = pybind11;
using namespace pybind11::literals;

void bind_cuda(py::module_&);

namespace {

using namespace pixelrnn;

// stride: pixels from row to row of the map; 0 means the image's width.
template <Geometry (*make)(int, int, Corner, int)>
Geometry geometry(int height, int width, bool mirrored, bool bottom, int stride) {
  return make(height, width, {bottom, mirrored}, stride ? stride : width);
}

void bind_geometry(py::module_& m) {
  py::class_<Displacement>(m, "Displacement")
      .def(py::init<int, int>())
      .def_readonly("up", &Displacement::up)
      .def_readonly("left", &Displacement::left);
  py::class_<Geometry>(m, "Geometry")
      .def_static("row", geometry<&Geometry::row>, "height"_a, "width"_a, "mirrored"_a = false, "bottom"_a = false,
          "stride"_a = 0)
      .def_static("diagonal", geometry<&Geometry::diagonal>, "height"_a, "width"_a, "mirrored"_a = false,
          "bottom"_a = false, "stride"_a = 0)
      .def_readonly("lines", &Geometry::lines)
      .def_readonly("cells", &Geometry::cells)
      .def("pixel", &Geometry::pixel)
      .def("first", &Geometry::first)
      .def("last", &Geometry::last)
      .def("active", &Geometry::active)
      .def("lag", &Geometry::lag)
      .def("shift", &Geometry::shift);
  m.def("state_tap", &state_tap);
  m.def("carry_tap", &carry_tap);
  m.def("input_tap", &input_tap);
}

void bind_pages(py::module_& m) {
  using cpu::Pages;
  using Block = std::pair<uintptr_t, size_t>;
  py::class_<Pages>(m, "Pages")
      .def(py::init<size_t>(), "most_idle"_a)
      .def("take",
          [](Pages& pages, size_t bytes) {
            const cpu::Block block = pages.take(bytes);
            return Block{reinterpret_cast<uintptr_t>(block.data), block.bytes};
          })
      .def("give", [](Pages& pages, Block block) { pages.give({reinterpret_cast<void*>(block.first), block.second}); })
      .def_property_readonly("used_bytes", &Pages::used_bytes)
      .def_property_readonly("idle_bytes", &Pages::idle_bytes)
      .def_property_readonly("lent_bytes", &Pages::lent_bytes)
      .def_property_readonly("most_bytes", &Pages::most_bytes);
}

// Python passes scalars: each fills all lanes of a vector, and lane 0 of a result is returned.
using cpu::baseline::Vec;
template <class T> Vec<T> spread(T x) {
  Vec<T> v;
  for (int i = 0; i < cpu::baseline::lanes<T>; ++i) v[i] = x;
  return v;
}

template <class T> void bind_cell(py::module_ m) {
  using Math = cpu::baseline::VectorMath<T>;
  using Numbers = std::array<T, 4>;
  static constexpr auto vectors = [](const Numbers& n) {
    return Gates<Vec<T>>{spread(n[0]), spread(n[1]), spread(n[2]), spread(n[3])};
  };
  static constexpr auto numbers = [](const Gates<Vec<T>>& g) { return Numbers{g.i[0], g.f[0], g.g[0], g.o[0]}; };
  m.def("sigmoid", [](T x) { return T(Math::sigmoid(spread(x))[0]); });
  m.def("tanh", [](T x) { return T(Math::tanh(spread(x))[0]); });
  m.def("activate", [](const Numbers& z) { return numbers(activate<Math>(vectors(z))); });
  m.def("next_c", [](const Numbers& a, T c_prev) { return T(next_c(vectors(a), spread(c_prev))[0]); });
  m.def("hidden_state", [](const Numbers& a, T c) { return T(hidden_state<Math>(vectors(a), spread(c))[0]); });
  // Returns the gradients with respect to the pre-activations and to c_prev.
  const auto def_backward = [&](const char* name, auto derivative) {
    m.def(
        name,
        [=](const Numbers& a, T c, T c_prev, T dh, T dc) {
          Vec<T> carried = spread(dc);
          const Numbers dz = numbers(derivative(vectors(a), spread(c), spread(c_prev), spread(dh), carried));
          return std::tuple(dz, T(carried[0]));
        },
        "a"_a, "c"_a, "c_prev"_a, "dh"_a, "dc"_a);
  };
  def_backward("cell_backward",
      [](auto a, auto c, auto c_prev, auto dh, auto& dc) { return cell_backward<Math>(a, c, c_prev, dh, dc); });
  def_backward("cell_backward_by_slopes",
      [](auto a, auto c, auto c_prev, auto dh, auto& dc) { return cell_backward(slopes<Math>(a, c, c_prev), dh, dc); });
}

// Peepholes are None, or an array in the order i, f, up, o.
template <class T> void bind_cell5(py::module_ m) {
  using Math = cpu::baseline::VectorMath<T>;
  using Numbers = std::array<T, 5>;
  using Given = std::optional<std::array<T, 4>>;
  static constexpr auto vectors = [](const Numbers& n) {
    return FiveGates<Vec<T>>{spread(n[0]), spread(n[1]), spread(n[2]), spread(n[3]), spread(n[4])};
  };
  static constexpr auto numbers = [](const FiveGates<Vec<T>>& g) {
    return Numbers{g.i[0], g.f[0], g.g[0], g.o[0], g.up[0]};
  };
  static constexpr auto peepholes_of = [](const Given& p) {
    return p ? Peepholes<Vec<T>>{spread((*p)[0]), spread((*p)[1]), spread((*p)[2]), spread((*p)[3])}
             : Peepholes<Vec<T>>{};
  };
  m.def("cell5", [](Formula formula, T scale, const Given& given, bool is_first, const Numbers& z, T c_left, T c_up) {
    const auto peepholes = peepholes_of(given);
    const auto out = cell5<Math, Vec<T>, T>(
        formula, scale, given ? &peepholes : nullptr, is_first, vectors(z), spread(c_left), spread(c_up));
    return std::tuple(numbers(out.gates), T(out.c[0]), T((out.outer * Math::tanh(out.inner))[0]));
  });
  // Returns the gradients with respect to the pre-activations, c_left and c_up. dc_left and dc_up:
  // gradients of c from the right and from below.
  m.def("cell5_backward", [](Formula formula, T scale, const Given& given, const Numbers& a, T c, T c_left, T c_up,
                              T dh, T dc_left, T dc_up) {
    const auto peepholes = peepholes_of(given);
    Vec<T> left = spread(dc_left), up = spread(dc_up);
    const Numbers dz = numbers(cell5_backward<Math, Vec<T>, T>(formula, scale, given ? &peepholes : nullptr, vectors(a),
        spread(c), spread(c_left), spread(c_up), spread(dh), left, up));
    return std::tuple(dz, T(left[0]), T(up[0]));
  });
  m.def("cell5_backward_by_slopes", [](Formula formula, T scale, const Numbers& a, T c, T c_left, T c_up, T dh,
                                        T dc_left, T dc_up) {
    Vec<T> left = spread(dc_left), up = spread(dc_up);
    const auto slopes = slopes5<Math, Vec<T>, T>(formula, scale, vectors(a), spread(c), spread(c_left), spread(c_up));
    const Numbers dz = numbers(cell5_backward(slopes, spread(dh), left, up));
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
