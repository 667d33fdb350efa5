// Chooses the resident kernel and the layout of a scan, or says why none runs. It asks no GPU.
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

// One compiled kernel: a row of kernel_list.h.
struct Variant {
  const char* name;
  Format format;
  bool backward;
  Kind kind;
  Held held;
  int own;      // most tiles of a warp (forward), or units of a thread (backward; 0: of any number of cells)
  int threads;  // most threads of a block
  int gates;
  // Returns whether `suffix` is the name without pass, format, "_single" and "_cluster": "8_4_256", "8_1_256_images".
  bool is(const std::string& suffix) const;
};
const std::vector<Variant>& every_variant();

struct Plan {
  const Variant* variant = nullptr;  // null: no kernel runs
  Tiling tiling{};
  int shared_memory = 0;
  int64_t at_once = 0;             // clusters, or single blocks, that run at once
  double seconds = 0, cycles = 0;  // estimates, of a scan and of a line
  bool bound_by_memory = false;
  double cost = 0;      // `seconds`, times cluster_doubt for a cluster
  std::string why_not;  // one sentence if no kernel runs
  std::string describe() const;
};

// Restricts the plan's choices. The layout sweep uses it to force one layout at a time.
struct Restriction {
  int max_blocks = 8;
  int blocks = 0;       // 0: any number
  int groups = 0;       // 0: any number
  std::string variant;  // a name of Variant::is; empty: any
  bool step = true;     // plan() finds no kernel if the step path is faster
};

// The assumptions of estimate.cpp besides costs.h and the cards' data sheets. Tests vary each to see which choices
// depend on it.
struct Constants {
  double launch = 3e-6;          // Seconds between the starts of two kernels.
  double first_line = 2000;      // Cycles before a block's first line, besides loading its weights.
  double weights_of_cycle = 32;  // Bytes of weights that a multiprocessor loads in a cycle.
  double step_products = 0.5;    // Part of the data sheet's rate that the step path's products reach.
  double cluster_doubt = 1.1;    // Factor on a cluster's time, because its exchange is known least.
  double product = 6;            // Cycles of a scheduler for a tensor-core product, in costs.h.
  double exchange_bytes = 14;    // Bytes that a multiprocessor pushes in a cycle.
  double exchange_lines = 1;     // Pushes from other blocks that shared memory takes in a cycle.
  double clock = 1, bandwidth = 1, line = 1, tile = 1, pair = 1, cell = 1;  // Factors on estimated figures.
};

// Returns how many clusters of a layout, or single blocks, the GPU runs at once. 0: none fits.
using Concurrency = std::function<int64_t(const Variant&, const Tiling&, int shared_memory)>;

// Returns whether a kernel of this name takes `blocks` blocks. 0: any number.
bool has_variant(Format, bool backward, const std::string& suffix, int blocks, int gates = 4);

// Returns the layout of least cost, or why there is none. Without a Concurrency, estimates it.
Plan plan(const Problem&, const Device&, const Restriction& = {}, const Concurrency& = nullptr, const Constants& = {});

// Returns each variant's layout of least cost. If no variant runs, sets `why_not` unless it is null.
std::vector<Plan> candidates(const Problem&, const Device&, const Restriction&, const Concurrency&, const Constants&,
    std::string* why_not = nullptr);

}  // namespace pixelrnn::cuda
