// Which resident kernel runs a scan, and how it is laid out; or why none does. Pure arithmetic: no GPU is asked.
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
  int gates = 4;  // of a unit; with 5, a cell carries on the states of both neighbours
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
  int own;      // the most tiles of a warp (forward), units of a thread (backward; 0: of any number of cells)
  int threads;  // the most
  int gates;    // of a unit

  // The name without pass and format, such as "8_1_256_images"; and without single or cluster, which a number of blocks
  // says: "8_4_256".
  bool is(const std::string& suffix) const;
};
const std::vector<Variant>& every_variant();

struct Plan {
  const Variant* variant = nullptr;  // null: there is none
  Tiling tiling{};
  int shared_memory = 0;
  int64_t at_once = 0;             // clusters, or single blocks, that the GPU runs
  double seconds = 0, cycles = 0;  // expected (estimate.h), of a scan and of a line
  bool bound_by_memory = false;
  double cost = 0;      // to compare layouts with
  std::string why_not;  // one sentence, where there is none

  std::string describe() const;
};

// Restricts the plan's choices. The layout sweep uses it to force one layout at a time.
struct Restriction {
  int max_blocks = 8;
  int blocks = 0;       // 0: any
  int groups = 0;       // 0: any
  std::string variant;  // a name of Variant::is; empty: any
  bool step = true;     // the step path too: there is no plan where it is expected to be faster
};

// The assumptions of estimate.cpp besides the table of costs.h and the cards' data sheets. Tests vary each to see what
// a choice hangs on.
struct Constants {
  double launch = 3e-6;          // seconds between the starts of two kernels
  double first_line = 2000;      // cycles until a block's first line begins, and, on top, of its weights
  double weights_of_cycle = 32;  // bytes that a multiprocessor loads
  double step_products = 0.5;    // of the data sheet's rate, in the step path's matrix products
  double cluster_doubt = 1.1;    // a cluster has to be clearly better: of its exchange the table knows least
  double product = 6;            // cycles of a tensor-core product of a scheduler, in the table
  double exchange_bytes = 14;    // bytes a cycle that a multiprocessor pushes to others in its cluster
  double exchange_lines = 1;     // lines a cycle, of 128 bytes, that shared memory takes from others
  double clock = 1, bandwidth = 1, line = 1, tile = 1, pair = 1, cell = 1;  // factors
};

// How many clusters of a layout (single blocks, where it has none) the GPU runs at once. 0: it has no room for one.
using Concurrency = std::function<int64_t(const Variant&, const Tiling&, int shared_memory)>;

// For so many blocks of an image; 0: any number.
bool has_variant(Format, bool backward, const std::string& suffix, int blocks, int gates = 4);

// The layout that is expected to be fastest. Without a GPU to ask, the concurrency is an estimate.
Plan plan(const Problem&, const Device&, const Restriction& = {}, const Concurrency& = nullptr, const Constants& = {});

// The fastest layout of each variant that can run. Where there is none, `why_not` is set, if given.
std::vector<Plan> candidates(const Problem&, const Device&, const Restriction&, const Concurrency&, const Constants&,
    std::string* why_not = nullptr);

}  // namespace pixelrnn::cuda
