// Checks of the scan on a CPU (csrc/cpu) against a scalar implementation in double, cell by cell in image coordinates.
// No framework is needed, so this can run under the sanitizers: tests/test_native_checks.py builds and runs it.
//
//   check_scan [short] [best]    short: fewer sizes, for a slow build; best: the best instruction set only
#include "check.h"

#include "../../csrc/cpu/kernels.h"
#include "../../csrc/cpu/scan.h"

namespace {

using namespace check;
using cpu::Shape;

// What is scanned.

struct Kind {
  const char* name;
  bool diagonal;
  int taps;
};
const Kind kKinds[] = {
    {"Row, 1 tap", false, 1},
    {"Row, 3 taps", false, 3},
    {"Row, 5 taps", false, 5},
    {"Diagonal", true, 2},
};

struct Size {
  const char* name;
  int images, height, width, hidden;
  bool in_short_list;
};
const Size kSizes[] = {
    {"one pixel", 1, 1, 1, 1, true},
    {"one row", 2, 1, 6, 33, true},
    {"one column", 2, 6, 1, 16, false},
    {"tall", 1, 7, 3, 7, true},
    {"wide", 1, 3, 9, 16, true},
    {"square, many units", 1, 4, 4, 64, false},
    {"few images together", 3, 2, 3, 16, false},
    {"images shared out", 7, 4, 4, 7, true},
    {"long lines", 2, 2, 131, 1, false},
};

struct Options {
  const char* name;
  int directions;
  bool reverse, x;
  int input_channels, input_taps;
  bool bias, h0, c0;
};
const Options kOptions[] = {
    {"x", 1, false, true, 0, 0, false, false, false},
    {"x, h0, reversed", 1, true, true, 0, 0, false, true, false},
    {"input, bias, c0, reversed", 1, true, false, 5, 3, true, false, true},
    {"input, two directions reversed", 2, true, false, 3, 1, false, false, false},
    {"everything, two directions", 2, false, true, 3, 3, true, true, true},
};

// Buffers.

template <class T> struct Inputs { std::vector<T> x, weight, h0, c0, input, weight_ih, bias, dh; };
template <class T> struct Outputs { std::vector<T> h, c, gates, dx, dh0, dc0, dinput, dweight, dweight_ih, dbias; };

template <class T> struct Named {
  const char* name;
  const std::vector<T>& values;
};
template <class T> std::vector<Named<T>> named(const Inputs<T>& a) {
  return {{"x", a.x}, {"weight", a.weight}, {"h0", a.h0}, {"c0", a.c0}, {"input", a.input}, {"weight_ih", a.weight_ih},
      {"bias", a.bias}, {"dh", a.dh}};
}
template <class T> std::vector<Named<T>> named(const Outputs<T>& a) {
  return {{"h", a.h}, {"c", a.c}, {"gates", a.gates}, {"dx", a.dx}, {"dh0", a.dh0}, {"dc0", a.dc0},
      {"dinput", a.dinput}, {"dweight", a.dweight}, {"dweight_ih", a.dweight_ih}, {"dbias", a.dbias}};
}

Shape shape_of(const Kind& kind, const Size& size, const Options& options) {
  Shape s{options.directions, size.images, size.height, size.width, size.hidden, kind.diagonal, {}, kind.taps,
      options.input_channels, options.input_taps};
  set_corners(s, options.reverse);
  return s;
}

int64_t cells(const Shape& s) { return int64_t(s.directions) * s.images * s.height * s.width; }
int64_t weights(const Shape& s) { return int64_t(s.directions) * s.taps * s.hidden * 4 * s.hidden; }
int64_t input_weights(const Shape& s) { return int64_t(s.directions) * s.input_taps * s.hidden * 4 * s.input_channels; }

template <class T> Inputs<T> random_inputs(const Shape& s, const Options& options) {
  const int64_t maps = cells(s) * s.hidden, states = int64_t(s.directions) * s.hidden;
  Inputs<T> in;
  in.x = random<T>(options.x ? maps * 4 : 0, 1);
  in.weight = random<T>(weights(s), 1 / std::sqrt(s.taps * s.hidden));
  in.h0 = random<T>(options.h0 ? states : 0, 1);
  in.c0 = random<T>(options.c0 ? states : 0, 1);
  in.input = random<T>(int64_t(s.images) * s.height * s.width * s.input_channels, 1);
  in.weight_ih = random<T>(input_weights(s), 1);
  in.bias = random<T>(options.bias ? states * 4 : 0, 1);
  in.dh = random<T>(maps, 1);
  return in;
}

template <class T> Outputs<T> outputs_of(const Shape& s, T value) {
  const int64_t maps = cells(s) * s.hidden, states = int64_t(s.directions) * s.hidden;
  Outputs<T> out;
  for (auto* map : {&out.h, &out.c}) map->assign(maps, value);
  for (auto* map : {&out.gates, &out.dx}) map->assign(maps * 4, value);
  for (auto* state : {&out.dh0, &out.dc0}) state->assign(states * s.images, value);
  out.dinput.assign(int64_t(s.images) * s.height * s.width * s.input_channels, value);
  out.dweight.assign(weights(s), value);
  out.dweight_ih.assign(input_weights(s), value);
  out.dbias.assign(states * 4, value);
  return out;
}

// The scalar implementation.

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// One direction. Columns are counted in the order of the scan: from the right where it runs from right to left.
class Reference {
 public:
  Reference(const Shape& s, int direction, const Inputs<double>& in, Outputs<double>& out)
      : s_(s), direction_(direction), in_(in), out_(out), dh_(in.dh), dc_(in.dh.size(), 0.) {}

