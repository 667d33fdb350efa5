// Checks of the masked convolutions on a CPU (csrc/cpu/convolution.h) against a scalar implementation in double.
// No framework is needed, so this can run under the sanitizers: tests/native/test_checks.py builds and runs it.
//
//   check_convolution [short] [best]    short: fewer sizes, for a slow build; best: the best instruction set only
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
  std::vector<T> input, weight, bias, dy;
};
template <class T> struct Results { std::vector<T> y, dinput, dweight, dbias; };

int64_t map_size(const Convolution& s, int channels) { return s.images * s.pixels() * channels; }

int64_t at(const Convolution& s, int channels, int image, int row, int column, int channel) {
  const int64_t pixel = int64_t(row) * s.width + column;
  return s.channels_last ? (image * s.pixels() + pixel) * channels + channel
                         : (int64_t(image) * channels + channel) * s.pixels() + pixel;
}

int colour(int channel, int channels, int colours) {  // as torch.tensor_split deals them
  for (int group = 0;; ++group) {
    const int size = channels / colours + (group < channels % colours);
    if (channel < size) return group;
    channel -= size;
  }
}

bool alive(const Convolution& s, int out, int in, int row, int column) {
  const int centre_row = s.kernel_height / 2, centre_column = s.kernel_width / 2, units = s.out_channels / s.gates;
  if (row != centre_row) return row < centre_row;
  if (column != centre_column) return column < centre_column;
  const int from = colour(in, s.in_channels, s.colours), to = colour(out % units, units, s.colours);
  return from < to || (from == to && !s.strict);
}

// f(index of the weight, output channel, input channel, row and column of the kernel) for all that are alive.
template <class F> void for_weights(const Convolution& s, const F& f) {
  int64_t w = 0;
  for (int out = 0; out < s.out_channels; ++out)
    for (int in = 0; in < s.in_channels; ++in)
      for (int i = 0; i < s.kernel_height; ++i)
        for (int j = 0; j < s.kernel_width; ++j, ++w)
          if (alive(s, out, in, i, j)) f(w, out, in, i, j);
}

// f(index of the weight, of the value that is written, of the value that is read)
template <class F> void for_products(const Convolution& s, const F& f) {
  for_weights(s, [&](int64_t w, int out, int in, int i, int j) {
    for (int image = 0; image < s.images; ++image)
      for (int row = 0; row < s.height; ++row)
        for (int column = 0; column < s.width; ++column) {
          const int r = row + i - s.kernel_height / 2, c = column + j - s.kernel_width / 2;
          if (r >= 0 && c >= 0 && c < s.width)
            f(w, at(s, s.out_channels, image, row, column, out), at(s, s.in_channels, image, r, c, in));
        }
  });
}

// y is the one that was computed: a value near zero may be on either side of the ReLU.
template <class T> Results<double> reference(const Problem<T>& p, const std::vector<T>& y) {
  const Convolution& s = p.s;
  Results<double> r{std::vector<double>(p.dy.size()), std::vector<double>(p.input.size()),
      std::vector<double>(p.weight.size()), std::vector<double>(s.out_channels)};
  std::vector<double> dy = to_double(p.dy);
  for (size_t i = 0; s.relu && i < dy.size(); ++i) dy[i] = y[i] > 0 ? dy[i] : 0;
  for (int out = 0; out < s.out_channels; ++out)
    for (int image = 0; image < s.images; ++image)
      for (int row = 0; row < s.height; ++row)
        for (int column = 0; column < s.width; ++column) {
          const int64_t to = at(s, s.out_channels, image, row, column, out);
          r.y[to] = p.bias.empty() ? 0 : double(p.bias[out]);
          r.dbias[out] += dy[to];
        }
  for_products(s, [&](int64_t w, int64_t to, int64_t from) {
    r.y[to] += double(p.weight[w]) * p.input[from];
    r.dweight[w] += dy[to] * p.input[from];
    r.dinput[from] += dy[to] * p.weight[w];
  });
  for (double& value : r.y) value = s.relu ? std::max(value, 0.) : value;
  return r;
}

