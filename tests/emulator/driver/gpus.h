// The emulated GPUs. FAKE_GPUS lists their compute capabilities, as in "8.6 9.0", and defaults to 9.0.
#pragma once
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <vector>

namespace emulator {

constexpr int kSharedWithoutOptIn = 48 << 10;  // bytes of a block without opt-in
// The largest cluster that every GPU with clusters can run.
constexpr int kMaxClusterBlocks = 8;

struct Gpu {
  int capability;                 // 90 stands for 9.0
  int shared_memory;              // bytes of a block with opt-in
  int multiprocessors, gpc = 16;  // `gpc` counts those of a full GPC (graphics processing cluster)
  bool has_clusters() const { return capability >= 90; }
};

// Returns the largest amount of shared memory, in bytes, that a block can have by opt-in. The values come from the
// table "Technical Specifications per Compute Capability" of the CUDA C++ Programming Guide.
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
