// Checks of the scan on a CPU (csrc/cpu) against a scalar implementation in double, cell by cell in image coordinates.
// No framework is needed, so this can run under the sanitizers: tests/test_native_checks.py builds and runs it.
//
//   check_scan [short] [best]    short: fewer sizes, for a slow build; best: the best instruction set only
#include "../../csrc/cpu/kernels.h"
#include "scalar_scan.h"

namespace {

using namespace check;

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
  bool reverse;
  int input_channels, input_taps;
  Given given;
};
const Options kOptions[] = {
    {"x", 1, false, 0, 0, {true}},
    {"x, h0, reversed", 1, true, 0, 0, {true, false, true}},
    {"input, bias, c0, reversed", 1, true, 5, 3, {false, true, false, true}},
    {"input, two directions reversed", 2, true, 3, 1, {}},
    {"everything, two directions", 2, false, 3, 3, {true, true, true, true}},
};

Shape shape_of(const Kind& kind, const Size& size, const Options& options) {
  Shape s{options.directions, size.images, size.height, size.width, size.hidden, kind.diagonal, {}, kind.taps,
      options.input_channels, options.input_taps};
  set_corners(s, options.reverse);
  return s;
}

// Weights as a layer's parameters lie, [directions][4][hidden][channels][taps].
template <class T> cpu::Weights<T> parameter(T* data, int64_t taps, int64_t hidden, int64_t channels) {
  return {data, 4 * hidden * channels * taps, 1, channels * taps, hidden * channels * taps, taps};
}
template <class T> std::vector<T> to_parameter(const Shape& s, const std::vector<T>& values, int taps, int channels) {
  std::vector<T> out(values.size());
  const auto from = dense(s, values.data(), taps, channels);
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

  Outputs<T> out = unwritten(s, in), split = out;
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
  check_same_bits(named(out), named(split), where + ", as a layer");
}

template <class T> double check_case(const Kind& kind, const Size& size, const Options& options) {
  const Shape s = shape_of(kind, size, options);
  const Inputs<T> in = random_inputs<T>(s, options.given);
  const std::string name = std::string(kind.name) + ", " + size.name + ", " + options.name;
  return check_scan(
      s, in, scalar_scan(s, in), name, [&](const Outputs<T>& out, const Deal& d, int level, const std::string& where) {
        if (s.directions == 2) check_layer(s, in, out, d, level, where);
      });
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