  void forward() {
    for (int image = 0; image < s_.images; ++image)
      for (int row = 0; row < s_.height; ++row)
        for (int column = 0; column < s_.width; ++column) forward({image, row, column});
  }
  void backward() {
    for (int image = 0; image < s_.images; ++image)
      for (int row = s_.height - 1; row >= 0; --row)
        for (int column = s_.width - 1; column >= 0; --column) backward({image, row, column});
  }

 private:
  struct Pixel { int image, row, column; };

  Pixel state_tap(Pixel p, int k) const {
    if (!s_.diagonal) return {p.image, p.row - 1, p.column + k - s_.taps / 2};
    return k == 0 ? Pixel{p.image, p.row - 1, p.column} : Pixel{p.image, p.row, p.column - 1};
  }
  Pixel input_tap(Pixel p, int k) const { return {p.image, p.row, p.column + k - s_.input_taps / 2}; }
  Pixel carry(Pixel p) const {
    return s_.diagonal ? Pixel{p.image, p.row, p.column - 1} : Pixel{p.image, p.row - 1, p.column};
  }
  bool inside(Pixel p) const { return p.row >= 0 && p.column >= 0 && p.column < s_.width; }

  int64_t image_index(Pixel p) const {
    const bool from_the_right = s_.corner[direction_].right;
    return (int64_t(p.image) * s_.height + p.row) * s_.width + (from_the_right ? s_.width - 1 - p.column : p.column);
  }
  // Indices of unit u, or of gate g of unit u.
  int64_t at(Pixel p, int u) const {
    return (int64_t(direction_) * s_.images * s_.height * s_.width + image_index(p)) * s_.hidden + u;
  }
  int64_t at(Pixel p, int u, int g) const { return at(p, u) * 4 + g; }
  int64_t state_at(int u) const { return int64_t(direction_) * s_.hidden + u; }
  int64_t image_state_at(Pixel p, int u) const { return (int64_t(direction_) * s_.images + p.image) * s_.hidden + u; }
  int64_t weight_at(int k, int u, int g, int v) const {
    return (((int64_t(direction_) * s_.taps + k) * s_.hidden + u) * 4 + g) * s_.hidden + v;
  }
  int64_t input_weight_at(int k, int u, int g, int channel) const {
    return (((int64_t(direction_) * s_.input_taps + k) * s_.hidden + u) * 4 + g) * s_.input_channels + channel;
  }
  double input(Pixel p, int channel) const {
    return inside(p) ? in_.input[image_index(p) * s_.input_channels + channel] : 0;
  }
  double h(Pixel p, int u) const { return inside(p) ? out_.h[at(p, u)] : in_.h0.empty() ? 0 : in_.h0[state_at(u)]; }
  double c(Pixel p, int u) const { return inside(p) ? out_.c[at(p, u)] : in_.c0.empty() ? 0 : in_.c0[state_at(u)]; }

  double pre_activation(Pixel p, int u, int g) const {
    double z = in_.x.empty() ? 0 : in_.x[at(p, u, g)];
    if (!in_.bias.empty()) z += in_.bias[state_at(u) * 4 + g];
    for (int k = 0; k < s_.taps; ++k)
      for (int v = 0; v < s_.hidden; ++v) z += in_.weight[weight_at(k, u, g, v)] * h(state_tap(p, k), v);
    for (int k = 0; k < s_.input_taps; ++k)
      for (int channel = 0; channel < s_.input_channels; ++channel)
        z += in_.weight_ih[input_weight_at(k, u, g, channel)] * input(input_tap(p, k), channel);
    return z;
  }

