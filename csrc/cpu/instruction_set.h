// The choice of an instruction set, by level, from the one that the compiler takes for granted up: on x86-64
// "baseline", "avx2" (with FMA), "avx512"; on AArch64 "baseline", "neon"; elsewhere "baseline".
#pragma once

namespace pixelrnn::cpu {

// The highest level that this machine has.
int best_instruction_set();

const char* instruction_set_name(int level);

}  // namespace pixelrnn::cpu
