// The arguments of a microbenchmark's kernel. gpu_day/run_micro.py has the same types and sizes.
#pragma once
#include <cstdint>

namespace pixelrnn::micro {

constexpr int kMemoryWords = 524288, kMostBlocks = 1024;

struct Args {
  long long* cycles;  // [kMostBlocks]: cycles of all steps, by block
  uint32_t* memory;   // [kMemoryWords], zeros
  int steps;
};

}  // namespace pixelrnn::micro
