#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "runtime_internal.h"

namespace emulator {

// The largest numbers of bytes and of arrivals that an mbarrier can count.
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
void mbarrier_arrive(uint32_t address, int64_t expected_bytes, Place place) {
  Mbarrier& b = find_mbarrier(own_shared(address), place);
  if (!b.pending) fail(bad_use, "more arrivals at an mbarrier than it counts: ", place);
  checker->mbarrier_arrived(b, *self);
  add_bytes(b, expected_bytes);
  b.pending--;
  end_mbarrier_phase_if_complete(b);
  maybe_yield();
}
bool mbarrier_wait(uint32_t address, uint32_t parity, Place place) {
  Fiber& f = *self;
  Mbarrier& b = find_mbarrier(own_shared(address), place);
  // PTX allows mbarrier.try_wait to return false at any time. The emulator does so at random, and only for lane 0.
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
  checker->mbarrier_waited(b, phase, f);
  return true;
}
static void deliver(AsyncStore& t, unsigned count) {
  if (!machine.blocks[t.barrier->block].live)
    fail(exited, "an asynchronous store arrives at a block that has left the kernel");
  for (; count; --count) {
    const unsigned word = t.words[--t.left];
    memcpy(t.to + 4 * word, &t.data[word], 4);
    checker->store_delivered(*t.barrier, t.record, t.to + 4 * word, 4, !t.left);
    add_bytes(*t.barrier, -4);
  }
  end_mbarrier_phase_if_complete(*t.barrier);
}
void deliver_words() {
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
    default: return false;  // in the schedule `starve`, words arrive only when no thread can run
  }
}
void store_async(uint32_t cluster_address, const uint32_t (&data)[4], uint32_t cluster_barrier, Place place) {
  Byte* const to = cluster_shared(cluster_address);
  const Byte* const where = cluster_shared(cluster_barrier);
  if ((to - machine.shared_low) / machine.shared_stride != (where - machine.shared_low) / machine.shared_stride)
    fail(bad_use, "the mbarrier of an asynchronous store is in another block than its data: ", place);
  Mbarrier& b = find_mbarrier(where, place);
  AsyncStore t{
      to, &b, {data[0], data[1], data[2], data[3]}, {3, 2, 1, 0}, 4, checker->store_issued(b, to, sizeof data, place)};
  if (is_in_order()) {
    deliver(t, t.left);
  } else {
    std::shuffle(t.words, t.words + 4, machine.random);
    machine.async_stores.push_back(std::move(t));
    maybe_yield();
  }
}

}  // namespace emulator
