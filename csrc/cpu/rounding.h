// Rounding to a grid in one pass over memory, by all threads of a team, each in the default floating-point environment.
#pragma once
#include <cstdint>

#include "team.h"

namespace pixelrnn::cpu {

// Rounds n numbers in place to the nearest multiple of 2^-bits, ties to even, and clamps them to [-limit, limit]. NaN
// stays.
void round_to_grid(double* x, int64_t n, int bits, double limit, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
