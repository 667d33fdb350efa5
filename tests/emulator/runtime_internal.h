// Shared by the scheduler (runtime.cpp) and the checkers (race_checker.cpp, profiler.cpp).
#pragma once
#include <deque>
#include <random>

#include "runtime.h"

namespace emulator {

enum class Status : uint8_t { unborn, ready, at_block_barrier, at_warp_collective, at_cluster_barrier, done };

struct Fiber {
  void* stack_pointer = nullptr;
  unsigned char *stack_low = nullptr, *stack_high = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's
  uint3 thread{}, block_at{};
  unsigned id = 0;  // over the whole grid
  unsigned in_block = 0, block = 0, warp = 0, lane = 0, cluster = 0, rank = 0;
  Status status = Status::unborn;
  const char* place = "";                   // where it waits
  int in_runtime = 0;                       // > 0: accesses are not the kernel's
  bool arrived = false, skip_wait = false;  // between arriving at the cluster barrier and waiting
  unsigned arrived_phase = 0;
  unsigned aligned_barriers = 0;  // how many it has reached
  uint64_t priority = 0;
  LaneData result;
};
struct Collective {
  unsigned mask = 0, arrived = 0, aligned_barriers = 0;
  const char* place = "";
  LaneData in[32];
};
struct AlignedBarrier {
  const char* place;
  unsigned lanes;
};
struct Warp {
  std::vector<Collective> collectives;
  std::deque<AlignedBarrier> aligned;  // reached by some lanes, not yet by all
  unsigned aligned_done = 0, lanes = 0, exited = 0;
};
struct Block {
  unsigned live = 0, exited = 0, cluster = 0, rank = 0;  // live, exited: threads
  unsigned char* shared = nullptr;
  std::vector<Warp> warps;
  std::vector<Fiber*> at_barrier;
};
struct Cluster {
  std::vector<unsigned> blocks;               // by rank
  unsigned live = 0, arrived = 0, phase = 0;  // live, arrived: threads
  std::vector<Fiber*> waiting;
};
struct Region {
  unsigned char *low, *high;
  Access access;
  std::string name;
};

struct Machine {
  Launch launch;
  unsigned threads = 0, block_threads = 0, cluster_blocks = 1;
  std::vector<Fiber> fibers;
  std::vector<Block> blocks;
  std::vector<Cluster> clusters;
  std::vector<Region> regions;
  const unsigned char* args = nullptr;
  size_t args_bytes = 0;
  size_t shared_bytes = 0, dynamic_offset = 0;  // the window of a block
  unsigned char* shared_low = nullptr;          // all windows, each followed by memory that nothing may touch
  size_t shared_stride = 0, shared_total = 0;
  unsigned char* stacks = nullptr;
  size_t stacks_total = 0;
  Statistics statistics;
  std::mt19937_64 random;
};
extern Machine machine;
extern Fiber* self;  // the running fiber, or null

struct InRuntime {
  Fiber* fiber = self;
  InRuntime() {
    if (fiber) fiber->in_runtime++;
  }
  ~InRuntime() {
    if (fiber) fiber->in_runtime--;
  }
};
void yield();
std::string describe(const Fiber&);
inline bool is_shared(const void* p) {
  return p >= machine.shared_low && p < machine.shared_low + machine.shared_total;
}

// What the runtime tells a checker. This one, of the plain build, knows only the poison in memory that was not written.
struct Checker {
  virtual ~Checker() = default;
  virtual void launch_begins() {}
  virtual void launch_ends() {}
  virtual void block_starts(unsigned /*block*/) {}
  virtual void block_exits(unsigned /*block*/) {}
  virtual void region_added(const Region&) {}
  virtual void region_removed(const Region&) {}
  virtual void require_written(const Region&);
  virtual void threads_joined(const std::vector<Fiber*>&) {}  // everything before is ordered before everything after
  virtual void cluster_arrived(Fiber&, bool /*release*/) {}
  virtual void cluster_phase_ends(unsigned /*cluster*/, unsigned /*phase*/) {}
  virtual void cluster_waited(Fiber&) {}
  virtual void accessed(const void* /*p*/, size_t /*bytes*/, bool /*write*/, const void* /*place*/) {}
  virtual std::string profile() { return ""; }
};
extern Checker* checker;

}  // namespace emulator
