// Runs benchmarks/gpu_day/microbenchmarks on the emulator, a few steps of each: their clock stands still there, but
// their barriers and addresses do not.
#include <cstdlib>

#include "emulator.h"

// What the runtime of the emulator has not, since the operators leave it to torch.
#include <cuda_runtime_api.h>
#include <cstring>
extern "C" {
cudaError_t cudaMalloc(void** p, size_t bytes) { return *p = std::malloc(bytes), cudaSuccess; }
cudaError_t cudaMemset(void* p, int value, size_t bytes) { return std::memset(p, value, bytes), cudaSuccess; }
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  return std::memcpy(to, from, bytes), cudaSuccess;
}
}

#include "../../benchmarks/gpu_day/microbenchmarks/main.cpp"

namespace pixelrnn::micro {
namespace {

std::vector<emulator::Buffer> buffers(const void* args, dim3) {
  const Args& a = *static_cast<const Args*>(args);
  return {{a.cycles, kMostBlocks * sizeof *a.cycles, emulator::Access::in_out, "cycles"},
      {a.memory, kMemoryWords * sizeof *a.memory, emulator::Access::in_out, "memory"}};
}

}  // namespace

// "" or what is wrong with it.
extern "C" const char* run_microbenchmark(const char* name, int steps) {
  static std::string answer;
  answer.clear();
  for (Benchmark b : kBenchmarks) {
    if (std::strcmp(b.name, name)) continue;
    emulator::add_kernel({b.name, b.entry, sizeof(Args), buffers});
    Args args{};
    cudaMalloc(reinterpret_cast<void**>(&args.cycles), kMostBlocks * sizeof *args.cycles);
    cudaMalloc(reinterpret_cast<void**>(&args.memory), kMemoryWords * sizeof *args.memory);
    args.steps = b.steps = steps;
    if (b.error) b.blocks = 2;
    try {
      run(b, args, 2);
    } catch (const Failure& failure) { answer = failure.why; }
    std::free(args.cycles), std::free(args.memory);
    return answer.c_str();
  }
  return "expected the name of a microbenchmark";
}

}  // namespace pixelrnn::micro
