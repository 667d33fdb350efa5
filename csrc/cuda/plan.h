// Chooses a scan's resident kernel (one launch for all lines) and layout, or says why none runs. It asks no GPU.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tiling.h"
#include "variants.h"

namespace pixelrnn::cuda {

constexpr const char* kFormatNames[] = {"bf16", "fp16", "tf32", "fp32"};

struct Problem {
  Format format;
  bool backward;
  int hidden, taps;
  int lines, cells;
  int64_t images, directions;
  int gates = 4;  // a cell of 5 gates reads c of both neighbours
};

struct Device {
  int capability;     // 10 * major + minor
  int shared_memory;  // bytes that a block may have
  int multiprocessors;
};

// A row of kernel_list.h, compiled in a format.
struct Variant {
  const char* name;
  Format format;
  bool backward;
  Kind kind;
  Pairs pairs;
  int tiles_or_units;  // most tiles of a warp (forward), or a thread's hidden units (backward; 0: see kernel_list.h)
  int threads;         // most threads of a block
  int gates;
  // Returns whether `suffix` is the name without pass, format, "_single" and "_cluster": "8_4_256", "8_1_256_images".
  bool has_suffix(const std::string& suffix) const;
};
const std::vector<Variant>& every_variant();

struct Plan {
  const Variant* variant = nullptr;  // null: no kernel runs
  Tiling tiling{};
  int shared_memory = 0;
  int64_t concurrency = 0;         // clusters, or blocks without clusters, that run at once
  double seconds = 0, cycles = 0;  // estimated time of a scan, cycles of a line
  bool bound_by_memory = false;
  double cost = 0;      // `seconds`, times cluster_doubt for clusters
  std::string why_not;  // a sentence, if no kernel runs
  std::string describe() const;
};

// Restricts the plan's choices, to measure one layout at a time.
struct Restriction {
  int max_blocks = 8;
  int blocks = 0, groups = 0;  // 0: any number
  std::string variant;         // suffix of Variant::has_suffix; empty: any
  bool step = true;            // plan() may choose the step path where it is faster
};

// The assumptions of estimate.cpp besides costs.h and the cards' data sheets. Tests vary each.
struct Constants {
  double launch = 3e-6;          // seconds between two kernels' starts
  double first_line = 2000;      // cycles before a block's first line, without loading weights
  double weights_of_cycle = 32;  // bytes that a multiprocessor loads in a cycle
  double step_products = 0.5;    // fraction of the data sheet's rate that the step path reaches
  double cluster_doubt = 1.1;    // factor on a cluster's time: its exchange is the least certain
  double product = 6;            // cycles of a scheduler for a tensor-core instruction in costs.h
  double exchange_bytes = 14;    // bytes that a multiprocessor pushes to others in a cycle
  double exchange_lines = 1;     // stores from other blocks that shared memory takes in a cycle
  double clock = 1, bandwidth = 1, line = 1, tile = 1, pair = 1, cell = 1;  // factors on estimated figures
};

// Returns Plan::concurrency for a layout, or 0 if none fits.
using Concurrency = std::function<int64_t(const Variant&, const Tiling&, int shared_memory)>;

// Returns whether a kernel with this suffix takes `blocks` blocks for an image (0: any number).
bool has_variant(Format, bool backward, const std::string& suffix, int blocks, int gates = 4);

// Returns the plan of least cost, or why no kernel runs. Without a Concurrency, the concurrency is estimated.
Plan plan(const Problem&, const Device&, const Restriction& = {}, const Concurrency& = nullptr, const Constants& = {});

// Returns each variant's plan of least cost. If no variant runs, sets `why_not` unless it is null.
std::vector<Plan> candidates(const Problem&, const Device&, const Restriction&, const Concurrency&, const Constants&,
    std::string* why_not = nullptr);

}  // namespace pixelrnn::cuda
