#include "estimate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "costs.h"

namespace pixelrnn::cuda {
namespace {

constexpr int kArchitectures = 4, kWarps = 4;
constexpr int kCapabilities[kArchitectures] = {80, 90, 100, 120};
constexpr double kSchedulerWarps[kWarps] = {1, 2, 4, 8};
constexpr int kSchedulers = 4;

// Data sheet of a typical GPU of each compute capability. `clock` is in Hz, `bandwidth` in bytes a second,
// `half_products` (16 bits) and `float_products` (float32) in FLOP a second. `shared_memory` (bytes) limits a block,
// `threads` and `blocks` limit a multiprocessor.
struct Gpu {
  int capability, multiprocessors, shared_memory;
  double clock, bandwidth, half_products, float_products;
  int threads, blocks;
};
constexpr Gpu kGpus[] = {
    {80, 108, 163 << 10, 1.41e9, 1.56e12, 312e12, 19.5e12, 2048, 32},  // A100
    {86, 82, 99 << 10, 1.70e9, 0.94e12, 71e12, 35.6e12, 1536, 16},     // RTX 3090
    {89, 128, 99 << 10, 2.52e9, 1.01e12, 165e12, 82.6e12, 1536, 24},   // RTX 4090
    {90, 132, 227 << 10, 1.755e9, 3.35e12, 990e12, 67e12, 2048, 32},   // H100
    {100, 148, 227 << 10, 1.85e9, 8.0e12, 2250e12, 80e12, 2048, 32},   // B200
    {110, 20, 227 << 10, 1.57e9, 0.27e12, 250e12, 8e12, 1536, 24},     // Jetson Thor
    {120, 170, 99 << 10, 2.41e9, 1.79e12, 210e12, 105e12, 1536, 24},   // RTX 5090
};

const Gpu& gpu_of(int capability) {
  const Gpu* found = kGpus;
  for (const Gpu& gpu : kGpus)
    if (gpu.capability <= capability) found = &gpu;
  return *found;
}

const KernelCost& cost_of(const Variant& v) {
  static const std::map<std::string, const KernelCost*> by_kernel = [] {
    std::map<std::string, const KernelCost*> all;
    for (const KernelCost& cost : kCosts) all[cost.kernel] = &cost;
    return all;
  }();
  // Costs of kernels that costs.h does not list, so high that the planner prefers listed kernels.
  static const KernelCost unknown{"", {255, 255, 255, 255}, {4000, 4000, 8000, 16000}, {4000, 4000, 8000, 16000},
      {400, 400, 800, 1600}, {4000, 4000, 8000, 16000}};
  const auto found = by_kernel.find(v.name);
  return found == by_kernel.end() ? unknown : *found->second;
}

int64_t ceil_div(int64_t n, int64_t by) { return (n + by - 1) / by; }

// With two taps (neighbours whose h a cell reads) the layer is a Diagonal LSTM, otherwise a Row LSTM.
bool skewed(const Problem& p) { return p.taps == 2; }
double pixels(const Problem& p) { return double(skewed(p) ? p.lines - p.cells + 1 : p.lines) * p.cells; }

// Returns the number of a warp's tiles (8 cells each) that contain pixels, averaged over all lines.
double active_tiles(const Problem& p, const Tiling& s) {
  const double line_cells = pixels(p) / p.lines, group_cells = kTileCells * s.groups;
  return std::clamp(line_cells / group_cells + (skewed(p) ? 1 : 0.5), 1.0, double(s.tiles));
}

double cycles_of_line(int i, const Problem& p, const Variant& v, const Tiling& s, const Constants& k) {
  const KernelCost& cost = cost_of(v);
  // If registers hold weights, the costs `line` and `tile` already include the whole product. The cost of a pair (64
  // bytes of each weight row) then does not count.
  const int pairs = v.pairs.registers ? 0 : s.pairs();
  const double cells =
      v.backward && v.tiles_or_units == 0 ? double(ceil_div(p.cells, s.cells_at_once(kUnitsOfManyCells))) : 0;
  return k.line * cost.line[i] + active_tiles(p, s) * (k.tile * cost.tile[i] + pairs * k.pair * cost.pair[i]) +
         k.cell * cells * cost.cell[i];
}

double cycles_of_line(const Problem& p, const Variant& v, const Tiling& s, double warps, const Constants& k) {
  if (warps <= kSchedulerWarps[0]) return cycles_of_line(0, p, v, s, k);
  int i = 1;
  while (i + 1 < kWarps && warps > kSchedulerWarps[i]) ++i;
  const double low = cycles_of_line(i - 1, p, v, s, k), high = cycles_of_line(i, p, v, s, k);
  return low + (high - low) * (warps - kSchedulerWarps[i - 1]) / (kSchedulerWarps[i] - kSchedulerWarps[i - 1]);
}

// Returns the tensor-core instructions of a warp on a line. Each multiplies 16 weight rows, 32 bytes of each, by 8
// cells.
double products_of_line(const Problem& p, const Variant& v, const Tiling& s) {
  if (s.fma()) return 0;
  const int pairs = v.pairs.registers ? v.pairs.max() : s.pairs();
  return s.images * active_tiles(p, s) * 2 * pairs * (s.slice_rows() / 16);
}

// Returns the cycles that a tensor-core instruction occupies a scheduler.
double cycles_of_product(const Gpu& gpu, const Constants& k) {
  // Operations of a 16-bit instruction. A tf32 instruction has half as many, and takes equally long.
  constexpr double operations = 2 * 16 * 8 * 16;
  return std::max(k.product, operations * kSchedulers * gpu.multiprocessors * gpu.clock / gpu.half_products);
}

// Returns how many bytes a block stores in other blocks (pushes) on a line.
double pushed_bytes_of_line(const Problem& p, const Tiling& s) {
  const double cells = active_tiles(p, s) * kTileCells * s.groups;
  // In the forward, a block sends h of its units to every other block. In the backward, it sends a float32 partial sum
  // for each hidden unit of another block to that block.
  return s.images * cells * (s.blocks - 1) * s.units * (s.backward ? 4 : s.bytes());
}

// Returns how many neighbouring bytes a warp stores in another block at once.
int run_bytes(const Tiling& s) { return s.segments ? kSegmentBytes : s.backward ? 16 : kTileCells * s.bytes(); }

// Returns the cycles that the exchange between blocks adds to a line, which takes `cycles` without it. Blocks compute
// one tile (or image) while they exchange another.
double exposed_exchange(double cycles, double exchange, double tiles, bool several_images) {
  if (several_images) return std::max(0.0, exchange - cycles);
  return std::max(exchange / tiles, exchange - cycles * (tiles - 1) / tiles);
}

int value_bytes(const Problem& p) { return Tiling{p.format}.bytes(); }
// Returns the bytes of global memory that a scan moves for one hidden unit of one pixel: x or dx, the gates, h or dh,
// and c.
double bytes_of_unit(const Problem& p) {
  const double value = value_bytes(p);
  return 2 * p.gates * value + value + 4;
}
double units(const Problem& p) { return double(p.images * p.directions) * pixels(p) * p.hidden; }

}  // namespace

Estimate estimate(const Problem& p, const Device& device, const Variant& v, const Tiling& s, int64_t concurrency,
    const Constants& k) {
  const Gpu& gpu = gpu_of(device.capability);
  const int64_t clusters = std::max<int64_t>(1, ceil_div(p.images, s.images) * p.directions);
  Estimate result;
  double cycles = 0;
  auto wave = [&](int64_t running, int64_t times) {
    const double blocks = double(ceil_div(running * s.blocks, device.multiprocessors));
    const double warps = blocks * s.threads() / 32 / kSchedulers, pushed = blocks * pushed_bytes_of_line(p, s);
    result.cycles = cycles_of_line(p, v, s, warps, k) +
                    std::max(warps, 1.0) * products_of_line(p, v, s) * (cycles_of_product(gpu, k) - k.product);
    const double exchange = std::max(pushed / k.exchange_bytes, pushed / run_bytes(s) / k.exchange_lines);
    result.cycles += exposed_exchange(result.cycles, exchange, active_tiles(p, s), s.images > 1);
    const double first_line = k.first_line + blocks * s.weight_bytes() / k.weights_of_cycle;
    cycles += double(times) * (first_line + p.lines * result.cycles);
  };
  if (clusters % concurrency) wave(clusters % concurrency, 1);
  if (clusters >= concurrency) wave(concurrency, clusters / concurrency);
  const double compute_seconds = cycles / (k.clock * gpu.clock),
               memory_seconds = units(p) * bytes_of_unit(p) / (k.bandwidth * gpu.bandwidth);
  result.bound_by_memory = memory_seconds > compute_seconds;
  const double packing = 2.0 * p.directions * s.blocks * s.weight_bytes() / (k.bandwidth * gpu.bandwidth);
  result.seconds = 2 * k.launch + packing + std::max(compute_seconds, memory_seconds);
  return result;
}

double estimate_step(const Problem& p, const Device& device, const Constants& k) {
  const Gpu& gpu = gpu_of(device.capability);
  const double value = value_bytes(p);
  const double rate =
      p.format == Format::fp32 ? gpu.float_products : gpu.half_products / (p.format == Format::tf32 ? 2 : 1);
  // The step path writes and reads the operand and the result of each matrix product once.
  const double products = units(p) * 2 * p.gates * p.hidden * p.taps / (k.step_products * rate);
  const double further_bytes =
      units(p) * value * (p.backward ? 2 * p.gates * p.taps + 2 : 2 * p.taps + 2 * p.gates) + units(p) * 4;
  const double bytes = (units(p) * bytes_of_unit(p) + further_bytes) / (k.bandwidth * gpu.bandwidth);
  // Each line takes two launches, one for a matrix product and one for a pointwise kernel. The estimate assumes that
  // the GPU computes while the CPU makes one of the two launches, so only the longer of these two times counts.
  return p.lines * k.launch + std::max(p.lines * k.launch, products + bytes);
}

int64_t estimated_concurrency(const Device& device, const Variant& v, const Tiling& s, int shared) {
  const Gpu& gpu = gpu_of(device.capability);
  int column = 0;
  while (column + 1 < kArchitectures && kCapabilities[column + 1] <= device.capability) ++column;
  // A multiprocessor has `registers` registers. CUDA reserves `reserved` bytes of a block's shared memory. `gpc`
  // multiprocessors form a GPC.
  constexpr int registers = 1 << 16, reserved = 1 << 10, gpc = 16;
  const int warp_registers = round_up(32 * cost_of(v).registers[column], 256), warps = s.threads() / 32;
  const int64_t resident_blocks = std::min({registers / (warp_registers * warps),
      (device.shared_memory + reserved) / (shared + reserved), gpu.threads / s.threads(), gpu.blocks});
  if (s.blocks == 1) return device.multiprocessors * resident_blocks;
  // All blocks of a cluster lie in one GPC.
  return device.multiprocessors / gpc * (gpc * resident_blocks / s.blocks);
}

Device known_device(int capability) {
  const Gpu& gpu = gpu_of(capability);
  return {capability, gpu.shared_memory, gpu.multiprocessors};
}

}  // namespace pixelrnn::cuda
