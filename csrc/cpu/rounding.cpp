#include "rounding.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "buffer.h"
#include "float_environment.h"
#include "kernels.h"

namespace pixelrnn::cpu {
namespace {

constexpr int64_t kLeast = 1 << 15;  // numbers of a share: fewer take less time than waking a thread

}  // namespace

void round_to_grid(double* x, int64_t n, int bits, double limit, const Team& team, int instruction_set) {
  const auto round = kernels<double>(instruction_set).round;
  const double integral = std::ldexp(1., DBL_MANT_DIG - 1 - bits);
  const int shares = int(std::min<int64_t>(team.threads, (n + kLeast - 1) / kLeast));
  team.parallel(shares, [&](int s0, int s1) {
    const DefaultFloatEnvironment environment;
    const int64_t first = share(n, s0, shares);
    round(x + first, share(n, s1, shares) - first, integral, limit);
  });
}

}  // namespace pixelrnn::cpu
