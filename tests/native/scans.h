// What the checks of scans share: their buffers, the scan under test, and what holds of every scan.
#pragma once
#include "../../csrc/cpu/scan.h"
#include "check.h"

namespace check {

using cpu::Shape;
using pixelrnn::Formula;

// Of kFive; the scale is kForget's.
struct Cell {
  Formula formula = Formula::kStable;
  double scale = 1;
};

// What is given; the input is, where the shape has channels.
struct Given { bool x = false, bias = false, h0 = false, c0 = false, peepholes = false; };

template <class T> struct Inputs {
  std::vector<T> x, weight, h0, c0, input, weight_ih, bias, peepholes, dh;
  Cell cell = {};
};
template <class T> struct Outputs {
  std::vector<T> h, c, gates, dx, dh0, dc0, dinput, dweight, dweight_ih, dbias, dpeepholes;
};

template <class T> struct Named {
  const char* name;
  const std::vector<T>& values;
};
template <class T> std::vector<Named<T>> named(const Inputs<T>& a) {
  return {{"x", a.x}, {"weight", a.weight}, {"h0", a.h0}, {"c0", a.c0}, {"input", a.input}, {"weight_ih", a.weight_ih},
      {"bias", a.bias}, {"peepholes", a.peepholes}, {"dh", a.dh}};
}
template <class T> std::vector<Named<T>> named(const Outputs<T>& a) {
  return {{"h", a.h}, {"c", a.c}, {"gates", a.gates}, {"dx", a.dx}, {"dh0", a.dh0}, {"dc0", a.dc0},
      {"dinput", a.dinput}, {"dweight", a.dweight}, {"dweight_ih", a.dweight_ih}, {"dbias", a.dbias},
      {"dpeepholes", a.dpeepholes}};
}
// Those that are no sums over images, in an order that depends on the shares.
template <class T> std::vector<Named<T>> of_images(const Outputs<T>& a) {
  return {{"h", a.h}, {"c", a.c}, {"gates", a.gates}, {"dx", a.dx}, {"dh0", a.dh0}, {"dc0", a.dc0},
      {"dinput", a.dinput}, {"dpeepholes", a.dpeepholes}};
}

inline int64_t pixels(const Shape& s) { return int64_t(s.images) * s.height * s.width; }
inline int64_t weights(const Shape& s, int taps, int channels) {
  return int64_t(s.directions) * taps * s.columns() * channels;
}

template <class T> Inputs<T> random_inputs(const Shape& s, const Given& given) {
  const int64_t maps = s.directions * pixels(s), states = int64_t(s.directions) * s.hidden;
  Inputs<T> in;
  in.x = random<T>(given.x ? maps * s.columns() : 0, 1);
  in.weight = random<T>(weights(s, s.taps, s.hidden), 1 / std::sqrt(s.taps * s.hidden));
  in.h0 = random<T>(given.h0 ? states : 0, 1);
  in.c0 = random<T>(given.c0 ? states : 0, 1);
  in.input = random<T>(pixels(s) * s.input_channels, 1);
  in.weight_ih = random<T>(weights(s, s.input_taps, s.input_channels), 1);
  in.bias = random<T>(given.bias ? states * s.gates() : 0, 1);
  in.peepholes = random<T>(given.peepholes ? 4 * states : 0, 1);
  in.dh = random<T>(maps * s.hidden, 1);
  return in;
}

template <class T, class I> Outputs<T> outputs_of(const Shape& s, const Inputs<I>& in, T value) {
  const int64_t maps = s.directions * pixels(s), states = int64_t(s.directions) * s.hidden;
  Outputs<T> out;
  for (auto* map : {&out.h, &out.c}) map->assign(maps * s.hidden, value);
  for (auto* map : {&out.gates, &out.dx}) map->assign(maps * s.columns(), value);
  for (auto* state : {&out.dh0, &out.dc0}) state->assign(states * s.images, value);
  out.dinput.assign(pixels(s) * s.input_channels, value);
  out.dweight.assign(weights(s, s.taps, s.hidden), value);
  out.dweight_ih.assign(weights(s, s.input_taps, s.input_channels), value);
  out.dbias.assign(states * s.gates(), value);
  out.dpeepholes.assign(in.peepholes.size() * s.images, value);
  return out;
}
template <class T> Outputs<T> unwritten(const Shape& s, const Inputs<T>& in) {
  return outputs_of(s, in, std::numeric_limits<T>::quiet_NaN());
}

// Maps, of which an image may fill only the top left.

// Everything that has pixels is [maps][images][height][width][values]. Where there are five gates all directions have
// one map of h.
struct Layout { int maps, values; };
inline Layout of_c(const Shape& s) { return {s.directions, s.hidden}; }
inline Layout of_gates(const Shape& s) { return {s.directions, s.columns()}; }
inline Layout of_input(const Shape& s) { return {1, s.input_channels}; }
inline Layout of_h(const Shape& s) {
  return s.family == cpu::Family::kFive ? Layout{1, s.directions * s.hidden} : of_c(s);
}

// f(value) of every value outside the images.
template <class T, class F> void for_outside(const Shape& s, std::vector<T>& map, Layout layout, const F& f) {
  if (!s.extents) return;
  T* value = map.data();
  for (int i = 0; i < layout.maps; ++i)
    for (int b = 0; b < s.images; ++b)
      for (int row = 0; row < s.height; ++row)
        for (int column = 0; column < s.width; ++column) {
          const cpu::Extent e = s.extents[b];
          const bool inside = row < e.height && column < e.width;
          for (int n = 0; n < layout.values; ++n, ++value)
            if (!inside) f(*value);
        }
}

// With zeros where c, gates and dx say nothing, as the scalar implementation has them.
template <class T> Outputs<T> of_pixels(const Shape& s, Outputs<T> a) {
  const auto clear = [](T& value) { value = 0; };
  for_outside(s, a.c, of_c(s), clear);
  for_outside(s, a.gates, of_gates(s), clear);
  for_outside(s, a.dx, of_gates(s), clear);
  return a;
}

// Comparisons.

template <class T>
void check_same_bits(const std::vector<Named<T>>& a, const std::vector<Named<T>>& b, const std::string& where) {
  for (size_t i = 0; i < a.size(); ++i, ++checks)
    if (!same_bits(a[i].values, b[i].values)) fail(where + ": " + a[i].name + " has changed");
}

template <class T>
double check_close(const Outputs<T>& got, const Outputs<double>& expected, const std::string& where) {
  const auto a = named(got);
  const auto b = named(expected);
  double error = 0;
  for (size_t i = 0; i < a.size(); ++i)
    error = std::max(error, check_close(a[i].name, a[i].values, b[i].values, where));
  return error;
}

// The scan under test.

// Weights as they lie in the buffers, [directions][taps][hidden][gates][channels].
template <class T> cpu::Weights<T> dense(const Shape& s, T* data, int64_t taps, int64_t channels) {
  const int64_t gate = channels, unit = s.gates() * gate, tap = s.hidden * unit;
  return {data, taps * tap, tap, unit, gate, 1};
}
template <class V> auto weight(const Shape& s, V& values) { return dense(s, data(values), s.taps, s.hidden); }
template <class V> auto weight_ih(const Shape& s, V& values) {
  return dense(s, data(values), s.input_taps, s.input_channels);
}
template <class V> auto bias(const Shape& s, V& values) { return dense(s, data(values), 1, 1); }
template <class T> cpu::TwoCarries<T> carries(const Inputs<T>& in) {
  return {in.cell.formula, T(in.cell.scale), data(in.peepholes)};
}

template <class T> void scan_forward(const Shape& s, const Inputs<T>& in, Outputs<T>& out, const Deal& d, int level) {
  cpu::forward<T>(s,
      {data(in.x), weight(s, in.weight), data(in.h0), data(in.c0), data(in.input), weight_ih(s, in.weight_ih),
          bias(s, in.bias), data(out.h), data(out.c), data(out.gates), nullptr, carries(in)},
      team(d), level);
}
template <class T> void scan_backward(const Shape& s, const Inputs<T>& in, Outputs<T>& out, const Deal& d, int level) {
  cpu::backward<T>(s,
      {data(in.dh), weight(s, in.weight), data(in.h0), data(in.c0), nullptr, data(out.c), data(out.gates), nullptr, {},
          data(out.dx), data(out.dh0), data(out.dc0), nullptr, {}, false, carries(in), data(out.dpeepholes)},
      team(d), level);
}
template <class T>
void scan_weight_gradient(const Shape& s, const Inputs<T>& in, Outputs<T>& out, const Deal& d, int level) {
  cpu::weight_gradient<T>(s,
      {data(out.dx), data(out.h), data(in.h0), data(in.input),
          {weight(s, out.dweight), weight_ih(s, out.dweight_ih), bias(s, out.dbias)}},
      team(d), level);
}
template <class T>
void scan_all_gradients(const Shape& s, const Inputs<T>& in, Outputs<T>& out, const Deal& d, int level) {
  cpu::backward<T>(s,
      {data(in.dh), weight(s, in.weight), data(in.h0), data(in.c0), data(out.h), data(out.c), data(out.gates),
          data(in.input), weight_ih(s, in.weight_ih), data(out.dx), data(out.dh0), data(out.dc0), data(out.dinput),
          {weight(s, out.dweight), weight_ih(s, out.dweight_ih), bias(s, out.dbias)}, false, carries(in),
          data(out.dpeepholes)},
      team(d), level);
}

// What holds of every scan.

// All three, into outputs full of NaNs. No pass may change what an earlier one has written.
template <class T>
Outputs<T> scan(const Shape& s, const Inputs<T>& in, const Deal& d, int level, const std::string& where) {
  const Inputs<T> in_before = in;
  Outputs<T> out = unwritten(s, in);
  scan_forward(s, in, out, d, level);
  const std::vector<T> h = out.h, c = out.c, gates = out.gates;
  scan_backward(s, in, out, d, level);
  const std::vector<T> dx = out.dx;
  scan_weight_gradient(s, in, out, d, level);
  check_same_bits(named(in), named(in_before), where);
  if (!same_bits(out.h, h) || !same_bits(out.c, c) || !same_bits(out.gates, gates) || !same_bits(out.dx, dx))
    fail(where + ": a later pass has changed h, c, gates or dx");
  ++checks;
  return out;
}

// All gradients at once, from a forward that has been: the scan's are those of the scan alone, to the bit, and a dx
// that is not wanted changes nothing.
template <class T>
Outputs<T> all_gradients(
    const Shape& s, const Inputs<T>& in, const Outputs<T>& apart, const Deal& d, int level, const std::string& where) {
  Outputs<T> out = unwritten(s, in);
  out.h = apart.h, out.c = apart.c, out.gates = apart.gates;
  Outputs<T> without = out;
  without.dx = {};
  scan_all_gradients(s, in, out, d, level);
  scan_all_gradients(s, in, without, d, level);
  for (const auto scanned : {&Outputs<T>::dx, &Outputs<T>::dh0, &Outputs<T>::dc0, &Outputs<T>::dpeepholes})
    if (!same_bits(out.*scanned, apart.*scanned))
      fail(where + ": dx or a state's gradient depends on what else is wanted");
  without.dx = out.dx;
  check_same_bits(named(without), named(out), where + ", without dx");
  return out;
}

// Outputs that the caller may leave out: the others do not depend on them.
template <class T>
void check_unwanted(const Shape& s, const Inputs<T>& in, const Outputs<T>& all, int level, const std::string& where) {
  constexpr Deal one_share{1, 1};
  const T nan = std::numeric_limits<T>::quiet_NaN();
  Outputs<T> out = all;
  out.dx.assign(out.dx.size(), nan);
  out.dh0 = out.dc0 = out.dpeepholes = {};
  scan_backward(s, in, out, one_share, level);
  if (!same_bits(out.dx, all.dx)) fail(where + ": dx depends on whether a state's gradient is wanted");
  ++checks;

  for (const auto wanted : {&Outputs<T>::dweight, &Outputs<T>::dweight_ih, &Outputs<T>::dbias}) {
    Outputs<T> alone = all;
    alone.dweight = alone.dweight_ih = alone.dbias = {};
    (alone.*wanted).assign((all.*wanted).size(), nan);
    scan_weight_gradient(s, in, alone, one_share, level);
    if (!same_bits(alone.*wanted, all.*wanted)) fail(where + ": a weight gradient depends on which others are wanted");
    ++checks;
  }
}

// Of all instruction sets and deals, the largest error. also(out, deal, level, where) has what else holds of the first
// scan of every number of shares.
template <class T, class Also> double check_scan(
    const Shape& s, const Inputs<T>& in, const Outputs<double>& expected, const std::string& name, const Also& also) {
  double error = 0;
  for (int level = first_level(); level <= cpu::best_instruction_set(); ++level) {
    const std::string what = std::string(kTypeName<T>) + ", " + name + ", " + cpu::instruction_set_name(level);
    Deal last{0, 0};
    Outputs<T> first_out, last_out;
    for (const Deal& d : kDeals) {
      const std::string where =
          what + ", " + std::to_string(d.shares) + " shares on " + std::to_string(d.threads) + " threads";
      Outputs<T> out = scan(s, in, d, level, where);
      const Outputs<T> at_once = all_gradients(s, in, out, d, level, where);
      out.dinput = at_once.dinput;
      if (d.shares == last.shares) {
        check_same_bits(named(out), named(last_out), where);
        continue;
      }
      error = std::max({error, check_close(of_pixels(s, out), expected, where),
          check_close(of_pixels(s, at_once), expected, where + ", at once")});
      for (const auto& a : named(out)) add_to_hash(a.name, level, a.values);
      if (d.shares == 1) check_unwanted(s, in, out, level, where);
      if (d.shares == 1) first_out = out;
      check_same_bits(of_images(out), of_images(first_out), where + ", as of one share");
      also(out, d, level, where);
      last = d, last_out = out;
    }
  }
  return error;
}

}  // namespace check
