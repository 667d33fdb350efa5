// Measures how many multiply-adds a second this processor does at most: of float32, by fused multiply-adds of its
// widest vectors, and of bfloat16, by dot products if the processor has them. Built with -march=native, where it runs.
//
// The arguments are numbers of threads. A line of the output has a dtype, a number of threads, and the multiply-adds a
// second of all threads together.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
using Vector [[gnu::vector_size(kBytes)]] = float;

// A multiply-add waits for the one before it in its chain. A core needs as many chains as the latency times the
// multiply-adds that it starts in a cycle, up to 12, and registers for all of them.
constexpr int kChains = kBytes == 64 ? 24 : 12;
constexpr int kSteps = 1 << 19;  // about 4 ms, so that some of the runs of a busy machine are not interrupted
constexpr int kRuns = 60;
constexpr int kLanes = kBytes / sizeof(float);

// Volatile, so that the compiler can neither compute a chain in advance, nor drop it, nor see that chains are equal.
volatile float one = 1, sink;

template <class Step>
void run_chains(Step step) {
  Vector sums[kChains];
  for (Vector& sum : sums) sum = Vector{} + one;
  for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
    for (int chain = 0; chain < kChains; ++chain) sums[chain] = step(sums[chain]);
  }
  for (const Vector& sum : sums) sink = sum[0];
}

void float32() {
  const Vector factor = Vector{} + one / 2, term = Vector{} + one;
  run_chains([=](Vector sum) { return sum * factor + term; });
}

#if defined(__AVX512BF16__)
void bfloat16() {
  const auto factor = __m512bh(_mm512_set1_epi32(0x3f803f80 * int(one))),
             term = __m512bh(_mm512_set1_epi32(0x3f003f00 * int(one)));
  run_chains([=](Vector sum) { return Vector(_mm512_dpbf16_ps(__m512(sum), factor, term)); });
}
#endif

double seconds(int threads, void (*run)()) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) all.emplace_back(run);
  for (std::thread& thread : all) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Prints the rate of the fastest run. In the others, a thread waited for a core, or the clock was not yet at its
// highest.
void print_peak(const char* dtype, int threads, void (*run)(), int factors) {
  double best = seconds(threads, run);
  for (int i = 1; i < kRuns; ++i) best = std::min(best, seconds(threads, run));
  std::printf("%s %d %.6g\n", dtype, threads, double(threads) * kSteps * kChains * kLanes * factors / best);
}

}  // namespace

int main(int count, char** arguments) {
  for (int i = 1; i < count; ++i) {
    const int threads = std::atoi(arguments[i]);
    print_peak("float32", threads, float32, 1);
#if defined(__AVX512BF16__)
    print_peak("bfloat16", threads, bfloat16, 2);
#endif
  }
}
