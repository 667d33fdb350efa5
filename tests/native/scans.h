// What the checks of scans share: their buffers, the scan under test, and what holds of every scan.
#pragma once
#include "../../csrc/cpu/scan.h"
#include "check.h"

namespace check {

using cpu::Merge;
using cpu::Shape;
using pixelrnn::Formula;

// What is given; the input is, where the shape has channels.
struct Given { bool x = false, bias = false, h0 = false, c0 = false, peephole = false; };

template <class T> struct Inputs {
  std::vector<T> x, weight, h0, c0, input, weight_ih, bias, peephole, dh;
  Merge merge = Merge::kNone;  // dh is merged with it
  Formula formula = Formula::kStable;
  double scale = 1;
};
template <class T> struct Outputs {
  std::vector<T> merged, h, c, gates, dx, dh0, dc0, dinput, dweight, dweight_ih, dbias, dpeephole;
};

template <class T> struct Named {
  const char* name;
  const std::vector<T>& values;
};
template <class T> std::vector<Named<T>> named(const Inputs<T>& a) {
  return {{"x", a.x}, {"weight", a.weight}, {"h0", a.h0}, {"c0", a.c0}, {"input", a.input}, {"weight_ih", a.weight_ih},
      {"bias", a.bias}, {"peephole", a.peephole}, {"dh", a.dh}};
}
template <class T> std::vector<Named<T>> named(const Outputs<T>& a) {
  return {{"merged", a.merged}, {"h", a.h}, {"c", a.c}, {"gates", a.gates}, {"dx", a.dx}, {"dh0", a.dh0},
      {"dc0", a.dc0}, {"dinput", a.dinput}, {"dweight", a.dweight}, {"dweight_ih", a.dweight_ih}, {"dbias", a.dbias},
      {"dpeephole", a.dpeephole}};
}
// The outputs that are no sums over images, whose order depends on the shares.
template <class T> std::vector<Named<T>> of_images(const Outputs<T>& a) {
  return {{"merged", a.merged}, {"h", a.h}, {"c", a.c}, {"gates", a.gates}, {"dx", a.dx}, {"dh0", a.dh0},
      {"dc0", a.dc0}, {"dinput", a.dinput}, {"dpeephole", a.dpeephole}};
}

inline int64_t pixels(const Shape& s) { return int64_t(s.images) * s.height * s.width; }
inline int64_t weights(const Shape& s, int taps, int channels) {
  return int64_t(s.directions) * taps * s.columns() * channels;
}

template <class T> Inputs<T> random_inputs(const Shape& s, const Given& given, Merge merge) {
  const int64_t maps = s.directions * pixels(s), states = int64_t(s.directions) * s.hidden;
  Inputs<T> in;
  in.merge = merge;
  in.x = random<T>(given.x ? maps * s.columns() : 0, 1);
  in.weight = random<T>(weights(s, s.taps, s.hidden), 1 / std::sqrt(s.taps * s.hidden));
  in.h0 = random<T>(given.h0 ? states : 0, 1);
  in.c0 = random<T>(given.c0 ? states : 0, 1);
  in.input = random<T>(pixels(s) * s.input_channels, 1);
  in.weight_ih = random<T>(weights(s, s.input_taps, s.input_channels), 1);
  in.bias = random<T>(given.bias ? states * s.gates : 0, 1);
  in.peephole = random<T>(given.peephole ? 4 * states : 0, 1);
  in.dh = random<T>((merge == Merge::kNone ? maps : pixels(s)) * s.hidden, 1);
  return in;
}

// Outputs full of NaNs.
template <class T> Outputs<T> unwritten(const Shape& s, const Inputs<T>& in) {
  constexpr T value = std::numeric_limits<T>::quiet_NaN();
  const int64_t maps = s.directions * pixels(s), states = int64_t(s.directions) * s.hidden;
  Outputs<T> out;
  if (in.merge != Merge::kNone) out.merged.assign(pixels(s) * s.hidden, value);
  for (auto* map : {&out.h, &out.c}) map->assign(maps * s.hidden, value);
  for (auto* map : {&out.gates, &out.dx}) map->assign(maps * s.columns(), value);
  for (auto* state : {&out.dh0, &out.dc0}) state->assign(states * s.images, value);
  out.dinput.assign(pixels(s) * s.input_channels, value);
  out.dweight.assign(weights(s, s.taps, s.hidden), value);
  out.dweight_ih.assign(weights(s, s.input_taps, s.input_channels), value);
  out.dbias.assign(states * s.gates, value);
  out.dpeephole.assign(in.peephole.size() * s.images, value);
  return out;
}

// Maps, of which an image may fill only the top left.

// Everything that has pixels is [maps][images][height][width][values].
struct Layout { int maps, values; };
inline Layout of_c(const Shape& s) { return {s.directions, s.hidden}; }
inline Layout of_gates(const Shape& s) { return {s.directions, s.columns()}; }
inline Layout of_input(const Shape& s) { return {1, s.input_channels}; }
inline Layout of_h(const Shape& s) { return {1, s.directions * s.hidden}; }
inline Layout of_merged(const Shape& s) { return {1, s.hidden}; }
template <class T> Layout of_dh(const Shape& s, const Inputs<T>& in) {
  return in.merge == Merge::kNone ? of_h(s) : of_merged(s);
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

// Comparisons.

template <class T>
void check_same_bits(const std::vector<Named<T>>& a, const std::vector<Named<T>>& b, const std::string& where) {
  for (size_t i = 0; i < a.size(); ++i, ++checks)
    if (!same_bits(a[i].values, b[i].values)) fail(where + ": " + a[i].name + " has changed");
}

// The scan under test.

// How weights lie: [directions][taps][hidden][gates][channels], or as a layer's parameters,
// [directions][gates][hidden][channels][taps].
using Lie = bool;
constexpr Lie kDense = false, kAsParameters = true;
template <class T> cpu::Weights<T> weights(const Shape& s, T* data, int64_t taps, int64_t channels, Lie lie) {
  const int64_t unit = s.gates * channels, all = s.hidden * unit * taps;
  if (lie == kDense) return {data, all, s.hidden * unit, unit, channels, 1};
  return {data, all, 1, channels * taps, s.hidden * channels * taps, taps};
}
template <class V> auto weight(const Shape& s, V& values, Lie lie) {
  return weights(s, data(values), s.taps, s.hidden, lie);
}
template <class V> auto weight_ih(const Shape& s, V& values, Lie lie) {
  return weights(s, data(values), s.input_taps, s.input_channels, lie);
}
template <class V> auto bias(const Shape& s, V& values, Lie lie) { return weights(s, data(values), 1, 1, lie); }
template <class T> pixelrnn::Cell<T> cell_of(const Inputs<T>& in) {
  return {in.formula, T(in.scale), data(in.peephole)};
}

template <class T>
void forward(const Shape& s, const Inputs<T>& in, Outputs<T>& out, const Deal& d, int level, Lie lie) {
  cpu::forward<T>(s,
      {data(in.x), weight(s, in.weight, lie), data(in.h0), data(in.c0), data(in.input), weight_ih(s, in.weight_ih, lie),
          bias(s, in.bias, lie), data(out.h), data(out.c), data(out.gates), in.merge, data(out.merged), cell_of(in)},
      team(d), level);
}
// The gradients that have a buffer.
template <class T>
void backward(const Shape& s, const Inputs<T>& in, Outputs<T>& out, const Deal& d, int level, Lie lie) {
  cpu::backward<T>(s,
      {data(in.dh), weight(s, in.weight, lie), data(in.h0), data(in.c0), data(out.h), data(out.c), data(out.gates),
          data(in.input), weight_ih(s, in.weight_ih, lie), data(out.dx), data(out.dh0), data(out.dc0), data(out.dinput),
          {weight(s, out.dweight, lie), weight_ih(s, out.dweight_ih, lie), bias(s, out.dbias, lie)}, in.merge,
          cell_of(in), data(out.dpeephole)},
      team(d), level);
}

// What holds of every scan.

// Every output is written, and by numbers of the images: maps are NaN outside of them. Only c and gates say nothing
// there.
template <class T> void check_numbers(const Outputs<T>& out, const std::string& where) {
  for (const Named<T>& output : named(out))
    if (&output.values != &out.c && &output.values != &out.gates && has_nan(output.values))
      fail(where + ": " + output.name + " has a NaN");
  ++checks;
}

// Both passes. The backward may change nothing that the forward has written.
template <class T>
Outputs<T> scan(const Shape& s, const Inputs<T>& in, const Deal& d, int level, Lie lie, const std::string& where) {
  const Inputs<T> in_before = in;
  Outputs<T> out = unwritten(s, in);
  forward(s, in, out, d, level, lie);
  const Outputs<T> of_forward = out;
  backward(s, in, out, d, level, lie);
  check_same_bits(named(in), named(in_before), where);
  check_numbers(out, where);
  for (const auto map : {&Outputs<T>::merged, &Outputs<T>::h, &Outputs<T>::c, &Outputs<T>::gates})
    if (!same_bits(out.*map, of_forward.*map)) fail(where + ": the backward has changed h, c, gates or the merged map");
  ++checks;
  return out;
}

// Gradients that the caller may leave out: the others do not depend on them.
template <class T>
void check_unwanted(const Shape& s, const Inputs<T>& in, const Outputs<T>& all, const Deal& d, int level, Lie lie,
    const std::string& where) {
  using Member = std::vector<T> Outputs<T>::*;
  const std::initializer_list<Member> gradients = {&Outputs<T>::dx, &Outputs<T>::dh0, &Outputs<T>::dc0,
      &Outputs<T>::dinput, &Outputs<T>::dweight, &Outputs<T>::dweight_ih, &Outputs<T>::dbias, &Outputs<T>::dpeephole};
  const auto check_some = [&](Member one, bool alone) {  // that gradient alone, or all gradients but that one
    Outputs<T> out = unwritten(s, in), expected = all;
    out.merged = all.merged, out.h = all.h, out.c = all.c, out.gates = all.gates;
    for (Member gradient : gradients)
      if ((gradient == one) != alone) out.*gradient = expected.*gradient = {};
    backward(s, in, out, d, level, lie);
    check_same_bits(named(out), named(expected), where + (alone ? ", one gradient alone" : ", all gradients but one"));
  };
  check_some(&Outputs<T>::dx, false);
  if (d.shares == 1)
    for (Member gradient : gradients) check_some(gradient, true);
}

// Every instruction set and deal of one case: all are close to the first. Cases of one kind share their hashes.
template <class T>
void check_scan(const Shape& s, const Inputs<T>& in, const std::string& kind, const std::string& name, Lie lie) {
  Outputs<T> by_first;
  for (int level = first_level(); level <= cpu::best_instruction_set(); ++level) {
    const std::string what =
        std::string(kTypeName<T>) + ", " + kind + ", " + name + ", " + cpu::instruction_set_name(level);
    Deal last{0, 0};
    Outputs<T> first_out, last_out;
    for (const Deal& d : kDeals) {
      const std::string where =
          what + ", " + std::to_string(d.shares) + " shares on " + std::to_string(d.threads) + " threads";
      const Outputs<T> out = scan(s, in, d, level, lie, where);
      check_unwanted(s, in, out, d, level, lie, where);
      if (d.shares == last.shares) {
        check_same_bits(named(out), named(last_out), where);
        continue;
      }
      for (const auto& a : named(out)) add_to_hash(kind + ": " + a.name, level, a.values);
      if (d.shares == 1) first_out = out;
      if (d.shares == 1 && level == first_level()) by_first = out;
      const auto expected = named(by_first), got = named(out);
      for (size_t i = 0; d.shares == 1 && i < got.size(); ++i)
        check_close(got[i].name, got[i].values, expected[i].values, where);
      check_same_bits(of_images(out), of_images(first_out), where + ", as of one share");
      last = d, last_out = out;
    }
  }
}

}  // namespace check
