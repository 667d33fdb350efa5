#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "runtime_internal.h"

namespace emulator {

// The race checker or the profiler registers itself when the library is loaded.
Checker* checker = nullptr;

void fill_with_nan(Byte* low, size_t bytes) {
  constexpr uint32_t kNan = 0x7fbadbad;
  for (size_t i = 0; i + 4 <= bytes; i += 4) memcpy(low + i, &kNan, 4);
}
void* map_memory(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) fail(bad_use, "not enough memory for so many threads");
  return p;
}

void free_shared_memory() {
  munmap(machine.shared_low, machine.shared_total);
  machine.shared_low = nullptr;
}

constexpr uint32_t kOffsetMask = 0xffffff;

static Block& block_of_rank(unsigned rank) {
  if (rank >= machine.cluster_blocks)
    fail(bad_use, "rank ", rank, " in a cluster of ", machine.cluster_blocks, " block(s)");
  return machine.blocks[machine.clusters[self->cluster].blocks[rank]];
}
uint32_t map_rank(uint32_t address, uint32_t rank) {
  block_of_rank(rank);
  return (rank + 1) << 24 | (address & kOffsetMask);
}
Byte* own_shared(uint32_t address) {
  if (address > kOffsetMask) fail(bad_use, "a shared::cluster address in a plain access to shared memory");
  if (address >= machine.shared_stride) fail(out_of_bounds, "an address far beyond the block's shared memory");
  return shared_window() + address;
}
Byte* cluster_shared(uint32_t address) {
  const uint32_t rank = address > kOffsetMask ? (address >> 24) - 1 : self->rank, offset = address & kOffsetMask;
  const Block& block = block_of_rank(rank);
  if (!block.live) fail(exited, "shared memory of rank ", rank, " is used after that block has left the kernel");
  if (offset >= machine.shared_stride) fail(out_of_bounds, "an address beyond the shared memory of rank ", rank);
  return block.shared + offset;
}
Byte* shared_window() noexcept { return machine.blocks[self->block].shared; }

void access(const void* p, size_t bytes, bool write, Place place) { checker->accessed(p, bytes, write, place); }
void read_only_load(const void* p, Place place) {
  for (const Region& r : machine.regions)
    if (p >= r.low && p < r.high && r.access != Access::in)
      fail(bad_use, "a read-only load from '", r.name, "', which the launch writes\n  at ", place);
}
void lay_out_regions(std::vector<Buffer> buffers) {
  std::erase_if(buffers, [](const Buffer& b) { return !b.data || !b.bytes; });
  std::sort(buffers.begin(), buffers.end(), [](const Buffer& a, const Buffer& b) { return a.data < b.data; });
  machine.regions.clear();
  for (const Buffer& b : buffers) {
    auto* const low = static_cast<Byte*>(const_cast<void*>(b.data));
    Region* const before = machine.regions.empty() ? nullptr : &machine.regions.back();
    if (!before || low >= before->high) {
      machine.regions.push_back({low, low + b.bytes, b.access, b.name});
      if (b.access == Access::out) fill_with_nan(low, b.bytes);
    } else if (before->access == Access::in && b.access == Access::in) {
      before->high = std::max(before->high, low + b.bytes);
    } else {
      fail(bad_use, "'", before->name, "' and '", b.name, "' overlap");
    }
  }
}

}  // namespace emulator
