// The emulated driver's GPUs. The environment variable FAKE_GPUS lists their compute capabilities, as in "8.6 9.0". The
// default is one GPU of 9.0.
#pragma once
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <vector>

namespace emulator {

constexpr int kSharedWithoutOptIn = 48 << 10;  // bytes that a block may take without opt-in
// Blocks in the largest portable cluster, which every GPU with clusters can run.
constexpr int kMaxClusterBlocks = 8;

struct Gpu {
  int capability;                 // ten times the compute capability: 90 stands for 9.0
  int shared_memory;              // bytes that a block may take with opt-in
  int multiprocessors, gpc = 16;  // `gpc`: multiprocessors of a full GPC (graphics processing cluster)
  bool has_clusters() const { return capability >= 90; }
};

// Returns the bytes of shared memory that a block may take with opt-in, as the CUDA C++ Programming Guide says in its
// table "Technical Specifications per Compute Capability".
inline int shared_memory_of(int capability) {
  switch (capability) {
    case 70: return 96 << 10;
    case 75: return 64 << 10;
    case 80:
    case 87: return 163 << 10;
    case 86:
    case 89:
    case 120:
    case 121: return 99 << 10;
    default: return 227 << 10;
  }
}

inline Gpu gpu_of(int capability) { return {capability, shared_memory_of(capability), capability == 80 ? 108 : 132}; }

inline std::vector<Gpu>& gpus() {
  static std::vector<Gpu> all = [] {
    const char* const text = std::getenv("FAKE_GPUS");
    std::istringstream capabilities(text ? text : "9.0");
    std::vector<Gpu> found;
    for (double c; capabilities >> c;) found.push_back(gpu_of(int(std::lround(10 * c))));
    return found;
  }();
  return all;
}

}  // namespace emulator
