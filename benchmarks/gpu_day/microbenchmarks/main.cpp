// Runs the microbenchmarks named on the command line, and prints a line of JSON of each; without a name, all names.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "../../../csrc/cuda/launch.h"
#include "kernels.h"

#define DECLARE(name, ...) PIXELRNN_DECLARE_ENTRY(name);
PIXELRNN_MICROBENCHMARKS(DECLARE)
PIXELRNN_MICRO_ERRORS(DECLARE)
#undef DECLARE

namespace pixelrnn::micro {
namespace {

constexpr int kRepeats = 7;  // the first one warms up

struct Benchmark {
  const char* name;
  const void* entry;
  unsigned blocks, threads;
  int steps;
  bool error;  // prints the largest error instead of a time

  bool cluster() const { return blocks > 1 && !error; }
  // Clusters, or the barriers that came with them.
  bool needs_clusters() const { return cluster() || !std::strncmp(name, "wait", 4); }
};

#define ROW(name, blocks, threads, steps) {#name, name##_entry, blocks, threads, steps, false},
#define ERROR_ROW(name, blocks, threads, steps) {#name, name##_entry, blocks, threads, steps, true},
const Benchmark kBenchmarks[] = {PIXELRNN_MICROBENCHMARKS(ROW) PIXELRNN_MICRO_ERRORS(ERROR_ROW)};
#undef ROW
#undef ERROR_ROW

struct Failure { std::string why; };
void check(cudaError_t error) {
  if (error != cudaSuccess) throw Failure{cudaGetErrorString(error)};
}

// Whether the exchanged values are those that were sent.
void check_values(const Benchmark& b, const std::vector<uint32_t>& memory) {
  const bool trips = !std::strncmp(b.name, "round_trip", 10), exchange = !std::strncmp(b.name, "exchange", 8);
  const size_t count = trips ? b.blocks / 2 : exchange ? b.blocks * b.threads : 0;
  const uint32_t wanted = trips ? 2 * b.steps : 1;
  for (size_t i = 0; i < count; ++i)
    if (memory[i] != wanted)
      throw Failure{
          "expected " + std::to_string(wanted) + " at " + std::to_string(i) + ", got " + std::to_string(memory[i])};
}

void run(const Benchmark& b, const Args& args, int repeats = kRepeats) {
  int capability = 0;
  check(cudaDeviceGetAttribute(&capability, cudaDevAttrComputeCapabilityMajor, 0));
  if (b.needs_clusters() && capability < 9) {
    std::printf(
        "{\"name\": \"%s\", \"status\": \"cannot run\", \"note\": \"expected compute capability 9.0 or later, got "
        "%d\"}\n",
        b.name, capability);
    return;
  }
  const cuda::Layout layout{b.blocks, 1, b.threads, 0, b.cluster() ? b.blocks : 1};
  std::vector<long long> cycles(kMostBlocks);
  std::vector<uint32_t> memory(kMemoryWords);
  std::vector<double> times;
  for (int repeat = 0; repeat < (b.error ? 1 : repeats); ++repeat) {
    check(cudaMemset(args.memory, 0, kMemoryWords * sizeof *args.memory));
    check(cuda::launch(b.entry, layout, args, nullptr));
    check(cudaMemcpy(cycles.data(), args.cycles, kMostBlocks * sizeof *args.cycles, cudaMemcpyDeviceToHost));
    check(cudaMemcpy(memory.data(), args.memory, kMemoryWords * sizeof *args.memory, cudaMemcpyDeviceToHost));
    check_values(b, memory);
    if (repeat) times.push_back(double(*std::max_element(cycles.begin(), cycles.begin() + b.blocks)) / b.steps);
  }
  if (b.error) {
    float worst = 0;
    for (size_t i = 0; i < size_t(b.blocks) * b.threads; ++i) {
      float error;
      std::memcpy(&error, &memory[i], sizeof error);
      worst = std::max(worst, error);
    }
    std::printf("{\"name\": \"%s\", \"ulp\": %.3f}\n", b.name, worst);
    return;
  }
  std::sort(times.begin(), times.end());
  std::printf("{\"name\": \"%s\", \"cycles\": %.2f, \"least\": %.2f, \"most\": %.2f}\n", b.name,
      times[times.size() / 2], times.front(), times.back());
}

int main(int count, char** names) {
  if (count < 2)
    for (const Benchmark& b : kBenchmarks) std::printf("%s\n", b.name);
  try {
    Args args{};
    for (int i = 1; i < count; ++i) {
      const auto* b = std::find_if(std::begin(kBenchmarks), std::end(kBenchmarks),
          [&](const Benchmark& b) { return !std::strcmp(b.name, names[i]); });
      if (b == std::end(kBenchmarks))
        throw Failure{"expected the name of a microbenchmark, got " + std::string(names[i])};
      if (!args.memory) {
        check(cudaMalloc(reinterpret_cast<void**>(&args.cycles), kMostBlocks * sizeof *args.cycles));
        check(cudaMalloc(reinterpret_cast<void**>(&args.memory), kMemoryWords * sizeof *args.memory));
      }
      args.steps = b->steps;
      run(*b, args);
      std::fflush(stdout);
    }
  } catch (const Failure& failure) {
    std::printf("%s\n", failure.why.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace pixelrnn::micro

int main(int count, char** names) { return pixelrnn::micro::main(count, names); }
