// The GPUs that the fake driver has, by the environment variable FAKE_GPUS, such as "8.6 9.0". Without it: one of 9.0.
#pragma once
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <vector>

namespace fake {

constexpr int kSharedWithoutPermission = 48 << 10;  // bytes of a block, on every GPU
constexpr int kMostClusterBlocks = 8;               // that are portable

struct Gpu {
  int capability;     // 90 is compute capability 9.0
  int shared_memory;  // bytes that a block may have with permission
  int multiprocessors = 132;
  bool has_clusters() const { return capability >= 90; }
};

// CUDA C++ Programming Guide, technical specifications by compute capability.
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

inline const std::vector<Gpu>& gpus() {
  static const std::vector<Gpu> all = [] {
    const char* const text = std::getenv("FAKE_GPUS");
    std::istringstream capabilities(text ? text : "9.0");
    std::vector<Gpu> found;
    for (double c; capabilities >> c;) {
      const int capability = int(std::lround(10 * c));
      found.push_back({capability, shared_memory_of(capability)});
    }
    return found;
  }();
  return all;
}

}  // namespace fake