  void forward(Pixel p) {
    for (int u = 0; u < s_.hidden; ++u) {
      double* gates = &out_.gates[at(p, u, 0)];
      for (int g = 0; g < 4; ++g) {
        const double z = pre_activation(p, u, g);
        gates[g] = g == 2 ? std::tanh(z) : sigmoid(z);
      }
      out_.c[at(p, u)] = gates[1] * c(carry(p), u) + gates[0] * gates[2];
      out_.h[at(p, u)] = gates[3] * std::tanh(out_.c[at(p, u)]);
    }
  }

  // dh_ and dc_ hold what all later pixels have added to the gradients of h and c of this one.
  void backward(Pixel p) {
    for (int u = 0; u < s_.hidden; ++u) {
      const double *gates = &out_.gates[at(p, u, 0)], i = gates[0], f = gates[1], g = gates[2], o = gates[3];
      const double tanh_c = std::tanh(out_.c[at(p, u)]), dh = dh_[at(p, u)];
      const double dc = dc_[at(p, u)] + dh * o * (1 - tanh_c * tanh_c);
      double* dz = &out_.dx[at(p, u, 0)];
      dz[0] = dc * g * i * (1 - i);
      dz[1] = dc * c(carry(p), u) * f * (1 - f);
      dz[2] = dc * i * (1 - g * g);
      dz[3] = dh * tanh_c * o * (1 - o);
      (inside(carry(p)) ? dc_[at(carry(p), u)] : out_.dc0[image_state_at(p, u)]) += dc * f;
    }
    for (int u = 0; u < s_.hidden; ++u)
      for (int g = 0; g < 4; ++g) backward(p, u, g, out_.dx[at(p, u, g)]);
  }
  void backward(Pixel p, int u, int g, double dz) {
    out_.dbias[state_at(u) * 4 + g] += dz;
    for (int k = 0; k < s_.taps; ++k) {
      const Pixel from = state_tap(p, k);
      for (int v = 0; v < s_.hidden; ++v) {
        out_.dweight[weight_at(k, u, g, v)] += dz * h(from, v);
        (inside(from) ? dh_[at(from, v)] : out_.dh0[image_state_at(from, v)]) += dz * in_.weight[weight_at(k, u, g, v)];
      }
    }
    for (int k = 0; k < s_.input_taps; ++k)
      for (int channel = 0; channel < s_.input_channels; ++channel) {
        const Pixel from = input_tap(p, k);
        const int64_t weight = input_weight_at(k, u, g, channel);
        out_.dweight_ih[weight] += dz * input(from, channel);
        if (inside(from)) out_.dinput[image_index(from) * s_.input_channels + channel] += dz * in_.weight_ih[weight];
      }
  }

