// Which resident kernel runs a scan, and how it is laid out; or why none does. Pure arithmetic: no GPU is asked.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "tiling.h"

namespace pixelrnn::cuda {

struct Problem {
  Format format;
  bool backward;
  int hidden, taps;
  int lines, cells;
  int64_t images, directions;
};

struct Device {
  int capability;       // 10 * major + minor
  int shared_memory;    // bytes that a block may have
  int multiprocessors;
};

// One compiled kernel, see variants.h.
struct Variant {
  const char* name;
  const void* entry;
  Format format;
  bool backward;
  int pairs, own;  // own: tiles of a warp (forward), cells of a thread (backward)
  int threads;     // the most
};

struct Plan {
  const Variant* variant = nullptr;  // null: there is none
  Tiling tiling{};
  int shared_memory = 0;
  double cost = 0;  // by a model of the H100, to compare layouts with: not a measurement
  std::string why_not;      // one sentence, where there is none

  std::string describe() const;
};

// What may be chosen from, to try one layout after the other.
struct Restriction {
  int max_blocks = 8;
  int blocks = 0;        // 0: any
  int groups = 0;        // 0: any
  std::string variant;   // the end of a variant's name, such as "8_256"; empty: any
};

// How many clusters of a layout (single blocks, where it has none) the GPU runs at once. 0: it has no room for one.
using Concurrency = std::function<int64_t(const Variant&, const Tiling&, int shared_memory)>;

bool has_variant(Format, bool backward, const std::string& end_of_name);

// The layout that the model finds fastest. Without a GPU to ask, the concurrency is an estimate.
Plan plan(const Problem&, const Device&, const Restriction& = {}, const Concurrency& = nullptr);

}  // namespace pixelrnn::cuda
