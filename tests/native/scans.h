#pragma once
#include "../../csrc/cpu/scan.h"
#include "check.h"

namespace check {

using cpu::Merge;
using cpu::Shape;
using pixelrnn::Formula;

struct Operands { bool x = false, bias = false, h0 = false, c0 = false, peephole = false; };

// kDense weights are [directions][taps][hidden][gates][channels]. kAsParameters weights are
// [directions][gates][hidden][channels][taps], as in a layer's parameters.
using Layout = bool;
constexpr Layout kDense = false, kAsParameters = true;
// The numbers of inputs and outputs have the type of sums. The functions forward and backward convert them to the
// formats that the kernels take.
template <class T> struct Inputs {
  std::vector<cpu::Sum<T>> x, weight, h0, c0, input, weight_ih, bias, peephole, dh;
  Merge merge = Merge::kNone;
  Formula formula = Formula::kStable;
  double scale = 1;
  Layout layout = kDense;
};
template <class T> struct Outputs {
  std::vector<cpu::Sum<T>> merged, h, c, gates, dx, dh0, dc0, dinput, dweight, dweight_ih, dbias, dpeephole;
};

template <class T>
constexpr std::vector<cpu::Sum<T>> Inputs<T>::* kInputs[] = {&Inputs<T>::x, &Inputs<T>::weight, &Inputs<T>::h0,
    &Inputs<T>::c0, &Inputs<T>::input, &Inputs<T>::weight_ih, &Inputs<T>::bias, &Inputs<T>::peephole, &Inputs<T>::dh};
constexpr int kForwardOutputs = 4, kOutputCount = 12;
#define OUTPUT(name) #name, &Outputs<T>::name
template <class T> constexpr Output<Outputs<T>, T> kOutputs[kOutputCount] = {{OUTPUT(merged)}, {OUTPUT(h)}, {OUTPUT(c)},
    {OUTPUT(gates)}, {OUTPUT(dx)}, {OUTPUT(dh0)}, {OUTPUT(dc0)}, {OUTPUT(dinput)}, {OUTPUT(dweight), true},
    {OUTPUT(dweight_ih), true}, {OUTPUT(dbias), true}, {OUTPUT(dpeephole)}};
#undef OUTPUT

inline int64_t pixels(const Shape& s) { return int64_t(s.images) * s.height * s.width; }
inline int64_t weights(const Shape& s, int taps, int channels) {
  return int64_t(s.directions) * taps * s.columns() * channels;
}

template <class T> Inputs<T> random_inputs(const Shape& s, const Operands& operands, Merge merge) {
  const int64_t maps = s.directions * pixels(s), states = int64_t(s.directions) * s.hidden;
  Inputs<T> in;
  in.merge = merge;
  in.x = random<T>(operands.x ? maps * s.columns() : 0, 1);
  in.weight = random<T>(weights(s, s.taps, s.hidden), 1 / std::sqrt(s.taps * s.hidden));
  in.h0 = random<T>(operands.h0 ? states : 0, 1);
  in.c0 = random<cpu::Sum<T>>(operands.c0 ? states : 0, 1);
  in.input = random<T>(pixels(s) * s.input_channels, 1);
  in.weight_ih = random<T>(weights(s, s.input_taps, s.input_channels), 1);
  in.bias = random<T>(operands.bias ? states * s.gates : 0, 1);
  in.peephole = random<cpu::Sum<T>>(operands.peephole ? 4 * states : 0, 1);
  in.dh = random<T>((merge == Merge::kNone ? maps : pixels(s)) * s.hidden, 1);
  return in;
}

template <class T> Outputs<T> nan_outputs(const Shape& s, const Inputs<T>& in) {
  constexpr auto value = std::numeric_limits<cpu::Sum<T>>::quiet_NaN();
  const int64_t maps = s.directions * pixels(s), states = int64_t(s.directions) * s.hidden;
  Outputs<T> out;
  if (in.merge != Merge::kNone) out.merged.assign(pixels(s) * s.hidden, value);
  for (auto* map : {&out.h, &out.c}) map->assign(maps * s.hidden, value);
  for (auto* map : {&out.gates, &out.dx}) map->assign(maps * s.columns(), value);
  for (auto* state : {&out.dh0, &out.dc0}) state->assign(states * s.images, value);
  out.dinput.assign(in.input.size(), value);
  out.dweight.assign(in.weight.size(), value);
  out.dweight_ih.assign(in.weight_ih.size(), value);
  out.dbias.assign(states * s.gates, value);
  out.dpeephole.assign(in.peephole.size() * s.images, value);
  return out;
}

// Fills a feature map [maps][images][height][width][values] with NaN outside the images, where no kernel may read.
template <class T> void poison_outside(const Shape& s, std::vector<T>& map, int maps, int values) {
  if (!s.sizes) return;
  T* value = map.data();
  for (int i = 0; i < maps; ++i)
    for (int b = 0; b < s.images; ++b)
      for (int row = 0; row < s.height; ++row)
        for (int column = 0; column < s.width; ++column, value += values)
          if (row >= s.sizes[b].height || column >= s.sizes[b].width)
            std::fill(value, value + values, std::numeric_limits<T>::quiet_NaN());
}

template <class T> cpu::Weights<T> weights(const Shape& s, T* data, int64_t taps, int64_t channels, Layout layout) {
  const int64_t unit = s.gates * channels, all = s.hidden * unit * taps;
  if (layout == kDense) return {data, all, s.hidden * unit, unit, channels, 1};
  return {data, all, 1, channels * taps, s.hidden * channels * taps, taps};
}
template <class V> auto weight(const Shape& s, V& values, Layout layout) {
  return weights(s, data(values), s.taps, s.hidden, layout);
}
template <class V> auto weight_ih(const Shape& s, V& values, Layout layout) {
  return weights(s, data(values), s.input_taps, s.input_channels, layout);
}
template <class V> auto bias(const Shape& s, V& values, Layout layout) {
  return weights(s, data(values), 1, 1, layout);
}
template <class T> pixelrnn::CellParameters<cpu::Sum<T>> cell_of(const Inputs<T>& in) {
  return {in.formula, cpu::Sum<T>(in.scale), data(in.peephole)};
}

template <class T>
void forward(const Shape& s, const Inputs<T>& in, Outputs<T>& out, TeamSize d, int level) {
  const auto x = converted<T>(in.x), w = converted<T>(in.weight), h0 = converted<T>(in.h0),
             input = converted<T>(in.input), w_ih = converted<T>(in.weight_ih), b = converted<T>(in.bias);
  auto h = converted<T>(out.h), merged = converted<T>(out.merged);
  auto gates = converted<cpu::Gate<T>>(out.gates);
  cpu::forward<T>(s,
      {data(x), weight(s, w, in.layout), data(h0), data(in.c0), data(input), weight_ih(s, w_ih, in.layout),
          bias(s, b, in.layout), data(h), data(out.c), data(gates), in.merge, data(merged), cell_of(in)},
      team(d), level);
  using Sum = cpu::Sum<T>;
  out.h = converted<Sum>(h), out.merged = converted<Sum>(merged), out.gates = converted<Sum>(gates);
}
// Computes the gradients whose vector in `out` is not empty.
template <class T>
void backward(const Shape& s, const Inputs<T>& in, Outputs<T>& out, TeamSize d, int level) {
  const auto dh = converted<T>(in.dh), w = converted<T>(in.weight), h0 = converted<T>(in.h0), h = converted<T>(out.h),
             input = converted<T>(in.input), w_ih = converted<T>(in.weight_ih);
  const auto gates = converted<cpu::Gate<T>>(out.gates);
  auto dx = converted<T>(out.dx), dinput = converted<T>(out.dinput), dw = converted<T>(out.dweight),
       dw_ih = converted<T>(out.dweight_ih), db = converted<T>(out.dbias);
  cpu::backward<T>(s,
      {data(dh), weight(s, w, in.layout), data(h0), data(in.c0), data(h), data(out.c), data(gates), data(input),
          weight_ih(s, w_ih, in.layout), data(dx), data(out.dh0), data(out.dc0), data(dinput),
          {weight(s, dw, in.layout), weight_ih(s, dw_ih, in.layout), bias(s, db, in.layout)}, in.merge, cell_of(in),
          data(out.dpeephole)},
      team(d), level);
  using Sum = cpu::Sum<T>;
  out.dx = converted<Sum>(dx), out.dinput = converted<Sum>(dinput), out.dweight = converted<Sum>(dw),
  out.dweight_ih = converted<Sum>(dw_ih), out.dbias = converted<Sum>(db);
}

// Neither pass may change an input, and the backward may not change an output of the forward. No output may have a NaN,
// except c and gates, which are not written outside the images.
template <class T>
Outputs<T> scan(const Shape& s, const Inputs<T>& in, TeamSize d, int level) {
  const Inputs<T> in_before = in;
  Outputs<T> out = nan_outputs(s, in);
  forward(s, in, out, d, level);
  const Outputs<T> out_before = out;
  backward(s, in, out, d, level);
  for (const auto input : kInputs<T>) check_same_bits("an input", in.*input, in_before.*input);
  for (int i = 0; i < kOutputCount; ++i) {
    const auto& [name, values, is_sum] = kOutputs<T>[i];
    if (i < kForwardOutputs) check_same_bits(name + std::string(" in backward"), out.*values, out_before.*values);
    if (values != &Outputs<T>::c && values != &Outputs<T>::gates && has_nan(out.*values))
      fail(name + std::string(" has a NaN"));
  }
  return out;
}

template <class T>
void check_subsets(const Shape& s, const Inputs<T>& in, const Outputs<T>& all, TeamSize d, int level) {
  // Computes only output `index`, or all others if `alone` is false.
  const auto check_subset = [&](int index, bool alone) {
    Outputs<T> out = nan_outputs(s, in), expected = all;
    for (int i = 0; i < kOutputCount; ++i) {
      const auto values = kOutputs<T>[i].values;
      if (i < kForwardOutputs) out.*values = all.*values;
      else if ((i == index) != alone) out.*values = expected.*values = {};
    }
    backward(s, in, out, d, level);
    for (const auto& [name, values, is_sum] : kOutputs<T>)
      check_same_bits(name + std::string(alone ? " alone" : " without dx"), out.*values, expected.*values);
  };
  check_subset(kForwardOutputs, false);
  if (d.shares == 1)
    for (int i = kForwardOutputs; i < kOutputCount; ++i) check_subset(i, true);
}

template <class T>
void check_scan(const Shape& s, const Inputs<T>& in, const std::string& kind, const std::string& name) {
  const auto run = [&](TeamSize d, int level) {
    const Outputs<T> out = scan(s, in, d, level);
    check_subsets(s, in, out, d, level);
    return out;
  };
  check_teams(kOutputs<T>, kind + ": ", kind + ", " + name, run);
}

}  // namespace check