  const Shape s_;
  const int direction_;
  const Inputs<double>& in_;
  Outputs<double>& out_;
  std::vector<double> dh_, dc_;
};

template <class T> Outputs<double> reference(const Shape& s, const Inputs<T>& in) {
  const Inputs<double> exact{to_double(in.x), to_double(in.weight), to_double(in.h0), to_double(in.c0),
      to_double(in.input), to_double(in.weight_ih), to_double(in.bias), to_double(in.dh)};
  Outputs<double> out = outputs_of(s, 0.);
  for (int direction = 0; direction < s.directions; ++direction) {
    Reference scan(s, direction, exact, out);
    scan.forward();
    scan.backward();
  }
  return out;
}

// Comparisons.

template <class Buffers> void check_same_bits(const Buffers& got, const Buffers& expected, const std::string& where) {
  const auto a = named(got), b = named(expected);
  for (size_t i = 0; i < a.size(); ++i, ++checks)
    if (!same_bits(a[i].values, b[i].values)) fail(where + ": " + a[i].name + " has changed");
}

template <class T>
double check_close(const Outputs<T>& got, const Outputs<double>& expected, const std::string& where) {
  const auto a = named(got);
  const auto b = named(expected);
  double error = 0;
  for (size_t i = 0; i < a.size(); ++i)
    error = std::max(error, check::check_close(a[i].name, a[i].values, b[i].values, where));
  return error;
}

// The scan under test.

template <class T> cpu::Weights<T> dense(T* data, int taps, int64_t hidden, int channels) {
  return cpu::Weights<T>::dense(data, taps, hidden, channels);
}
template <class V> auto weight(const Shape& s, V& values) { return dense(data(values), s.taps, s.hidden, s.hidden); }
template <class V> auto weight_ih(const Shape& s, V& values) {
  return dense(data(values), s.input_taps, s.hidden, s.input_channels);
}
template <class V> auto bias(const Shape& s, V& values) { return dense(data(values), 1, s.hidden, 1); }

template <class T> void scan_forward(const Shape& s, const Inputs<T>& in, Outputs<T>& out, const Deal& d, int level) {
  cpu::forward<T>(s,
      {data(in.x), weight(s, in.weight), data(in.h0), data(in.c0), data(in.input), weight_ih(s, in.weight_ih),
          bias(s, in.bias), data(out.h), data(out.c), data(out.gates)},
      team(d), level);
}
template <class T> void scan_backward(const Shape& s, const Inputs<T>& in, Outputs<T>& out, const Deal& d, int level) {
  cpu::backward<T>(s,
      {data(in.dh), weight(s, in.weight), data(in.h0), data(in.c0), nullptr, data(out.c), data(out.gates), nullptr, {},
          data(out.dx), data(out.dh0), data(out.dc0), nullptr, {}},
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
          {weight(s, out.dweight), weight_ih(s, out.dweight_ih), bias(s, out.dbias)}},
      team(d), level);
}

// All three, into outputs full of NaNs. No pass may change what an earlier one has written.
template <class T>
Outputs<T> scan(const Shape& s, const Inputs<T>& in, const Deal& d, int level, const std::string& where) {
  const Inputs<T> in_before = in;
  Outputs<T> out = outputs_of(s, std::numeric_limits<T>::quiet_NaN());
  scan_forward(s, in, out, d, level);
  const std::vector<T> h = out.h, c = out.c, gates = out.gates;
  scan_backward(s, in, out, d, level);
  const std::vector<T> dx = out.dx;
  scan_weight_gradient(s, in, out, d, level);
  check_same_bits(in, in_before, where);
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
  Outputs<T> out = outputs_of(s, std::numeric_limits<T>::quiet_NaN());
  out.h = apart.h, out.c = apart.c, out.gates = apart.gates;
  Outputs<T> without = out;
  without.dx = {};
  scan_all_gradients(s, in, out, d, level);
  scan_all_gradients(s, in, without, d, level);
  for (const auto scanned : {&Outputs<T>::dx, &Outputs<T>::dh0, &Outputs<T>::dc0})
    if (!same_bits(out.*scanned, apart.*scanned)) fail(where + ": dx, dh0 or dc0 depends on what else is wanted");
  without.dx = out.dx;
  check_same_bits(without, out, where + ", without dx");
  return out;
}

// Weights as a layer's parameters lie, [directions][4][hidden][channels][taps].
template <class T> cpu::Weights<T> parameter(T* data, int64_t taps, int64_t hidden, int64_t channels) {
  return {data, 4 * hidden * channels * taps, 1, channels * taps, hidden * channels * taps, taps};
}
template <class T> std::vector<T> to_parameter(const Shape& s, const std::vector<T>& values, int taps, int channels) {
  std::vector<T> out(values.size());
  const auto from = dense(values.data(), taps, s.hidden, channels);
  const auto to = parameter(out.data(), taps, s.hidden, channels);
  for (int i = 0; i < s.directions; ++i)
    for (int k = 0; k < taps; ++k)
      for (int column = 0; column < 4 * s.hidden; ++column)
        for (int c = 0; c < channels; ++c)
          to.of(i, k).column(column, s.hidden)[c * to.channel] =
              from.of(i, k).column(column, s.hidden)[c * from.channel];
  return out;
}

