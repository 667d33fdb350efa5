// Checks that all instruction sets agree on the kernels of log-probabilities (LikelihoodKernels in csrc/cpu/kernels.h).
// tests/models/test_likelihood.py checks that the results are right.
#include "check.h"

namespace {

using namespace check;

template <class T> struct Results { std::vector<cpu::Sum<T>> normaliser, dlogits; };
template <class T> constexpr Output<Results<T>, T> kOutputs[] = {
    {"normaliser", &Results<T>::normaliser}, {"dlogits", &Results<T>::dlogits}};

template <class T> void check_rows(int64_t rows, int64_t levels) {
  const std::vector<T> logits = converted<T>(random<T>(rows * levels, 3));
  const std::vector<cpu::Sum<T>> dlog_prob = random<T>(rows, 1);
  std::vector<int64_t> values(rows);
  for (int64_t row = 0; row < rows; ++row) values[row] = row * (levels - 1) % levels;
  const auto run = [&](TeamSize, int level) {
    const auto& k = cpu::kernels<T>(level).likelihood;
    std::vector<cpu::Sum<T>> normaliser(2 * rows);
    std::vector<T> dlogits(rows * levels);
    k.normalise(rows, levels, data(logits), data(normaliser));
    k.gradient(rows, levels, data(logits), data(values), data(normaliser), data(dlog_prob), data(dlogits));
    return Results<T>{normaliser, converted<cpu::Sum<T>>(dlogits)};
  };
  check_teams(kOutputs<T>, "likelihood ", std::to_string(levels) + " levels", run);
}

template <class T> void check_levels() {
  for (int64_t levels : {16, 17, 31, 32, 40, 256}) check_rows<T>(5, levels);
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_levels<float>();
  check_levels<double>();
  check_levels<cpu::Bf16>();
  return report();
}
