#include "plan.h"

#include <algorithm>
#include <initializer_list>

#include "entry.h"

#define FORWARD(name, ...) PIXELRNN_DECLARE_ENTRY(name);
#define BACKWARD(name, ...) PIXELRNN_DECLARE_ENTRY(name);
PIXELRNN_VARIANTS
#undef FORWARD
#undef BACKWARD

namespace pixelrnn::cuda {
namespace {

constexpr int kLeastCapability = 80, kClusterCapability = 90, kMostTaps = 3, kMostHidden = 1024, kMostCells = 1 << 14;
constexpr int64_t kMostOffset = 1 << 30;  // in a map of one image, which the forward walks by 32-bit offsets: beyond its edges too

#define FORWARD(name, F, HELD, TILES, THREADS, KIND) {#name, name##_entry, Format::F, false, kKind_##KIND, kHeld_##HELD, TILES, THREADS},
#define BACKWARD(name, F, HELD, CELLS, THREADS, KIND) {#name, name##_entry, Format::F, true, kKind_##KIND, kHeld_##HELD, CELLS, THREADS},
const Variant kVariants[] = {PIXELRNN_VARIANTS};
#undef FORWARD
#undef BACKWARD

int shared_memory(const Variant& v, const Tiling& s) {
  const int carried = v.backward && v.own == 0 ? 4 * s.cells() * s.units : 0;
  return s.lines_bytes() + s.barrier_bytes() + s.parts_bytes() + (v.held.rest ? s.weight_bytes() : 0) + carried;
}

// The concurrency of a card that cannot be asked. The blocks of a cluster lie in one GPC: where those have 16 and 18 multiprocessors,
// two clusters of 8 blocks fit into each.
int64_t estimated_concurrency(const Device& device, const Variant& v, const Tiling& s, int shared) {
  constexpr int gpc = 16;  // multiprocessors
  // A variant uses all registers of a multiprocessor when it has all its threads.
  const int together = std::max(1, std::min(v.threads / s.threads(), device.shared_memory / shared));
  if (s.blocks == 1) return int64_t(device.multiprocessors) * together;
  return int64_t(device.multiprocessors) / gpc * (gpc * together / s.blocks);
}

// A model of one line on an H100 (1.7 GHz): of each part the larger of its latency and of what the warps of a scheduler issue. The
// numbers are estimates from the instruction sequences, not measurements.
double model(const Problem& p, const Variant& v, const Tiling& s, int64_t concurrency) {
  constexpr double clocks_per_microsecond = 1700, shared_bytes_per_clock = 128;
  constexpr double mma_issue = 8, mma_latency = 33, fma_of_a_value = 10, cell_issue = 120, cell_latency = 300, block_barrier = 40, cluster_barrier = 300;
  const double warps = (s.slices() * s.groups + 3) / 4;  // of a scheduler
  auto part = [&](double latency, double issue) { return std::max(latency, warps * issue); };

  const double values = s.taps * s.tap_width();
  const int pairs = v.held.rest ? s.pairs() : v.held.pairs;  // registers are filled up with zeros
  const double product_issue = s.fma() ? fma_of_a_value * values : mma_issue * 2 * pairs * (s.backward ? 1 : 2);
  const double product_latency = s.fma() ? fma_of_a_value * values : mma_latency * pairs;
  const double active = p.cells > kTileCells ? 0.8 : 1;  // of the tiles, on average
  double clocks = 0;
  if (s.backward) {
    const double own = (p.cells + s.pass_cells() - 1) / s.pass_cells();
    clocks = active * s.tiles * part(product_latency, product_issue) + part(cell_latency + cell_issue * (own - 1), cell_issue * own);
  } else {
    clocks = active * s.tiles * part(product_latency + cell_latency, product_issue + cell_issue);
  }
  if (v.held.rest) clocks = std::max(clocks, active * s.tiles * s.groups * s.weight_bytes() / shared_bytes_per_clock);
  clocks += block_barrier + (s.blocks > 1 ? cluster_barrier : s.backward ? block_barrier : 0);

  const int64_t clusters = p.images * p.directions, waves = std::max<int64_t>(1, (clusters + concurrency - 1) / concurrency);
  return p.lines * double(waves) * clocks / clocks_per_microsecond;
}

std::string number(int64_t n) { return std::to_string(n); }

}  // namespace

std::string Plan::describe() const {
  if (!variant) return "step path: " + why_not;
  return std::string(variant->name) + ": " + number(tiling.blocks) + (tiling.blocks == 1 ? " block" : " blocks") + " an image, " + number(tiling.threads()) +
         " threads, " + number(shared_memory) + " bytes of shared memory";
}

bool Variant::is(const std::string& suffix) const {
  const std::string text = name, end = "_" + suffix + (cluster ? "_cluster" : "_single");
  const size_t prefix = text.find('_', text.find('_') + 1);  // behind pass and format
  return text.compare(prefix, std::string::npos, end) == 0;
}

bool has_variant(Format format, bool backward, const std::string& suffix) {
  for (const Variant& v : kVariants)
    if (v.format == format && v.backward == backward && v.is(suffix)) return true;
  return false;
}

Plan plan(const Problem& p, const Device& device, const Restriction& restriction, const Concurrency& ask) {
  Plan best;
  auto none = [&](std::string why) {
    best.why_not = std::move(why);
    return best;
  };
  if (device.capability < kLeastCapability)
    return none("expected a GPU of compute capability 8.0 or later, got " + number(device.capability / 10) + "." + number(device.capability % 10));
  if (p.taps > kMostTaps) return none("expected at most 3 taps, got " + number(p.taps));
  if (p.hidden % 8) return none("expected a hidden size that is a multiple of 8, got " + number(p.hidden));
  if (p.hidden > kMostHidden) return none("expected a hidden size of at most " + number(kMostHidden) + ", got " + number(p.hidden));
  if (p.cells > kMostCells) return none("expected lines of at most " + number(kMostCells) + " cells, got " + number(p.cells));
  if (int64_t(p.lines) * p.cells * p.hidden > kMostOffset) return none("expected lines * cells * hidden size to be at most " + number(kMostOffset));
  if (p.images * 8 > INT32_MAX) return none("expected at most " + number(INT32_MAX / 8) + " images, got " + number(p.images));

  const int max_blocks = device.capability < kClusterCapability ? 1 : restriction.max_blocks;
  bool some_tiling = false, some_refused = false;
  for (const Variant& v : kVariants) {
    if (v.format != p.format || v.backward != p.backward || (!restriction.variant.empty() && !v.is(restriction.variant))) continue;
    for (int blocks : {1, 2, 4, 8}) {
      if (blocks > max_blocks || (blocks > 1) != v.cluster || (restriction.blocks && blocks != restriction.blocks) || p.hidden % (8 * blocks)) continue;
      for (int groups = 1; groups <= 8; ++groups) {
        const int tiles = (p.cells + kTileCells * groups - 1) / (kTileCells * groups);
        const Tiling s{p.format, p.backward, p.hidden, p.taps, blocks, p.hidden / blocks, groups, tiles};
        if (restriction.groups && groups != restriction.groups) continue;
        if (groups > 1 && kTileCells * tiles * (groups - 1) >= p.cells) continue;  // a group would idle
        if (s.threads() > v.threads || s.threads() < s.units || (!v.held.rest && s.pairs() > v.held.pairs)) continue;
        if (!p.backward && tiles > v.own) continue;
        if (p.backward && v.own && s.pass_cells() * v.own < p.cells) continue;
        some_tiling = true;
        const int shared = shared_memory(v, s);
        if (shared > device.shared_memory) continue;
        const int64_t concurrency = ask ? ask(v, s, shared) : estimated_concurrency(device, v, s, shared);
        if (concurrency == 0) {
          some_refused = true;
          continue;
        }
        // A cluster has to be clearly better: its barrier is what the model knows least about.
        const double cost = model(p, v, s, concurrency) * (blocks > 1 ? 1.1 : 1);
        if (!best.variant || cost < best.cost) best = {&v, s, shared, cost, ""};
      }
    }
  }
  if (best.variant) return best;
  const std::string what = "hidden size " + number(p.hidden) + ", " + number(p.taps) + (p.taps == 1 ? " tap" : " taps") + " and lines of " + number(p.cells) + " cells";
  const std::string clusters = max_blocks == 1 ? " without clusters of thread blocks" : "";
  if (some_refused) return none("the GPU has no room for the blocks, or clusters of blocks, of " + what);
  if (some_tiling) return none("the weights and lines of " + what + " exceed the " + number(device.shared_memory) + " bytes of shared memory of a block" + clusters);
  return none("no kernel is compiled for " + what + clusters);
}

}  // namespace pixelrnn::cuda
