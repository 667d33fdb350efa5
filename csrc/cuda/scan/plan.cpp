#include "plan.h"

#include <algorithm>
#include <climits>
#include <cstdio>

#include "costs.h"
#include "estimate.h"
#include "kernel_list.h"

namespace pixelrnn::cuda {
namespace {

constexpr int kMaxTaps = 3, kMaxCells = 1 << 14;
// The planner refuses a kernel if one cluster would compute more than this number of hidden states, which is the
// product of lines, cells of a line, hidden units and images. The limit is well below 2^31, because forward kernels
// compute some 32-bit offsets that lie beyond the end of the tensor.
constexpr int64_t kMaxOffset = 1 << 30;

struct Pass {
  bool backward;
  int gates;
};
constexpr Pass forward{false, 4}, backward{true, 4}, forward5{false, 5}, backward5{true, 5};
#define KERNEL(F, PASS, STORAGE, REGISTERS, SHARED, SIZE, THREADS, KIND)                             \
  {#PASS "_" #F "_" #STORAGE "_" #SIZE "_" #THREADS "_" #KIND, Format::F, PASS.backward, Kind::KIND, \
      {REGISTERS, SHARED}, SIZE, THREADS, PASS.gates},
#define HALF(...) KERNEL(bf16, __VA_ARGS__) KERNEL(fp16, __VA_ARGS__)
#define TF32(...) KERNEL(tf32, __VA_ARGS__)
#define FP32(...) KERNEL(fp32, __VA_ARGS__)
const std::vector<Variant> kVariants = {PIXELRNN_KERNELS_4 PIXELRNN_KERNELS_5};

int shared_weights(const Variant& v, const Tiling& s) {
  return v.pairs.registers ? s.pairs_bytes(v.pairs.shared) : s.weight_bytes();
}

int shared_memory(const Variant& v, const Tiling& s) {
  const int carried = v.backward && v.tiles_or_units == 0 ? s.carried_bytes(kUnitsOfManyCells) : 0;
  return s.lead_bytes(s.segments) + s.lines_bytes(s.segments) + s.barrier_bytes() + s.parts_bytes(s.segments) +
         shared_weights(v, s) + carried + s.up_bytes();
}

std::string number(int64_t n) { return std::to_string(n); }
std::string milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g ms", 1e3 * seconds);
  return text;
}

}  // namespace

const std::vector<Variant>& every_variant() { return kVariants; }

std::string Plan::describe() const {
  if (!variant) return "step path: " + why_not;
  const std::string images = tiling.images == 1 ? " an image, " : " for " + number(tiling.images) + " images, ";
  return std::string(variant->name) + ": " + number(tiling.blocks) + (tiling.blocks == 1 ? " block" : " blocks") +
         images + number(tiling.threads()) + " threads, " + number(shared_memory) + " bytes of shared memory, " +
         number(concurrency) + " at once; expected " + milliseconds(seconds) + ", " + number(int64_t(cycles + 0.5)) +
         " cycles a line" + (bound_by_memory ? ", bound by memory" : "") + ", by " + kCostSource;
}

bool Variant::has_suffix(const std::string& suffix) const {
  const char* const ends[] = {"_single", "_cluster", ""};
  const std::string text = name, end = "_" + suffix + ends[int(kind)];
  const size_t prefix = text.find('_', text.find('_') + 1);
  return text.compare(prefix, std::string::npos, end) == 0;
}

bool has_variant(Format format, bool backward, const std::string& suffix, int blocks, int gates) {
  for (const Variant& v : kVariants)
    if (v.format == format && v.backward == backward && v.gates == gates && v.has_suffix(suffix) &&
        (!blocks || has_blocks(v.kind, blocks)))
      return true;
  return false;
}

// Returns a clause that names the largest hidden size below the problem's for which a kernel runs. Weights and lines
// must fit in shared memory, so this size depends on the GPU, the format, the taps and the cells of a line.
static std::string largest_hidden(
    Problem p, const Device& device, const Restriction& restriction, const Concurrency& count) {
  constexpr int kMostThreads = 512, kMostBlocks = 8;  // a thread has at least one hidden unit
  p.hidden = std::min(p.hidden, kMostBlocks * kMostThreads + 8);
  while ((p.hidden -= 8) > 0)
    if (!candidates(p, device, restriction, count, {}).empty())
      return "; the largest hidden size that fits is " + number(p.hidden);
  return "";
}

