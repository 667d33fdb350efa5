// The choice of an instruction set, by level: 0 baseline, 1 AVX2 with FMA, 2 AVX-512.
#pragma once

namespace pixelrnn::cpu {

// The highest level that this machine has.
int best_instruction_set();

}  // namespace pixelrnn::cpu
