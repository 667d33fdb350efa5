#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "runtime_internal.h"

namespace emulator {

constexpr int64_t kMostBytes = (1 << 20) - 1, kMostArrivals = (1 << 20) - 1;  // limits of an mbarrier

static TransferBarrier& transfer_barrier(const unsigned char* where, const char* place) {
  const auto found = machine.transfer_barriers.find(where);
  if (found == machine.transfer_barriers.end())
    fail(Kind::bad_use, "a barrier in shared memory that was not initialised: ", place);
  checker->transfer_barrier_used(found->second, place);
  return found->second;
}
static void add_bytes(TransferBarrier& b, int64_t bytes) {
  b.bytes += bytes;
  if (std::abs(b.bytes) > kMostBytes) fail(Kind::bad_use, "more bytes than a barrier in shared memory can count");
}
static void end_transfer_phase_if_complete(TransferBarrier& b) {
  if (b.pending || b.bytes) return;
  checker->transfer_phase_ends(b);
  b.phase++;
  b.pending = b.count;
  wake_all(std::exchange(b.waiting, {}));
}
void transfer_barrier_init(uint32_t address, uint32_t count, const char* place) {
  const unsigned char* where = own_shared(address);
  if (address % 8) fail(Kind::bad_use, "a misaligned barrier in shared memory: ", place);
  if (!count || count > kMostArrivals)
    fail(Kind::bad_use, "a barrier in shared memory of ", count, " arrivals: ", place);
  checker->accessed(where, 8, true, place);
  TransferBarrier b;
  b.id = unsigned(machine.transfer_barriers.size()), b.block = self->block, b.count = b.pending = count;
  const auto [at, fresh] = machine.transfer_barriers.emplace(where, b);
  if (!fresh) fail(Kind::bad_use, "a barrier in shared memory is initialised again: ", place);
  checker->transfer_barrier_initialised(at->second, where);
}
void transfer_barrier_fence() { checker->transfer_barriers_fenced(*self); }
void transfer_barrier_arrive(uint32_t address, int64_t expected_bytes, const char* place) {
  TransferBarrier& b = transfer_barrier(own_shared(address), place);
  if (!b.pending) fail(Kind::bad_use, "more arrivals at a barrier in shared memory than it counts: ", place);
  checker->transfer_arrived(b, *self);
  add_bytes(b, expected_bytes);
  b.pending--;
  end_transfer_phase_if_complete(b);
  maybe_yield();
}
bool transfer_barrier_wait(uint32_t address, uint32_t parity, const char* place) {
  Fiber& f = *self;
  TransferBarrier& b = transfer_barrier(own_shared(address), place);
  // A wait may return false for no reason. Lane 0 suffices: a warp that waits together repeats if any lane gets false.
  if (!in_order() && f.lane == 0 && machine.random() % 8 == 0) {
    yield();
    return false;
  }
  const bool ended = (b.phase & 1) != (parity & 1);
  const unsigned phase = ended ? b.phase - 1 : b.phase;
  checker->transfer_wait_begins(b, phase, f, place);
  if (ended) {
    maybe_yield();
  } else {
    b.waiting.push_back(&f);
    wait_as(Status::at_transfer_barrier, place);
  }
  checker->transfer_waited(b, phase, f);
  return true;
}
static void deliver(Transfer& t, unsigned count) {
  if (!machine.blocks[t.barrier->block].live)
    fail(Kind::exited, "an asynchronous store comes to a block that has left the kernel");
  for (; count; --count) {
    const unsigned word = t.words[--t.left];
    memcpy(t.to + 4 * word, &t.data[word], 4);
    checker->transferred(*t.barrier, t.past, t.to + 4 * word, 4, !t.left);
    add_bytes(*t.barrier, -4);
  }
  end_transfer_phase_if_complete(*t.barrier);
}
void deliver_some() {
  std::swap(machine.transfers[machine.random() % machine.transfers.size()], machine.transfers.back());
  Transfer& t = machine.transfers.back();
  deliver(t, machine.random() % 2 ? t.left : 1);
  if (!t.left) machine.transfers.pop_back();
}
bool transfer_is_due() {
  if (machine.transfers.empty()) return false;
  if (none_is_ready()) return true;
  switch (machine.launch.schedule) {
    case Schedule::random: return machine.random() % 2;
    case Schedule::burst: return machine.random() % 32 == 0;
    default: return false;  // starve delivers only when no thread is ready
  }
}
void store_async(uint32_t cluster_address, const uint32_t (&data)[4], uint32_t cluster_barrier, const char* place) {
  unsigned char* const to = cluster_shared(cluster_address);
  const unsigned char* const where = cluster_shared(cluster_barrier);
  if ((to - machine.shared_low) / machine.shared_stride != (where - machine.shared_low) / machine.shared_stride)
    fail(Kind::bad_use, "the barrier of an asynchronous store is in another block than its data: ", place);
  TransferBarrier& b = transfer_barrier(where, place);
  Transfer t{
      to, &b, {data[0], data[1], data[2], data[3]}, {3, 2, 1, 0}, 4, checker->stored_async(b, to, sizeof data, place)};
  if (in_order()) {
    deliver(t, t.left);
  } else {
    std::shuffle(t.words, t.words + 4, machine.random);
    machine.transfers.push_back(std::move(t));
    maybe_yield();
  }
}

}  // namespace emulator
