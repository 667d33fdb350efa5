#include "estimate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "costs.h"

namespace pixelrnn::cuda {
namespace {

constexpr int kArchitectures = 4, kWarps = 4;  // numbers of columns in costs.h
constexpr int kCapabilities[kArchitectures] = {80, 90, 100, 120};
constexpr double kWarpsOfScheduler[kWarps] = {1, 2, 4, 8};
constexpr int kSchedulers = 4, kPushBytes = 16;

// The best-known card of each compute capability, by its data sheet: a block's shared memory in bytes, the clock in Hz,
// bytes a second, FLOP a second of matrix products in 16-bit formats (tf32 has half) and float32, and the threads and
// blocks of a multiprocessor.
struct Card {
  int capability, multiprocessors, shared_memory;
  double clock;
  double bandwidth;
  double half_products;
  double float_products;
  int threads, blocks;
};
constexpr Card kCards[] = {
    {80, 108, 163 << 10, 1.41e9, 1.56e12, 312e12, 19.5e12, 2048, 32},  // A100
    {86, 82, 99 << 10, 1.70e9, 0.94e12, 71e12, 35.6e12, 1536, 16},     // RTX 3090
    {89, 128, 99 << 10, 2.52e9, 1.01e12, 165e12, 82.6e12, 1536, 24},   // RTX 4090
    {90, 132, 227 << 10, 1.755e9, 3.35e12, 990e12, 67e12, 2048, 32},   // H100
    {100, 148, 227 << 10, 1.85e9, 8.0e12, 2250e12, 80e12, 2048, 32},   // B200
    {110, 20, 227 << 10, 1.57e9, 0.27e12, 250e12, 8e12, 1536, 24},     // Thor
    {120, 170, 99 << 10, 2.41e9, 1.79e12, 210e12, 105e12, 1536, 24},   // RTX 5090
};

const Card& card_of(int capability) {
  const Card* found = kCards;
  for (const Card& card : kCards)
    if (card.capability <= capability) found = &card;
  return *found;
}

const KernelCost& cost_of(const Variant& v) {
  static const std::map<std::string, const KernelCost*> known = [] {
    std::map<std::string, const KernelCost*> all;
    for (const KernelCost& cost : kCosts) all[cost.kernel] = &cost;
    return all;
  }();
  // A kernel that costs.h lacks is slower than all others.
  static const KernelCost unknown{"", {255, 255, 255, 255}, {4000, 4000, 8000, 16000}, {4000, 4000, 8000, 16000},
      {400, 400, 800, 1600}, {4000, 4000, 8000, 16000}};
  const auto found = known.find(v.name);
  return found == known.end() ? unknown : *found->second;
}

int64_t divided_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

// A Diagonal LSTM has two taps, a Row LSTM one or three.
bool skewed(const Problem& p) { return p.taps == 2; }
double pixels(const Problem& p) { return double(skewed(p) ? p.lines - p.cells + 1 : p.lines) * p.cells; }

// Returns how many tiles with active cells a warp has on a line, on average.
double active_tiles(const Problem& p, const Tiling& s) {
  const double window = pixels(p) / p.lines, of_group = kTileCells * s.groups;
  return std::clamp(window / of_group + (skewed(p) ? 1 : 0.5), 1.0, double(s.tiles));
}

double cycles_of_line(int i, const Problem& p, const Variant& v, const Tiling& s, const Constants& k) {
  const KernelCost& cost = cost_of(v);
  const int pairs = v.held.registers ? 0 : s.pairs();  // tile[i] includes pairs in registers
  const double cells = v.backward && v.own == 0 ? double(divided_up(p.cells, s.pass_cells(kOwnOfMany))) : 0;
  return k.line * cost.line[i] + active_tiles(p, s) * (k.tile * cost.tile[i] + pairs * k.pair * cost.pair[i]) +
         k.cell * cells * cost.cell[i];
}

// Interpolates the cycles of a line for `warps` warps on a scheduler, linearly, from the columns of costs.h.
double cycles_of_line(const Problem& p, const Variant& v, const Tiling& s, double warps, const Constants& k) {
  if (warps <= kWarpsOfScheduler[0]) return cycles_of_line(0, p, v, s, k);
  int i = 1;
  while (i + 1 < kWarps && warps > kWarpsOfScheduler[i]) ++i;
  const double low = cycles_of_line(i - 1, p, v, s, k), high = cycles_of_line(i, p, v, s, k);
  return low + (high - low) * (warps - kWarpsOfScheduler[i - 1]) / (kWarpsOfScheduler[i] - kWarpsOfScheduler[i - 1]);
}

// Returns a warp's tensor-core products in a line, each of 16 rows, 8 cells and half a pair.
double products_of_line(const Problem& p, const Variant& v, const Tiling& s) {
  if (s.fma()) return 0;
  const int pairs = v.held.registers ? v.held.most() : s.pairs();
  return s.images * active_tiles(p, s) * 2 * pairs * (s.slice_rows() / 16);
}

// Returns the cycles of a tensor-core product on a card. They are at least those of mma.sync on sm_90, as in costs.h:
// higher rates of data sheets need other instructions.
double cycles_of_product(const Card& card, const Constants& k) {
  constexpr double operations = 2 * 16 * 8 * 16;  // FLOP; tf32: half as many, at half the rate
  return std::max(k.product, operations * kSchedulers * card.multiprocessors * card.clock / card.half_products);
}

// Returns how many pieces of 16 bytes a block pushes in a line of cells.
double pushes_of_line(const Problem& p, const Tiling& s) {
  if (s.blocks == 1) return 0;
  const double cells = active_tiles(p, s) * kTileCells * s.groups;
  if (s.backward) return cells * s.hidden / 4;  // float32 sums go to the own block, too
  const int peers = s.images > 1 ? s.blocks : s.blocks - 1;
  return s.images * cells * peers * double(divided_up(s.units * s.bytes(), kPushBytes));
}

// Returns the cycles that the exchange adds to a line of `cycles`. The pushes overlap with the next tile, or the next
// images.
double exposed_exchange(double cycles, double exchange, double tiles, bool shares_images) {
  if (shares_images) return std::max(0.0, exchange - cycles);
  return std::max(exchange / tiles, exchange - cycles * (tiles - 1) / tiles);
}

// Returns the bytes of a unit of a pixel in global memory: x or its gradient, the gates, h or its gradient, c.
double bytes_of_unit(const Problem& p) {
  const double value = p.format == Format::bf16 || p.format == Format::fp16 ? 2 : 4;
  return 2 * p.gates * value + value + 4;
}
double units(const Problem& p) { return double(p.images * p.directions) * pixels(p) * p.hidden; }

}  // namespace

Estimate estimate(const Problem& p, const Device& device, const Variant& v, const Tiling& s, int64_t concurrency,
    const Constants& k) {
  const Card& card = card_of(device.capability);
  const int64_t clusters = std::max<int64_t>(1, divided_up(p.images, s.images) * p.directions);
  Estimate made;
  double cycles = 0;
  auto wave = [&](int64_t running, int64_t times) {
    const double blocks = double(divided_up(running * s.blocks, device.multiprocessors));
    const double warps = blocks * s.threads() / 32 / kSchedulers, pushes = blocks * pushes_of_line(p, s);
    made.cycles = cycles_of_line(p, v, s, warps, k) +
                  std::max(warps, 1.0) * products_of_line(p, v, s) * (cycles_of_product(card, k) - k.product);
    const double exchange = std::max(pushes * kPushBytes / k.exchange_bytes, pushes / k.exchange_lines);
    made.cycles += exposed_exchange(made.cycles, exchange, active_tiles(p, s), s.images > 1);
    const double first_line = k.first_line + blocks * s.weight_bytes() / k.weights_of_cycle;
    cycles += double(times) * (first_line + p.lines * made.cycles);
  };
  if (clusters % concurrency) wave(clusters % concurrency, 1);
  if (clusters >= concurrency) wave(concurrency, clusters / concurrency);
  const double of_cycles = cycles / (k.clock * card.clock),
               of_bytes = units(p) * bytes_of_unit(p) / (k.bandwidth * card.bandwidth);
  made.bound_by_memory = of_bytes > of_cycles;
  const double packing = 2.0 * p.directions * s.blocks * s.weight_bytes() / (k.bandwidth * card.bandwidth);
  made.seconds = 2 * k.launch + packing + std::max(of_cycles, of_bytes);
  return made;
}

double estimate_step(const Problem& p, const Device& device, const Constants& k) {
  const Card& card = card_of(device.capability);
  const double value = p.format == Format::bf16 || p.format == Format::fp16 ? 2 : 4;
  const double rate =
      p.format == Format::fp32 ? card.float_products : card.half_products / (p.format == Format::tf32 ? 2 : 1);
  // The product's operand and result are written and read once each. The operand has `taps` values of a unit in the
  // forward, gates * taps in the backward.
  const double products = units(p) * 2 * p.gates * p.hidden * p.taps / (k.step_products * rate);
  const double further_bytes =
      units(p) * value * (p.backward ? 2 * p.gates * p.taps + 2 : 2 * p.taps + 2 * p.gates) + units(p) * 4;
  const double bytes = (units(p) * bytes_of_unit(p) + further_bytes) / (k.bandwidth * card.bandwidth);
  // A line takes two launches, or one launch and the time of its two kernels where that is longer.
  return p.lines * k.launch + std::max(p.lines * k.launch, products + bytes);
}

int64_t estimated_concurrency(const Device& device, const Variant& v, const Tiling& s, int shared) {
  const Card& card = card_of(device.capability);
  int column = 0;
  while (column + 1 < kArchitectures && kCapabilities[column + 1] <= device.capability) ++column;
  // Registers of a multiprocessor, bytes reserved for each block, multiprocessors of a GPC.
  constexpr int registers = 1 << 16, reserved = 1 << 10, gpc = 16;
  const int of_warp = round_up(32 * cost_of(v).registers[column], 256), warps = s.threads() / 32;
  const int64_t together = std::min({registers / (of_warp * warps),
      (device.shared_memory + reserved) / (shared + reserved), card.threads / s.threads(), card.blocks});
  if (s.blocks == 1) return device.multiprocessors * together;
  // The blocks of a cluster lie in one GPC.
  return device.multiprocessors / gpc * (gpc * together / s.blocks);
}

Device known_device(int capability) {
  const Card& card = card_of(capability);
  return {capability, card.shared_memory, card.multiprocessors};
}

const char* cost_source() { return kCostSource; }

}  // namespace pixelrnn::cuda
