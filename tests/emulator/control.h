// What control.cpp sets and cuda_driver.cpp obeys.
#pragma once
#include "runtime.h"

namespace emulator {

struct Device {
  const char* name;
  int major, minor;
  bool clusters;
  size_t shared_per_block;
  unsigned multiprocessors, gpc;  // gpc: multiprocessors of one, at most
};
inline constexpr Device devices[] = {
    {"sm_80", 8, 0, false, 163 << 10, 108, 16}, {"sm_90", 9, 0, true, 227 << 10, 132, 16}};
inline constexpr const char* schedule_names[] = {"forward", "reverse", "random", "burst", "starve"};

struct Control {
  Device device = devices[1];
  Schedule schedule = Schedule::burst;
  uint64_t seed = 1;
  unsigned preemption = 0, resident = 2;
  unsigned context = 1;     // a number of its own for each device and size of taken_shared
  size_t taken_shared = 0;  // bytes of static shared memory that a compiler is said to have taken in every kernel
};
extern Control control;

}  // namespace emulator
