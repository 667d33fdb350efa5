#pragma once
#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;
using namespace pybind11::literals;

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
// DEF binds a function under its C++ name. BIND(Type, MEMBER(name), ...) binds a class.
#define MEMBER(name) std::pair(#name, &Class::name)
#define DEF(name) m.def(#name, &name)
#define BIND(Type, ...)                        \
  [&] {                                        \
    using Class = Type;                        \
    return bind<Class>(m, #Type, __VA_ARGS__); \
  }()