// Two directions as a layer has them: weights and their gradients laid out as parameters, the maps of h merged, and dh
// that of the merged map. All of it is what the scan of the directions gives, to the bit.
template <class T>
void check_layer(
    const Shape& s, const Inputs<T>& in, const Outputs<T>& apart, const Deal& d, int level, const std::string& where) {
  const int64_t row = int64_t(s.width) * s.hidden, map = int64_t(s.images) * s.height * row;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const auto w = to_parameter(s, in.weight, s.taps, s.hidden),
             w_ih = to_parameter(s, in.weight_ih, s.input_taps, s.input_channels),
             b = to_parameter(s, in.bias, in.bias.empty() ? 0 : 1, 1);
  const auto of = [&](const auto& values) { return parameter(data(values), s.taps, s.hidden, s.hidden); };
  const auto of_ih = [&](const auto& values) {
    return parameter(data(values), s.input_taps, s.hidden, s.input_channels);
  };
  const auto of_bias = [&](const auto& values) { return parameter(data(values), 1, s.hidden, 1); };

  Outputs<T> out = outputs_of(s, nan), split = outputs_of(s, nan);
  std::vector<T> merged(map, nan), expected(map);
  // None is drawn: what is drawn afterwards would depend on how many instruction sets there are.
  const std::vector<T> dy(in.dh.begin(), in.dh.begin() + map);
  cpu::forward<T>(s,
      {data(in.x), of(w), data(in.h0), data(in.c0), data(in.input), of_ih(w_ih), of_bias(b), data(out.h), data(out.c),
          data(out.gates), data(merged)},
      team(d), level);
  Inputs<T> of_split = in;
  of_split.dh.assign(2 * map, 0);
  for (int64_t i = 0; i < map; ++i) {
    const bool first_row = i / row % s.height == 0, last_row = i / row % s.height == s.height - 1;
    expected[i] = first_row ? apart.h[i] : apart.h[i] + apart.h[map + i - row];
    of_split.dh[i] = dy[i];
    of_split.dh[map + i] = last_row ? T(0) : dy[i + row];
  }
  if (!same_bits(out.h, apart.h) || !same_bits(out.c, apart.c) || !same_bits(out.gates, apart.gates))
    fail(where + ": h, c or gates depends on how the weights lie, or whether the directions are merged");
  if (!same_bits(merged, expected)) fail(where + ": the merged map");

  split.h = out.h, split.c = out.c, split.gates = out.gates;
  scan_all_gradients(s, of_split, split, d, level);
  cpu::backward<T>(s,
      {data(dy), of(w), data(in.h0), data(in.c0), data(out.h), data(out.c), data(out.gates), data(in.input),
          of_ih(w_ih), data(out.dx), data(out.dh0), data(out.dc0), data(out.dinput),
          {parameter(data(out.dweight), s.taps, s.hidden, s.hidden),
              parameter(data(out.dweight_ih), s.input_taps, s.hidden, s.input_channels),
              parameter(data(out.dbias), 1, s.hidden, 1)},
          true},
      team(d), level);
  split.dweight = to_parameter(s, split.dweight, s.taps, s.hidden);
  split.dweight_ih = to_parameter(s, split.dweight_ih, s.input_taps, s.input_channels);
  split.dbias = to_parameter(s, split.dbias, 1, 1);
  check_same_bits(out, split, where + ", as a layer");
}

