// Shared memory of blocks and clusters, and the global memory that a launch may touch.
#include <sys/mman.h>

#include <cstring>

#include "parts.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace emulator {

static Checker plain_checker;
Checker* checker = &plain_checker;

constexpr uint32_t kPoison = 0x7fbadbad;  // a NaN

static void poison(unsigned char* low, size_t bytes) {
  for (size_t i = 0; i + 4 <= bytes; i += 4) memcpy(low + i, &kPoison, 4);
}
void* map_memory(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) fail(Kind::bad_use, "not enough memory for so many threads");
  return p;
}

// ---- shared memory
void allocate_shared_memory() { machine.shared_low = static_cast<unsigned char*>(map_memory(machine.shared_total)); }
void start_shared_memory(const Block& block) {
  poison(block.shared, machine.shared_stride);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(block.shared, machine.shared_stride);
  __asan_unpoison_memory_region(block.shared, machine.shared_bytes);
#endif
}
void free_shared_memory() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(machine.shared_low, machine.shared_total);
#endif
  munmap(machine.shared_low, machine.shared_total);
  machine.shared_low = nullptr;
}

constexpr uint32_t kOffsetMask = 0xffffff;

static Block& block_of_rank(unsigned rank) {
  if (rank >= machine.cluster_blocks)
    fail(Kind::bad_use, "rank ", rank, " in a cluster of ", machine.cluster_blocks, " block(s)");
  return machine.blocks[machine.clusters[self->cluster].blocks[rank]];
}
uint32_t map_rank(uint32_t address, uint32_t rank) {
  InRuntime guard;
  block_of_rank(rank);
  return (rank + 1) << 24 | (address & kOffsetMask);
}
unsigned char* own_shared(uint32_t address) {
  if (address > kOffsetMask) fail(Kind::bad_use, "a shared::cluster address in a plain access to shared memory");
  if (address >= machine.shared_stride) fail(Kind::out_of_bounds, "an address far beyond the block's shared memory");
  return shared_window() + address;
}
unsigned char* cluster_shared(uint32_t address) {
  InRuntime guard;
  const uint32_t rank = address > kOffsetMask ? (address >> 24) - 1 : self->rank, offset = address & kOffsetMask;
  const Block& block = block_of_rank(rank);
  if (!block.live) fail(Kind::exited, "shared memory of rank ", rank, " is used after that block has left the kernel");
  if (offset >= machine.shared_stride) fail(Kind::out_of_bounds, "an address beyond the shared memory of rank ", rank);
  return block.shared + offset;
}
unsigned char* shared_window() noexcept { return machine.blocks[self->block].shared; }
unsigned char* dynamic_shared() noexcept { return shared_window() + machine.dynamic_offset; }

// ---- global memory
void Checker::require_written(const Region& r) {
  for (const unsigned char* p = r.low; p + 4 <= r.high; p += 4)
    if (!memcmp(p, &kPoison, 4)) fail(Kind::unwritten, "'", r.name, "' + ", p - r.low, " was never written");
}
void access(const void* p, size_t bytes, bool write, const void* place) {
  if (self && !self->in_runtime) checker->accessed(p, bytes, write, place);
}
static Region* region_at(const void* data) {
  for (Region& r : machine.regions)
    if (data >= r.low && data < r.high) return &r;
  return nullptr;
}
void read_only_load(const void* p, const void* place) {
  const Region* r = region_at(p);
  if (r && r->access != Access::in)
    fail(Kind::bad_use, "a read-only load from '", r->name, "', which the launch writes\n  at ", describe_place(place));
}
void register_memory(const Buffer& b) {
  auto* low = static_cast<unsigned char*>(const_cast<void*>(b.data));
  for (const Region& r : machine.regions)
    if (low < r.high && r.low < low + b.bytes) fail(Kind::bad_use, "'", r.name, "' and '", b.name, "' overlap");
  machine.regions.push_back({low, low + b.bytes, b.access, b.name});
  if (b.access == Access::out) poison(low, b.bytes);
  checker->region_added(machine.regions.back());
}
void unregister_memory(const void* data) {
  Region* r = region_at(data);
  if (!r) return;
  checker->region_removed(*r);
  machine.regions.erase(machine.regions.begin() + (r - machine.regions.data()));
}
void require_written(const void* data) { checker->require_written(*region_at(data)); }

}  // namespace emulator
