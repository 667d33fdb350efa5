// Checks that all instruction sets and numbers of threads agree on the masked convolution (csrc/cpu/convolution.h).
// tests/masked_conv/test_masked_conv.py checks that the results are right.
#include "check.h"

#include "../../csrc/cpu/convolution.h"

namespace {

using namespace check;
using cpu::Convolution;

struct Size {
  const char* name;
  int images, height, width, in, out, colours, gates;
  bool in_short_list;
};
const Size kSizes[] = {
    {"one pixel, one channel", 1, 1, 1, 1, 1, 1, 1, true},
    {"one row, odd channels", 2, 1, 17, 5, 37, 3, 1, true},
    {"one column, one output", 2, 9, 1, 16, 1, 1, 1, false},
    {"one input, many outputs", 3, 6, 5, 1, 66, 1, 1, true},
    {"uneven colours, gates", 1, 5, 7, 7, 20, 3, 4, true},
    {"whole vectors", 1, 4, 16, 32, 64, 2, 1, false},
    {"transposed with a rest", 2, 5, 19, 23, 18, 3, 2, true},
    {"images shared out", 7, 3, 4, 3, 8, 1, 1, false},
    {"several bands", 1, 21, 20, 170, 3, 1, 1, false},
};

struct Kernel {
  int height, width;
  bool strict, bias, relu;
};
const Kernel kKernels[] = {
    {1, 1, true, true, false},
    {1, 1, false, false, true},
    {3, 3, false, true, true},
    {7, 7, true, true, true},
    {1, 5, true, false, false},
    {5, 1, false, true, false},
};

template <class T> struct Problem {
  Convolution s;
  std::vector<cpu::Sum<T>> input, weight, bias, dy;
};
template <class T> struct Results { std::vector<cpu::Sum<T>> y, dinput, dweight, dbias; };
template <class T> constexpr Output<Results<T>, T> kOutputs[] = {{"y", &Results<T>::y}, {"dinput", &Results<T>::dinput},
    {"dweight", &Results<T>::dweight, true}, {"dbias", &Results<T>::dbias, true}};

int64_t map_size(const Convolution& s, int channels) { return s.images * s.pixels() * channels; }

template <class T> Problem<T> problem(const Size& size, const Kernel& kernel, bool channels_last) {
  Problem<T> p;
  p.s = {size.images, size.height, size.width, size.in, size.out, kernel.height, kernel.width, kernel.strict,
      size.colours, size.gates, kernel.relu, channels_last};
  const int64_t depth = int64_t(size.in) * kernel.height * kernel.width;
  p.input = random<T>(map_size(p.s, size.in), 1);
  p.weight = random<T>(size.out * depth, 1 / std::sqrt(double(depth)));
  p.bias = random<T>(kernel.bias ? size.out : 0, 1);
  p.dy = random<T>(map_size(p.s, size.out), 1);
  return p;
}

template <class T> Results<T> nan_results(const Problem<T>& p) {
  using Sum = cpu::Sum<T>;
  const auto nans = [](size_t n) { return std::vector<Sum>(n, std::numeric_limits<Sum>::quiet_NaN()); };
  return {nans(p.dy.size()), nans(p.input.size()), nans(p.weight.size()), nans(p.s.out_channels)};
}

template <class T> void forward(const Problem<T>& p, Results<T>& r, TeamSize d, int level) {
  const auto input = converted<T>(p.input), weight = converted<T>(p.weight), bias = converted<T>(p.bias);
  auto y = converted<T>(r.y);
  cpu::convolve<T>(p.s, {data(input), data(weight), data(bias), data(y)}, team(d), level);
  r.y = converted<cpu::Sum<T>>(y);
}
template <class T> void backward(const Problem<T>& p, Results<T>& r, TeamSize d, int level) {
  const auto dy = converted<T>(p.dy), y = converted<T>(r.y), input = converted<T>(p.input),
             weight = converted<T>(p.weight);
  auto dinput = converted<T>(r.dinput), dweight = converted<T>(r.dweight), dbias = converted<T>(r.dbias);
  cpu::convolve_backward<T>(
      p.s, {data(dy), data(y), data(input), data(weight), data(dinput), data(dweight), data(dbias)}, team(d), level);
  using Sum = cpu::Sum<T>;
  r.dinput = converted<Sum>(dinput), r.dweight = converted<Sum>(dweight), r.dbias = converted<Sum>(dbias);
}

template <class T>
void check_subsets(const Problem<T>& p, const Results<T>& all, int level) {
  for (const auto wanted : {&Results<T>::dinput, &Results<T>::dweight, &Results<T>::dbias}) {
    Results<T> alone;
    alone.y = all.y, alone.*wanted = nan_results(p).*wanted;
    backward(p, alone, {1, 1}, level);
    check_same_bits("a gradient alone", alone.*wanted, all.*wanted);
  }
}

template <class T> void check_case(const Size& size, const Kernel& kernel, bool channels_last) {
  const Problem<T> p = problem<T>(size, kernel, channels_last);
  const std::string name = std::string(size.name) + ", " + std::to_string(kernel.height) + " x " +
                           std::to_string(kernel.width) + (channels_last ? ", channels last" : ", channels first");
  check_teams(kOutputs<T>, "", name, [&](TeamSize d, int level) {
    Results<T> r = nan_results(p);
    forward(p, r, d, level);
    backward(p, r, d, level);
    for (const auto& output : kOutputs<T>)
      if (has_nan(r.*output.values)) fail(output.name + std::string(" has a NaN"));
    if (d.shares == 1) check_subsets(p, r, level);
    return r;
  });
}

template <class T> void check_convolutions() {
  for (const Size& size : kSizes)
    for (const Kernel& kernel : kKernels)
      for (bool channels_last : {false, true})
        if (!short_list || size.in_short_list) check_case<T>(size, kernel, channels_last);
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_convolutions<float>();
  check_convolutions<double>();
  check_convolutions<cpu::Bf16>();
  return report();
}
