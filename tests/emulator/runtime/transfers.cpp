#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "runtime_internal.h"

namespace emulator {

// The most that an mbarrier can count.
constexpr int64_t kMaxBytes = (1 << 20) - 1, kMaxArrivals = (1 << 20) - 1;

static Mbarrier& find_mbarrier(const Byte* where, Place place) {
  const auto found = machine.mbarriers.find(where);
  if (found == machine.mbarriers.end()) fail(bad_use, "an mbarrier that was not initialised: ", place);
  checker->mbarrier_used(found->second, place);
  return found->second;
}
static void add_bytes(Mbarrier& b, int64_t bytes) {
  b.bytes += bytes;
  if (std::abs(b.bytes) > kMaxBytes) fail(bad_use, "more bytes than an mbarrier can count");
}
static void end_mbarrier_phase_if_complete(Mbarrier& b) {
  if (b.pending || b.bytes) return;
  checker->mbarrier_phase_ends(b);
  b.phase++;
  b.pending = b.count;
  wake_all(std::exchange(b.waiting, {}));
}
void mbarrier_init(uint32_t address, uint32_t count, Place place) {
  const Byte* where = own_shared(address);
  if (address % 8) fail(bad_use, "a misaligned mbarrier: ", place);
  if (!count || count > kMaxArrivals) fail(bad_use, "an mbarrier of ", count, " arrivals: ", place);
  checker->accessed(where, 8, true, place);
  Mbarrier b;
  b.id = unsigned(machine.mbarriers.size()), b.block = self->block, b.count = b.pending = count;
  const auto [at, fresh] = machine.mbarriers.emplace(where, b);
  if (!fresh) fail(bad_use, "an mbarrier is initialised again: ", place);
  checker->mbarrier_initialised(at->second, where);
}
void mbarrier_fence() { checker->mbarriers_fenced(*self); }
static void arrive(Mbarrier& b, int64_t expected_bytes, Place place) {
  if (!b.pending) fail(bad_use, "more arrivals at an mbarrier than it counts: ", place);
  checker->mbarrier_arrived(b, *self);
  add_bytes(b, expected_bytes);
  b.pending--;
  end_mbarrier_phase_if_complete(b);
  maybe_yield();
}
void mbarrier_arrive(uint32_t address, int64_t expected_bytes, Place place) {
  arrive(find_mbarrier(own_shared(address), place), expected_bytes, place);
}
void mbarrier_arrive_peer(uint32_t cluster_address, Place place) {
  Mbarrier& b = find_mbarrier(cluster_shared(cluster_address), place);
  if (!machine.blocks[b.block].live)
    fail(exited, "an arrival at an mbarrier of a block that has left the kernel: ", place);
  b.has_peers |= b.block != self->block;
  arrive(b, 0, place);
}
bool mbarrier_wait(uint32_t address, uint32_t parity, Scope scope, Place place) {
  Fiber& f = *self;
  Mbarrier& b = find_mbarrier(own_shared(address), place);
  // PTX allows mbarrier.try_wait to return false at any time.
  if (!is_in_order() && f.lane == 0 && machine.random() % 8 == 0) {
    yield();
    return false;
  }
  const bool ended = (b.phase & 1) != (parity & 1);
  const unsigned phase = ended ? b.phase - 1 : b.phase;
  checker->mbarrier_wait_begins(b, phase, f, place);
  if (ended) {
    maybe_yield();
  } else {
    b.waiting.push_back(&f);
    wait_as(Status::at_mbarrier, place);
  }
  if (scope == Scope::block && b.has_peers)
    fail(race, "a wait at the scope of a block for what another block did: ", place);
  checker->mbarrier_waited(b, phase, f);
  return true;
}
static void deliver(AsyncStore& t, unsigned count) {
  if (!machine.blocks[t.barrier->block].live)
    fail(exited, "an asynchronous store arrives at a block that has left the kernel");
  for (; count; --count) {
    const unsigned offset = t.pieces[--t.left] * t.piece;
    memcpy(t.to + offset, t.data + offset, t.piece);
    checker->store_delivered(*t.barrier, t.record, t.to + offset, t.piece, !t.left);
    add_bytes(*t.barrier, -int64_t(t.piece));
  }
  end_mbarrier_phase_if_complete(*t.barrier);
}
void deliver_pieces() {
  std::swap(machine.async_stores[machine.random() % machine.async_stores.size()], machine.async_stores.back());
  AsyncStore& t = machine.async_stores.back();
  deliver(t, machine.random() % 2 ? t.left : 1);
  if (!t.left) machine.async_stores.pop_back();
}
bool delivery_is_due() {
  if (machine.async_stores.empty()) return false;
  if (ready.empty()) return true;
  switch (machine.launch.schedule) {
    case Schedule::random: return machine.random() % 2;
    case Schedule::burst: return machine.random() % 32 == 0;
    default: return false;  // in `starve`, pieces arrive only when no thread can run
  }
}
static size_t block_of(const Byte* shared) { return (shared - machine.shared_low) / machine.shared_stride; }
// `source` is null for st.async.
static void issue(
    Byte* to, const void* data, unsigned bytes, unsigned piece, Mbarrier& b, const void* source, Place place) {
  AsyncStore t{to, &b, piece, bytes / piece, {0, 1, 2, 3}, checker->store_issued(b, to, bytes, source, place), {}};
  memcpy(t.data, data, bytes);
  if (is_in_order()) {
    deliver(t, t.left);
  } else {
    std::shuffle(t.pieces, t.pieces + t.left, machine.random);
    machine.async_stores.push_back(std::move(t));
  }
}
void store_async(
    uint32_t cluster_address, const void* data, unsigned bytes, unsigned piece, uint32_t cluster_barrier, Place place) {
  Byte* const to = cluster_shared(cluster_address);
  const Byte* const where = cluster_shared(cluster_barrier);
  if (block_of(to) != block_of(where))
    fail(bad_use, "the mbarrier of an asynchronous store is in another block than its data: ", place);
  Mbarrier& b = find_mbarrier(where, place);
  b.has_peers |= b.block != self->block;
  issue(to, data, bytes, piece, b, nullptr, place);
  maybe_yield();
}
void bulk_load(uint32_t cluster_address, const Byte* from, uint32_t bytes, uint32_t cluster_barrier, Place place) {
  Byte* const to = cluster_shared(cluster_address);
  const Byte* const where = cluster_shared(cluster_barrier);
  if (block_of(to) != self->block || block_of(where) != self->block)
    fail(bad_use, "the destination or the mbarrier of a bulk load is in another block: ", place);
  if (!bytes || bytes % 16) fail(bad_use, "a bulk load of ", bytes, " bytes, not of a multiple of 16: ", place);
  if (!from || is_shared(from)) fail(bad_use, "the source of a bulk load is not in global memory: ", place);
  Mbarrier& b = find_mbarrier(where, place);
  for (uint32_t k = 0; k < bytes; k += 16) issue(to + k, from + k, 16, 16, b, from + k, place);
  maybe_yield();
}

}  // namespace emulator