// Outputs that the caller may leave out: the others do not depend on them.
template <class T>
void check_unwanted(const Shape& s, const Inputs<T>& in, const Outputs<T>& all, int level, const std::string& where) {
  constexpr Deal one_share{1, 1};
  const T nan = std::numeric_limits<T>::quiet_NaN();
  Outputs<T> out = all;
  out.dx.assign(out.dx.size(), nan);
  out.dh0 = out.dc0 = {};
  scan_backward(s, in, out, one_share, level);
  if (!same_bits(out.dx, all.dx)) fail(where + ": dx depends on whether dh0 and dc0 are wanted");
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

template <class T> double check_case(const Kind& kind, const Size& size, const Options& options) {
  const Shape s = shape_of(kind, size, options);
  const Inputs<T> in = random_inputs<T>(s, options);
  const Outputs<double> expected = reference(s, in);
  double error = 0;
  for (int level = first_level(); level <= cpu::best_instruction_set(); ++level) {
    const std::string what = std::string(kTypeName<T>) + ", " + kind.name + ", " + size.name + ", " + options.name +
                             ", " + cpu::instruction_set_name(level);
    Deal last{0, 0};
    Outputs<T> last_out;
    for (const Deal& d : kDeals) {
      const std::string where =
          what + ", " + std::to_string(d.shares) + " shares on " + std::to_string(d.threads) + " threads";
      Outputs<T> out = scan(s, in, d, level, where);
      const Outputs<T> at_once = all_gradients(s, in, out, d, level, where);
      out.dinput = at_once.dinput;
      if (d.shares == last.shares) {
        check_same_bits(out, last_out, where);
        continue;
      }
      error = std::max({error, check_close(out, expected, where), check_close(at_once, expected, where + ", at once")});
      for (const auto& a : named(out)) add_to_hash(a.name, level, a.values);
      if (d.shares == 1) check_unwanted(s, in, out, level, where);
      if (s.directions == 2) check_layer(s, in, out, d, level, where);
      last = d, last_out = out;
    }
  }
  return error;
}

template <class T> void check_scans() {
  for (const Kind& kind : kKinds) {
    double error = 0;
    const int64_t before = checks;
    for (const Size& size : kSizes) {
      if (short_list && !size.in_short_list) continue;
      for (const Options& options : kOptions) error = std::max(error, check_case<T>(kind, size, options));
    }
    printf("%s, %s: %lld checks, largest error %.1e\n", kTypeName<T>, kind.name, (long long)(checks - before), error);
  }
}

// Activations.

// The next larger type: its error is none for T.
template <class T> using Exact = std::conditional_t<sizeof(T) == 4, double, long double>;

// The distance in units of the last place of the exact result.
template <class T> double ulps(T got, Exact<T> exact) {
  const Exact<T> magnitude = std::max<Exact<T>>(std::abs(exact), std::numeric_limits<T>::min());
  const Exact<T> ulp = std::scalbn(Exact<T>(1), std::ilogb(magnitude) - std::numeric_limits<T>::digits + 1);
  return double(std::abs(got - exact) / ulp);
}

template <class T> Exact<T> exact_activation(bool is_tanh, T x) {
  return is_tanh ? std::tanh(Exact<T>(x)) : 1 / (1 + std::exp(-Exact<T>(x)));
}

// Evenly spaced, and evenly spaced in every octave down to the smallest subnormal number.
template <class T> std::vector<T> grid() {
  std::vector<T> x = {T(0), -T(0)};
  for (int i = -200000; i <= 200000; ++i) x.push_back(T(i) / 1999);
  for (int exponent = std::ilogb(std::numeric_limits<T>::denorm_min()); exponent < 6; ++exponent)
    for (int i = 0; i < 100; ++i) {
      x.push_back(T(std::ldexp(1 + i / 100., exponent)));
      x.push_back(-x.back());
    }
  x.shrink_to_fit();
  return x;
}

template <class T> void check_activation(int level, bool is_tanh) {
  const auto& kernels = cpu::kernels<T>(level);
  const std::string function = is_tanh ? ", tanh, " : ", sigmoid, ";
  const std::string where = kTypeName<T> + function + cpu::instruction_set_name(level);
  const T tiny = 4 * std::numeric_limits<T>::min();  // the sigmoid ends near the smallest normal number, not at 0
  const std::vector<T> x = grid<T>();
  std::vector<T> y(x.size(), std::numeric_limits<T>::quiet_NaN());
  kernels.activation(is_tanh, x.size(), x.data(), y.data());
  add_to_hash(is_tanh ? "tanh" : "sigmoid", level, y);
  double error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const Exact<T> exact = exact_activation(is_tanh, x[i]);
    if (!is_tanh && exact < tiny && y[i] >= 0 && y[i] < tiny) continue;  // saturated
    const double here = ulps(y[i], exact);
    if (!(here <= 3)) fail(where + " of " + std::to_string(x[i]) + " is off by " + std::to_string(here) + " ulp");
    error = std::max(error, here);
  }
  checks += x.size();

  const T infinity = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  const std::vector<T> ends = {infinity, largest, -infinity, -largest, std::numeric_limits<T>::quiet_NaN()};
  std::vector<T> at_ends(ends.size());
  kernels.activation(is_tanh, ends.size(), ends.data(), at_ends.data());
  const T low = is_tanh ? T(-1) : T(0);
  for (int i : {0, 1})
    if (at_ends[i] != 1) fail(where + " does not saturate at 1");
  for (int i : {2, 3})
    if (!(at_ends[i] >= low && at_ends[i] <= low + tiny)) fail(where + " does not saturate below");
  if (!std::isnan(at_ends[4])) fail(where + " of NaN is not NaN");
  checks += ends.size();
  printf("%s: largest error %.2f ulp\n", where.c_str(), error);
}

template <class T> void check_activations() {
  for (int level = first_level(); level <= cpu::best_instruction_set(); ++level)
    for (bool is_tanh : {false, true}) check_activation<T>(level, is_tanh);
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_activations<float>();
  check_activations<double>();
  check_scans<float>();
  check_scans<double>();
  return passed();
}
