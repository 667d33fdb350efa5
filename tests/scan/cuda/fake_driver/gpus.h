// The GPUs that the fake driver has, by the environment variable FAKE_GPUS, such as "8.6 9.0". Without it: one of 9.0.
#pragma once
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

const std::vector<Gpu>& gpus();

}  // namespace fake
