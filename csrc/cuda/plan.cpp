#include "plan.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <initializer_list>
#include <iterator>

#include "estimate.h"
#include "kernel_list.h"

namespace pixelrnn::cuda {
namespace {

constexpr int kLeastCapability = 80, kClusterCapability = 90, kMostTaps = 3, kMostHidden = 1024, kMostCells = 1 << 14;
// The most values of a cluster's images in a map. The forward computes 32-bit offsets, and some beyond the map.
constexpr int64_t kMostOffset = 1 << 30;

// A pass that rows of kernel_list.h name.
struct Pass {
  bool backward;
  int gates;
};
constexpr Pass forward{false, 4}, backward{true, 4}, forward5{false, 5}, backward5{true, 5};
#define KERNEL(F, PASS, HELD, REGISTERS, SHARED, OWN, THREADS, KIND)                                                  \
  {#PASS "_" #F "_" #HELD "_" #OWN "_" #THREADS "_" #KIND, Format::F, PASS.backward, Kind::KIND, {REGISTERS, SHARED}, \
      OWN, THREADS, PASS.gates},
#define HALF(...) KERNEL(bf16, __VA_ARGS__) KERNEL(fp16, __VA_ARGS__)
#define TF32(...) KERNEL(tf32, __VA_ARGS__)
#define FP32(...) KERNEL(fp32, __VA_ARGS__)
const std::vector<Variant> kVariants = {PIXELRNN_KERNELS_4 PIXELRNN_KERNELS_5};

int shared_weights(const Variant& v, const Tiling& s) {
  return v.held.registers ? s.pairs_bytes(v.held.shared) : s.weight_bytes();
}

int shared_memory(const Variant& v, const Tiling& s) {
  const int carried = v.backward && v.own == 0 ? s.carried_bytes(kOwnOfMany) : 0;
  return s.lines_bytes() + s.barrier_bytes() + s.parts_bytes() + shared_weights(v, s) + carried + s.up_bytes();
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
  const std::string share = tiling.images == 1 ? " an image, " : " for " + number(tiling.images) + " images, ";
  return std::string(variant->name) + ": " + number(tiling.blocks) + (tiling.blocks == 1 ? " block" : " blocks") +
         share + number(tiling.threads()) + " threads, " + number(shared_memory) + " bytes of shared memory, " +
         number(at_once) + " at once; expected " + milliseconds(seconds) + ", " + number(int64_t(cycles + 0.5)) +
         " cycles a line" + (bound_by_memory ? ", bound by memory" : "") + ", by " + cost_source();
}

bool Variant::is(const std::string& suffix) const {
  const std::string text = name, end = "_" + suffix +
                                       (kind == Kind::single       ? "_single"
                                           : kind == Kind::cluster ? "_cluster"
                                                                   : "");
  const size_t prefix = text.find('_', text.find('_') + 1);  // behind pass and format
  return text.compare(prefix, std::string::npos, end) == 0;
}

bool has_variant(Format format, bool backward, const std::string& suffix, int blocks, int gates) {
  for (const Variant& v : kVariants)
    if (v.format == format && v.backward == backward && v.gates == gates && v.is(suffix) &&
        (!blocks || has_blocks(v.kind, blocks)))
      return true;
  return false;
}

std::vector<Plan> candidates(const Problem& p, const Device& device, const Restriction& restriction,
    const Concurrency& ask, const Constants& constants, std::string* why_not) {
  auto none = [&](std::string why) {
    if (why_not) *why_not = std::move(why);
    return std::vector<Plan>();
  };
  if (device.capability < kLeastCapability)
    return none("expected a GPU of compute capability 8.0 or later, got " + number(device.capability / 10) + "." +
                number(device.capability % 10));
  if (p.gates == 5 && p.taps != 2) return none("expected 2 taps of cells of five gates, got " + number(p.taps));
  if (p.taps > kMostTaps) return none("expected at most 3 taps, got " + number(p.taps));
  if (p.hidden % 8) return none("expected a hidden size that is a multiple of 8, got " + number(p.hidden));
  if (p.hidden > kMostHidden)
    return none("expected a hidden size of at most " + number(kMostHidden) + ", got " + number(p.hidden));
  if (p.cells > kMostCells)
    return none("expected lines of at most " + number(kMostCells) + " cells, got " + number(p.cells));
  if (int64_t(p.lines) * p.cells * p.hidden > kMostOffset)
    return none("expected lines * cells * hidden size to be at most " + number(kMostOffset));
  if (p.images * 8 > INT32_MAX)
    return none("expected at most " + number(INT32_MAX / 8) + " images, got " + number(p.images));

  const int max_blocks = device.capability < kClusterCapability ? 1 : restriction.max_blocks;
  std::vector<Plan> found;
  int least_shared = INT_MAX;
  bool some_refused = false, some_too_far = false;
  for (const Variant& v : kVariants) {
    Plan best;
    if (v.format != p.format || v.backward != p.backward || v.gates != p.gates ||
        (!restriction.variant.empty() && !v.is(restriction.variant)))
      continue;
    for (int blocks : {1, 2, 4, 8}) {
      if (blocks > max_blocks || !has_blocks(v.kind, blocks) || (restriction.blocks && blocks != restriction.blocks) ||
          p.hidden % (8 * blocks))
        continue;
      for (int groups = 1; groups <= 8; ++groups) {
        const int least = (p.cells + kTileCells * groups - 1) / (kTileCells * groups);
        const int tiles = p.backward ? least : round_up(least, tiles_at_once(v.held, v.own, p.format == Format::fp32));
        Tiling s{p.format, p.backward, p.hidden, p.taps, blocks, p.hidden / blocks, groups, tiles, images_of(v.kind)};
        s.gates = p.gates;
        for (int pair = 0; pair < int(std::size(s.first_offsets)); ++pair) s.first_offsets[pair] = s.pair_offset(pair);
        if (restriction.groups && groups != restriction.groups) continue;
        // A group of warps without a tile is useful only to a backward that needs its threads for the pointwise half.
        const bool idles = groups > 1 && kTileCells * least * (groups - 1) >= p.cells;
        if (idles && !(p.backward && v.own && 32 * s.slices() * (groups - 1) / (s.units / v.own) < p.cells)) continue;
        if (s.threads() > v.threads || s.threads() < s.units || s.pairs() > v.held.most()) continue;
        if (!p.backward && tiles > v.own) continue;
        if (p.backward && v.own &&
            (s.pass_cells(v.own) < p.cells || (tiles > 1 && is_of_one_tile(v.own, v.kind == Kind::cluster))))
          continue;
        if (s.images * int64_t(p.lines) * p.cells * p.hidden > kMostOffset) {
          some_too_far = true;
          continue;
        }
        const int shared = shared_memory(v, s);
        least_shared = std::min(least_shared, shared);
        if (shared > device.shared_memory) continue;
        const int64_t concurrency = ask ? ask(v, s, shared) : estimated_concurrency(device, v, s, shared);
        if (concurrency == 0) {
          some_refused = true;
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
  const std::string what = "hidden size " + number(p.hidden) + ", " + number(p.taps) +
                           (p.taps == 1 ? " tap" : " taps") + " and lines of " + number(p.cells) + " cells";
  const std::string clusters = max_blocks == 1 ? " without clusters of thread blocks" : "";
  if (some_refused) return none("the GPU has no room for the blocks, or clusters of blocks, of " + what);
  if (least_shared < INT_MAX)
    return none("the weights and lines of " + what + " need " + number(least_shared) +
                " bytes of shared memory, a block may have " + number(device.shared_memory) + clusters);
  if (some_too_far)
    return none(
        "expected lines * cells * hidden size of " + number(kImages) + " images to be at most " + number(kMostOffset));
  return none("no kernel is compiled for " + what + clusters);
}

Plan plan(const Problem& p, const Device& device, const Restriction& restriction, const Concurrency& ask,
    const Constants& constants) {
  Plan best, none;
  for (const Plan& found : candidates(p, device, restriction, ask, constants, &none.why_not))
    if (!best.variant || found.cost < best.cost) best = found;
  if (!best.variant) return none;
  const double step = estimate_step(p, device, constants);
  if (!restriction.step || best.seconds <= step) return best;
  none.why_not = std::string("faster by ") + cost_source() + ": " + milliseconds(step) + ", " + best.variant->name +
                 " " + milliseconds(best.seconds);
  return none;
}

}  // namespace pixelrnn::cuda
