// Chooses the kernel and the layout (the division among blocks and warps) for a scan in one launch, or says why there
// is none. This needs no GPU.
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
  // The number of gates of a cell: 5 if the cell carries c up, otherwise 4 (../../formula.h).
  int gates = 4;
};

// The lowest compute capabilities of GPUs that run resident kernels, and clusters of blocks.
constexpr int kResidentCapability = 80, kClusterCapability = 90;

struct Device {
  int capability;     // 10 * major + minor
  int shared_memory;  // of a block, in bytes
  int multiprocessors;
};

// A kernel of kernel_list.h for one number format.
struct Variant {
  const char* name;
  Format format;
  bool backward;
  Kind kind;
  Pairs pairs;
  // Forward: the largest number of a warp's tiles (8 cells each). Backward: the hidden units that a thread computes of
  // its one cell, or 0 if a thread has several cells.
  int tiles_or_units;
  int threads;  // largest number in a block
  int gates;
  // The suffix, such as "8_4_256", is the kernel's name without the pass, the format, "_single" and "_cluster".
  bool has_suffix(const std::string& suffix) const;
};
const std::vector<Variant>& every_variant();

struct Plan {
  const Variant* variant = nullptr;  // null if no kernel is chosen
  Tiling tiling{};
  int shared_memory = 0;
  int64_t concurrency = 0;
  // The estimated time of the whole scan in seconds, and the estimated time of one line in cycles.
  double seconds = 0, cycles = 0;
  bool bound_by_memory = false;
  // `seconds`, times Constants::cluster_doubt for clusters. plan() minimizes it.
  double cost = 0;
  std::string why_not;  // reason why no kernel is chosen
  std::string describe() const;
};

// Restricts plan(), for example to measure one layout.
struct Restriction {
  int max_blocks = 8;
  // Blocks of a cluster and groups of warps. 0 allows any number.
  int blocks = 0, groups = 0;
  // Suffix of the kernel's name (Variant::has_suffix). Empty allows any kernel.
  std::string variant;
  // Allows the step path.
  bool step = true;
};

// Assumptions of estimate.cpp that come neither from costs.h nor from data sheets.
struct Constants {
  double launch = 3e-6;          // seconds between the starts of two kernels
  double first_line = 2000;      // cycles from a block's start to its first line, without the loads of its weights
  double weights_of_cycle = 32;  // bytes of weights that a multiprocessor loads in a cycle
  double step_products = 0.5;    // fraction of the GPU's rate of matrix products that the step path reaches
  double cluster_doubt = 1.1;    // factor on the time of clusters, because their exchange is uncertain
  double product = 6;            // cycles that costs.h assumes for a tensor-core instruction
  double exchange_bytes = 14;    // bytes that a multiprocessor stores to other blocks in a cycle
  double exchange_lines = 1;     // segments from other blocks that a block's shared memory accepts in a cycle
  // Factors on a GPU's clock and bandwidth, and on the cycles in costs.h.
  double clock = 1, bandwidth = 1, line = 1, tile = 1, pair = 1, cell = 1;
};

// Returns how many clusters (or blocks, without clusters) run at the same time, 0 if none fits, or kNoCode if the build
// has no code of the kernel for the GPU.
constexpr int64_t kNoCode = -1;
using Concurrency = std::function<int64_t(const Variant&, const Tiling&, int shared_memory)>;

// Tells whether a kernel with this suffix (Variant::has_suffix) runs as clusters of `blocks` blocks. 1 means no
// clusters, 0 any number.
bool has_variant(Format, bool backward, const std::string& suffix, int blocks, int gates = 4);

// Returns the plan of least cost, or a plan with only `why_not`. The default Concurrency is estimated_concurrency().
Plan plan(const Problem&, const Device&, const Restriction& = {}, const Concurrency& = nullptr, const Constants& = {});

// Returns the plan of least cost of each kernel that can run. If none can, `why_not` receives the reason.
std::vector<Plan> candidates(const Problem&, const Device&, const Restriction&, const Concurrency&, const Constants&,
    std::string* why_not = nullptr);

}  // namespace pixelrnn::cuda
