// Checks of the columns of a row (csrc/cpu/columns.h) against a scalar implementation in double: a small network that
// reads the values that it draws.
//
//   check_columns [short] [best]    short: fewer sizes, for a slow build; best: the best instruction set only
#include "columns.h"

namespace {

using namespace check;

const Size kSizes[] = {
    {"one of everything", 1, 1, 1, 1, 1, 1, true},
    {"one image, several blocks", 1, 3, 3, 7, 150, 40, true},
    {"tiles of images with a rest", 7, 4, 2, 2, 33, 17, true},
    {"whole vectors", 13, 2, 1, 256, 64, 16, false},
    {"more images than a tile", 16, 3, 3, 5, 96, 35, true},
    {"a row of colours", 2, 9, 4, 3, 5, 6, false},
    {"no image", 0, 3, 2, 3, 8, 8, true},
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Every buffer of double, of the images that `drawn` holds.
struct Reference {
  Row<double> image, wide, c, h, state, sum, logits;
  template <class T> explicit Reference(Network<T>& before, Network<T>& after)
      : image(of(after.image)),
        wide(of(before.wide)),
        c(of(before.c)),
        h(of(before.h)),
        state(of(before.state)),
        sum(of(before.sum)),
        logits(of(before.logits)) {
    Size s = before.s;
    for (int column = kMargin; column < kMargin + s.width; ++column)
      for (int i = 0; i < s.images; ++i)
        for (int k = 0; k < s.colours; ++k) pixel(before, column, i, k);
  }
  template <class T> static Row<double> of(const Row<T>& row) {
    Row<double> r({"", row.images, 0, 0, 0, 0, 0, false}, row.channels, 0);
    r.values = to_double(row.values);
    return r;
  }
  template <class T> double product(Network<T>& n, int step, int column, int image_, int gates, int output,
      std::initializer_list<Row<double>*> inputs) {
    const auto& s = n.steps[step];
    const int outputs = s.stop - s.start;
    double total = 0;
    size_t j = 0, t = 0;
    for (Row<double>* input : inputs) {
      for (int channel = 0; channel < s.taps[t].channels; ++channel, ++j)
        total += n.weights[step][j * gates * outputs + output] * input->at(column + s.taps[t].shift, image_, channel);
      ++t;
    }
    return total;
  }
  template <class T> void pixel(Network<T>& n, int column, int i, int k) {
    const int step = 5 * k, hidden = n.s.hidden;
    for (int o = n.steps[step].start; o < n.steps[step].stop; ++o)
      wide.at(column, i, o) = std::max(0.,
          n.base.at(column, i, o) + product(n, step, column, i, 1, o - n.steps[step].start, {&image, &image, &image}));
    const auto& cell = n.steps[step + 1];
    for (int u = cell.start; u < cell.stop; ++u) {
      double z[4];
      for (int g = 0; g < 4; ++g)
        z[g] = n.gates.at(column, i, g * hidden + u) +
               product(n, step + 1, column, i, 4, g * (cell.stop - cell.start) + u - cell.start, {&wide, &h});
      c.at(column, i, u) = sigmoid(z[1]) * c.at(column - 1, i, u) + sigmoid(z[0]) * std::tanh(z[2]);
      h.at(column, i, u) = sigmoid(z[3]) * std::tanh(c.at(column, i, u));
      state.at(column, i, u) = h.at(column, i, u) + n.addend.at(column, i, u);
    }
    for (int o = n.steps[step + 2].start; o < n.steps[step + 2].stop; ++o) {
      const double y = wide.at(column, i, o) + (k % 2 ? 0 : n.base.at(column, i, o));
      sum.at(column, i, o) = k % 2 ? y : std::max(0., y);
    }
    for (int o = n.steps[step + 3].start; o < n.steps[step + 3].stop; ++o)
      logits.at(column, i, o) = n.logits_base.at(column, i, o) +
                                product(n, step + 3, column, i, 1, o - n.steps[step + 3].start, {&sum, &state});
  }
};

// The drawn values follow from the logits that were computed.
template <class T> void check_draws(Network<T>& n, double temperature, const std::string& where) {
  for (int column = kMargin; column < kMargin + n.s.width; ++column)
    for (int i = 0; i < n.s.images; ++i)
      for (int k = 0; k < n.s.colours; ++k) {
        std::vector<double> level(n.levels() - n.s.levels, 0.);
        for (int l = 0; l < n.s.levels; ++l) level.push_back(n.logits.at(column, i, k * n.s.levels + l));
        const size_t flag = (size_t(column) * n.s.images + i) * n.s.colours + k;
        int64_t expected = std::max_element(level.begin(), level.end()) - level.begin();
        if (temperature > 0) {
          const double top = level[expected];
          double all = 0, passed = 0;
          for (double& l : level) all += l = std::exp((l - top) / temperature);
          for (expected = 0; expected < n.levels() - 1; ++expected)
            if ((passed += level[expected]) > n.uniform.at(column, i, k) * all) break;
        }
        if (n.known.values[flag]) expected = n.given.at(column, i, k);
        if (n.values.at(column, i, k) != expected)
          fail(where + ": a value is " + std::to_string(n.values.at(column, i, k)) + ", expected " +
               std::to_string(expected));
        if (n.image.at(column, i, k) != n.scaled[expected]) fail(where + ": the image does not hold the value");
        ++checks;
      }
}

template <class T> double check_case(const Size& size) {
  double error = 0;
  for (int level = first_level(); level <= cpu::best_instruction_set(); ++level)
    for (double temperature : {1., 0., 0.5}) {
      std::vector<T> alone;
      for (const Deal& d : {Deal{1, 1}, Deal{2, 2}, Deal{3, 2}, Deal{4, 4}}) {
        const std::string where = std::string(kTypeName<T>) + ", " + size.name + ", " +
                                  cpu::instruction_set_name(level) + ", " + std::to_string(d.shares) + " shares on " +
                                  std::to_string(d.threads) + " threads";
        static std::vector<Network<T>> networks;  // buffers stay where the steps point
        networks.clear();
        networks.reserve(2);
        generator().seed(7);
        networks.emplace_back(size, level);
        generator().seed(7);
        networks.emplace_back(size, level);
        Network<T>&before = networks[0], &after = networks[1];
        cpu::run_columns<T>(
            after.steps, {kMargin, size.width, size.images, temperature, false, nullptr, 0, nullptr}, team(d), level);
        Reference exact(before, after);
        const double errors[] = {check_close("wide", after.wide.values, exact.wide.values, where),
            check_close("c", after.c.values, exact.c.values, where),
            check_close("h", after.h.values, exact.h.values, where),
            check_close("state", after.state.values, exact.state.values, where),
            check_close("sum", after.sum.values, exact.sum.values, where),
            check_close("logits", after.logits.values, exact.logits.values, where)};
        error = std::max(error, *std::max_element(std::begin(errors), std::end(errors)));
        check_draws(after, temperature, where);
        if (d.shares == 1) {
          alone = after.logits.values;
          add_to_hash("c", level, after.c.values), add_to_hash("h", level, after.h.values);
          add_to_hash("logits", level, alone);
        }
        if (!same_bits(alone, after.logits.values)) fail(where + ": the bits depend on the shares");
        ++checks;
      }
    }
  return error;
}

template <class T> void check_columns() {
  for (const Size& size : kSizes) {
    if (short_list && !size.in_short_list) continue;
    printf("%s, %s: largest error %.1e\n", kTypeName<T>, size.name, check_case<T>(size));
  }
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_columns<float>();
  check_columns<double>();
  return passed();
}
