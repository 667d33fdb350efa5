// Checks that all instruction sets and numbers of threads agree on the scan (csrc/cpu/scan.h), and that sigmoid and
// tanh are accurate. tests/scan/test_operators.py checks that the results are right.
#include "../../csrc/cpu/sweep.h"
#include "scans.h"

namespace {

using namespace check;
using cpu::ImageSize;
using pixelrnn::Corner;

struct Kind {
  const char* name;
  bool diagonal;
  int taps, gates;
  Formula formula = Formula::kStable;
  double scale = 1;
};
const Kind kKinds[] = {
    {"Row, 1 tap", false, 1, 4},
    {"Row, 3 taps", false, 3, 4},
    {"Row, 5 taps", false, 5, 4},
    {"Diagonal", true, 2, 4},
    {"stable", true, 2, 5, Formula::kStable},
    {"forget", true, 2, 5, Formula::kForget},
    {"half of forget", true, 2, 5, Formula::kForget, 0.5},
    {"leaky", true, 2, 5, Formula::kLeaky},
    {"max", true, 2, 5, Formula::kMax},
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
    {"few images together", 4, 2, 3, 16, false},
    {"images shared out", 7, 4, 5, 7, true},
    {"long lines", 2, 2, 131, 1, false},
};

using Extents = ImageSize (*)(int image, int height, int width);
ImageSize mixed(int image, int height, int width) {
  const ImageSize kinds[] = {
      {(height + 1) / 2, width}, {height, (width + 1) / 2}, {0, width}, {height, width}, {1, 1}, {height, 0}};
  return kinds[image % 6];
}
ImageSize one_empty(int image, int height, int width) { return {image == 2 ? 0 : height, width}; }

constexpr Corner kTopLeft = {}, kTopRight = {false, true}, kBottomLeft = {true, false}, kBottomRight = {true, true};
struct Options {
  const char* name;
  std::vector<Corner> corners;
  Merge merge;
  Extents extents;  // null if all images fill their maps
  int input_channels, input_taps;
  Layout layout;
  Operands operands;
};
const Options kOptions[] = {
    {"x, h0, top right", {kTopRight}, Merge::kNone, nullptr, 0, 0, kDense, {true, false, true}},
    {"x, top left, one empty", {kTopLeft}, Merge::kNone, one_empty, 0, 0, kAsParameters, {true}},
    {"input, bias, c0, peephole, bottom right, unlike", {kBottomRight}, Merge::kSum, mixed, 5, 3, kDense,
        {false, true, false, true, true}},
    {"input, two directions, shifted", {kTopRight, kTopLeft}, Merge::kShift, nullptr, 3, 1, kAsParameters, {}},
    {"everything, two directions, shifted, unlike", {kTopLeft, kBottomRight}, Merge::kShift, mixed, 3, 3, kDense,
        {true, true, true, true, true}},
    {"input, states, two corners", {kTopRight, kBottomLeft}, Merge::kNone, mixed, 1, 1, kAsParameters,
        {false, true, true, true}},
    {"everything, every corner, unlike", {kTopLeft, kTopRight, kBottomLeft, kBottomRight}, Merge::kSum, mixed, 3, 1,
        kAsParameters, {true, true, true, true, true}},
};

template <class T> void check_case(const Kind& kind, const Size& size, const Options& options) {
  Shape s{int(options.corners.size()), size.images, size.height, size.width, size.hidden, kind.diagonal, {}, kind.taps,
      options.input_channels, options.input_taps, options.input_taps, kind.gates};
  std::copy(options.corners.begin(), options.corners.end(), s.corner);
  std::vector<ImageSize> extents;
  for (int b = 0; options.extents && b < s.images; ++b) extents.push_back(options.extents(b, s.height, s.width));
  s.sizes = data(extents);
  Operands operands = options.operands;
  operands.peephole = operands.peephole && kind.formula == Formula::kForget;
  Inputs<T> in = random_inputs<T>(s, operands, options.merge);
  in.formula = kind.formula, in.scale = kind.scale, in.layout = options.layout;
  if (kind.gates == 5 && kind.formula == Formula::kMax)
    for (auto& c : in.c0) c *= 250;  // so large that some cells clip c
  poison_outside(s, in.input, 1, s.input_channels);
  if (operands.x) poison_outside(s, in.x, s.directions, s.columns());
  poison_outside(s, in.dh, 1, in.merge == Merge::kNone ? s.h_stride() : s.hidden);
  const std::string name = std::string(size.name) + ", " + options.name;
  check_scan(s, in, kind.name, name);
}

template <class T> void check_scans() {
  for (const Kind& kind : kKinds)
    for (const Size& size : kSizes)
      for (const Options& options : kOptions)
        if (!short_list || size.in_short_list) check_case<T>(kind, size, options);
}

void check_partitions() {
  for (int images : {1, 2, 5, 12})
    for (int times : {1, 4})
      for (int shares : {1, 2, 3, 8}) {
        std::vector<ImageSize> extents;
        int64_t total = 0, largest = 0;
        for (int b = 0; b < images; ++b) extents.push_back(2 * b < images ? ImageSize{9, 17} : ImageSize{1, 2});
        const auto pixels = [&](int64_t i) { return int64_t(extents[i % images].height) * extents[i % images].width; };
        for (int i = 0; i < times * images; ++i) total += pixels(i), largest = std::max(largest, pixels(i));
        where = "shares";
        Shape s{1, images, 9, 17, 1, true, {}, 2};
        s.sizes = extents.data();
        const cpu::Split split(s, times, shares);
        if (split.first(0) != 0 || split.first(shares) != times * images) fail("the shares do not cover all images");
        for (int q = 0; q < shares; ++q) {
          int64_t share_pixels = 0;
          for (int64_t i = split.first(q); i < split.first(q + 1); ++i) share_pixels += pixels(i);
          if (share_pixels > total / shares + largest) fail("a share has too many pixels");
        }
        ++checks;
      }
}

template <class T> using Exact = std::conditional_t<sizeof(T) == 4, double, long double>;

template <class T> double ulps(T got, Exact<T> exact) {
  const Exact<T> magnitude = std::max<Exact<T>>(std::abs(exact), std::numeric_limits<T>::min());
  const Exact<T> ulp = std::scalbn(Exact<T>(1), std::ilogb(magnitude) - std::numeric_limits<T>::digits + 1);
  return double(std::abs(got - exact) / ulp);
}

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
  where = kTypeName<T> + function + cpu::instruction_set_name(level);
  // The smallest values of the sigmoid are near the smallest normal number. If the exact value is less than `tiny`, any
  // result from 0 to `tiny` passes.
  const T tiny = 4 * std::numeric_limits<T>::min();
  const std::vector<T> x = grid<T>();
  std::vector<T> y(x.size(), std::numeric_limits<T>::quiet_NaN());
  kernels.activation(is_tanh, x.size(), x.data(), y.data());
  add_to_hash<T>(is_tanh ? "tanh" : "sigmoid", level, y);
  double error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const Exact<T> exact = is_tanh ? std::tanh(Exact<T>(x[i])) : 1 / (1 + std::exp(-Exact<T>(x[i])));
    if (!is_tanh && exact < tiny && y[i] >= 0 && y[i] < tiny) continue;
    const double here = ulps(y[i], exact);
    if (!(here <= 3)) fail("at " + std::to_string(x[i]) + " the error is " + std::to_string(here) + " ulp");
    error = std::max(error, here);
  }
  checks += x.size();

  const T infinity = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  const std::vector<T> ends = {infinity, largest, -infinity, -largest, std::numeric_limits<T>::quiet_NaN()};
  std::vector<T> at_ends(ends.size());
  kernels.activation(is_tanh, ends.size(), ends.data(), at_ends.data());
  const T low = is_tanh ? T(-1) : T(0);
  for (int i : {0, 1})
    if (at_ends[i] != 1) fail("does not saturate at 1");
  for (int i : {2, 3})
    if (!(at_ends[i] >= low && at_ends[i] <= low + tiny)) fail("does not saturate below");
  if (!std::isnan(at_ends[4])) fail("expected NaN at NaN");
  checks += ends.size();
  printf("%s: largest error %.2f ulp\n", where.c_str(), error);
}

template <class T> void check_activations() {
  for (int level : levels())
    for (bool is_tanh : {false, true}) check_activation<T>(level, is_tanh);
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_activations<float>();
  check_activations<double>();
  check_partitions();
  check_scans<float>();
  check_scans<double>();
  check_scans<cpu::Bf16>();
  return report();
}