std::vector<Plan> candidates(const Problem& p, const Device& device, const Restriction& restriction,
    const Concurrency& count, const Constants& constants, std::string* why_not) {
  auto refuse = [&](std::string why) {
    if (why_not) *why_not = std::move(why);
    return std::vector<Plan>();
  };
  if (device.capability < kResidentCapability)
    return refuse("expected a GPU of compute capability 8.0 or later, got " + number(device.capability / 10) + "." +
                  number(device.capability % 10));
  if (carries_up(p.gates) && p.taps != 2)
    return refuse("expected 2 taps of cells of five gates, got " + number(p.taps));
  if (p.taps > kMaxTaps) return refuse("expected at most 3 taps, got " + number(p.taps));
  if (p.hidden % 8) return refuse("expected a hidden size that is a multiple of 8, got " + number(p.hidden));
  if (p.cells > kMaxCells)
    return refuse("expected lines of at most " + number(kMaxCells) + " cells, got " + number(p.cells));
  if (int64_t(p.lines) * p.cells * p.hidden > kMaxOffset)
    return refuse("expected lines * cells * hidden size to be at most " + number(kMaxOffset));
  if (p.images * 8 > INT32_MAX)
    return refuse("expected at most " + number(INT32_MAX / 8) + " images, got " + number(p.images));

  const int max_blocks = device.capability < kClusterCapability ? 1 : restriction.max_blocks;
  std::vector<Plan> found;
  int min_shared = INT_MAX;
  bool refused = false, too_far = false, no_code = false;
  for (const Variant& v : kVariants) {
    Plan best;
    if (v.format != p.format || v.backward != p.backward || v.gates != p.gates ||
        (!restriction.variant.empty() && !v.has_suffix(restriction.variant)))
      continue;
    const int max_tiles = v.tiles_or_units, thread_units = v.tiles_or_units;
    for (int blocks : {1, 2, 4, 8}) {
      if (blocks > max_blocks || !has_blocks(v.kind, blocks) || (restriction.blocks && blocks != restriction.blocks) ||
          p.hidden % (8 * blocks) || p.hidden / blocks > v.threads)
        continue;
      for (int groups = 1; groups <= 8; ++groups) {
        const int min_tiles = (p.cells + kTileCells * groups - 1) / (kTileCells * groups);
        const int tiles =
            p.backward ? min_tiles : round_up(min_tiles, tiles_at_once(v.pairs, max_tiles, p.format == Format::fp32));
        const bool segments = pushes_segments(v.format, v.gates, v.kind != Kind::single, v.backward, v.tiles_or_units);
        Tiling s{p.format, p.backward, segments, p.hidden, p.taps, blocks, p.hidden / blocks, groups, tiles,
            images_per_cluster(v.kind), {}, p.gates};
        for (int pair = 0; pair < kMaxOffsets; ++pair) s.first_offsets[pair] = s.pair_offset(pair);
        if (restriction.groups && groups != restriction.groups) continue;
        // A group of warps that has no tile (8 cells) takes no part in the matrix product, so the forward refuses such
        // a layout. The backward accepts it if the other groups have too few threads to compute all cells of a line at
        // once.
        const bool has_idle_group = groups > 1 && kTileCells * min_tiles * (groups - 1) >= p.cells;
        if (has_idle_group &&
            !(p.backward && thread_units && 32 * s.slices() * (groups - 1) / (s.units / thread_units) < p.cells))
          continue;
        if (s.threads() > v.threads || s.threads() < s.units || s.pairs() > v.pairs.max()) continue;
        if (!p.backward && tiles > max_tiles) continue;
        if (p.backward && thread_units &&
            (s.cells_at_once(thread_units) < p.cells ||
                (tiles > 1 && has_one_tile(thread_units, v.kind == Kind::cluster))))
          continue;
        if (s.images * int64_t(p.lines) * p.cells * p.hidden > kMaxOffset) {
          too_far = true;
          continue;
        }
        const int shared = shared_memory(v, s);
        min_shared = std::min(min_shared, shared);
        if (shared > device.shared_memory) continue;
        const int64_t concurrency = count ? count(v, s, shared) : estimated_concurrency(device, v, s, shared);
        if (concurrency == kNoCode) {
          no_code = true;
          continue;
        }
        if (concurrency == 0) {
          refused = true;
          continue;
        }
        const Estimate expected = estimate(p, device, v, s, concurrency, constants);
        const double cost = expected.seconds * (v.kind != Kind::single ? constants.cluster_doubt : 1);
        if (!best.variant || cost < best.cost)
          best = {&v, s, shared, concurrency, expected.seconds, expected.cycles, expected.bound_by_memory, cost, ""};
      }
    }
    if (best.variant) found.push_back(best);
  }
  if (!found.empty()) return found;
  const std::string sizes = "hidden size " + number(p.hidden) + ", " + number(p.taps) +
                            (p.taps == 1 ? " tap" : " taps") + " and lines of " + number(p.cells) + " cells";
  const std::string clusters = max_blocks == 1 ? " without clusters of thread blocks" : "";
  if (no_code)
    return refuse("no code of the kernels of " + sizes +
                  " runs on this GPU (pixelrnn_ext.build_config() says what the build left out)");
  if (refused) return refuse("the GPU has no room for the blocks, or clusters of blocks, of " + sizes);
  const std::string largest = why_not ? largest_hidden(p, device, restriction, count) : "";
  if (min_shared < INT_MAX)
    return refuse("the weights and lines of " + sizes + " need " + number(min_shared) +
                  " bytes of shared memory, a block may have " + number(device.shared_memory) + clusters + largest);
  if (too_far)
    return refuse(
        "expected lines * cells * hidden size of " + number(kImages) + " images to be at most " + number(kMaxOffset));
  return refuse("no kernel is compiled for " + sizes + clusters + largest);
}

Plan plan(const Problem& p, const Device& device, const Restriction& restriction, const Concurrency& count,
    const Constants& constants) {
  Plan best, none;
  for (const Plan& found : candidates(p, device, restriction, count, constants, &none.why_not))
    if (!best.variant || found.cost < best.cost) best = found;
  if (!best.variant) return none;
  const double step = estimate_step(p, device, constants);
  if (!restriction.step || best.seconds <= step) return best;
  none.why_not = std::string("faster by ") + kCostSource + ": " + milliseconds(step) + ", " + best.variant->name + " " +
                 milliseconds(best.seconds);
  return none;
}

}  // namespace pixelrnn::cuda