// Masked weights are NaN: nothing may read them.
template <class T> Problem<T> problem(const Size& size, const Kernel& kernel, bool channels_last) {
  Problem<T> p;
  p.s = {size.images, size.height, size.width, size.in, size.out, kernel.height, kernel.width, kernel.strict,
      size.colours, size.gates, kernel.relu, channels_last};
  const int64_t depth = int64_t(size.in) * kernel.height * kernel.width;
  p.input = random<T>(map_size(p.s, size.in), 1);
  p.weight.assign(size.out * depth, std::numeric_limits<T>::quiet_NaN());
  const std::vector<T> weights = random<T>(size.out * depth, 1 / std::sqrt(double(depth)));
  for_weights(p.s, [&](int64_t w, int, int, int, int) { p.weight[w] = weights[w]; });
  p.bias = random<T>(kernel.bias ? size.out : 0, 1);
  p.dy = random<T>(map_size(p.s, size.out), 1);
  return p;
}

template <class T> Results<T> poisoned(const Problem<T>& p) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  return {std::vector<T>(p.dy.size(), nan), std::vector<T>(p.input.size(), nan), std::vector<T>(p.weight.size(), nan),
      std::vector<T>(p.s.out_channels, nan)};
}

template <class T> void backward(const Problem<T>& p, Results<T>& r, const Deal& d, int level) {
  cpu::convolve_backward<T>(p.s,
      {data(p.dy), data(r.y), data(p.input), data(p.weight), data(r.dinput), data(r.dweight), data(r.dbias)}, team(d),
      level);
}

// Both, into outputs full of NaNs.
template <class T> Results<T> convolved(const Problem<T>& p, const Deal& d, int level) {
  Results<T> r = poisoned(p);
  cpu::convolve<T>(p.s, {data(p.input), data(p.weight), data(p.bias), data(r.y)}, team(d), level);
  backward(p, r, d, level);
  return r;
}

// Gradients that the caller may leave out: the others do not depend on them.
template <class T>
void check_unwanted(const Problem<T>& p, const Results<T>& all, int level, const std::string& where) {
  for (const auto wanted : {&Results<T>::dinput, &Results<T>::dweight, &Results<T>::dbias}) {
    Results<T> alone;
    alone.y = all.y, alone.*wanted = poisoned(p).*wanted;
    backward(p, alone, {1, 1}, level);
    if (!same_bits(alone.*wanted, all.*wanted)) fail(where + ": a gradient depends on which others are wanted");
    ++checks;
  }
}

template <class T> double check_case(const Size& size, const Kernel& kernel, bool channels_last) {
  const Problem<T> p = problem<T>(size, kernel, channels_last);
  double error = 0;
  for (int level = first_level(); level <= cpu::best_instruction_set(); ++level) {
    const std::string what = std::string(kTypeName<T>) + ", " + size.name + ", " + std::to_string(kernel.height) +
                             " x " + std::to_string(kernel.width) +
                             (channels_last ? ", channels last, " : ", channels first, ") +
                             cpu::instruction_set_name(level);
    Deal last{0, 0};
    Results<T> last_results;
    for (const Deal& d : kDeals) {
      const std::string where =
          what + ", " + std::to_string(d.shares) + " shares on " + std::to_string(d.threads) + " threads";
      const Results<T> r = convolved(p, d, level);
      if (d.shares == last.shares) {
        if (!same_bits(r.y, last_results.y) || !same_bits(r.dinput, last_results.dinput) ||
            !same_bits(r.dweight, last_results.dweight) || !same_bits(r.dbias, last_results.dbias))
          fail(where + ": the bits have changed");
        ++checks;
        continue;
      }
      const Results<double> exact = reference(p, r.y);
      error = std::max({error, check_close("y", r.y, exact.y, where),
          check_close("dinput", r.dinput, exact.dinput, where), check_close("dweight", r.dweight, exact.dweight, where),
          check_close("dbias", r.dbias, exact.dbias, where)});
      add_to_hash("y", level, r.y), add_to_hash("dinput", level, r.dinput);
      add_to_hash("dweight", level, r.dweight), add_to_hash("dbias", level, r.dbias);
      if (d.shares == 1) check_unwanted(p, r, level, where);
      last = d, last_results = r;
    }
  }
  return error;
}

template <class T> void check_convolutions() {
  for (const Size& size : kSizes) {
    if (short_list && !size.in_short_list) continue;
    double error = 0;
    const int64_t before = checks;
    for (const Kernel& kernel : kKernels)
      for (bool channels_last : {false, true}) error = std::max(error, check_case<T>(size, kernel, channels_last));
    printf("%s, %s: %lld checks, largest error %.1e\n", kTypeName<T>, size.name, (long long)(checks - before), error);
  }
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_convolutions<float>();
  check_convolutions<double>();
  return passed();
}
