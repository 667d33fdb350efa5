#include <cstring>
#include <utility>

#include "runtime_internal.h"

namespace emulator {

static void check_aligned(Fiber& f, Place place) {
  Warp& warp = warp_of(f);
  for (const Collective& c : warp.collectives)
    if (c.arrived && (c.mask >> f.lane & 1) && c.aligned_barriers == f.aligned_barriers)
      fail(divergence, "a lane comes to the barrier ", place, ", where others of its warp wait for it at ", c.place);
  const unsigned ahead = f.aligned_barriers++ - warp.aligned_done;
  if (ahead == warp.aligned.size()) {
    if (warp.exited) fail(divergence, "a lane comes to the barrier ", place, ", others of its warp left the kernel");
    warp.aligned.push_back({place, 0});
  } else if (strcmp(warp.aligned[ahead].place, place)) {
    fail(divergence, "the lanes of a warp are at different barriers: ", warp.aligned[ahead].place, " and ", place);
  }
  warp.aligned[ahead].lanes++;
  while (!warp.aligned.empty() && warp.aligned.front().lanes == warp.lanes) {
    warp.aligned.pop_front();
    warp.aligned_done++;
  }
}

void block_barrier(bool aligned, Place place) {
  Fiber& f = *self;
  Block& block = machine.blocks[f.block];
  if (block.exited) fail(divergence, block.exited, " thread(s) left the kernel before the block barrier ", place);
  if (aligned) check_aligned(f, place);
  if (!block.at_barrier.empty() && strcmp(block.at_barrier[0]->place, place))
    fail(divergence, "the threads of a block are at different barriers: ", block.at_barrier[0]->place, " and ", place);
  f.place = place;
  block.at_barrier.push_back(&f);
  if (block.at_barrier.size() < machine.block_threads) {
    wait_as(Status::at_block_barrier, place);
    return;
  }
  checker->threads_joined(block.at_barrier);
  wake_all(std::exchange(block.at_barrier, {}));
  suspend();
}

static void end_cluster_phase_if_complete(Cluster& c) {
  if (!c.live || c.arrived != c.live) return;
  checker->cluster_phase_ends(unsigned(&c - machine.clusters.data()), c.phase);
  c.arrived = 0;
  c.phase++;
  wake_all(std::exchange(c.waiting, {}));
}
void cluster_arrive(bool release, bool aligned, Place place) {
  Fiber& f = *self;
  Cluster& c = machine.clusters[f.cluster];
  if (aligned) check_aligned(f, place);
  if (f.arrived) fail(bad_use, "a second arrival at the cluster barrier without a wait between: ", place);
  f.arrived = true;
  f.arrived_phase = c.phase;
  f.place = place;
  checker->cluster_arrived(f, release);
  c.arrived++;
  end_cluster_phase_if_complete(c);
  maybe_yield();
}
void cluster_wait(bool aligned, Place place) {
  Fiber& f = *self;
  Cluster& c = machine.clusters[f.cluster];
  if (std::exchange(f.skip_wait, false)) return;
  if (aligned) check_aligned(f, place);
  if (!f.arrived) fail(bad_use, "a wait for the cluster barrier without an arrival before: ", place);
  if (c.phase == f.arrived_phase) {
    c.waiting.push_back(&f);
    wait_as(Status::at_cluster_barrier, place);
  } else {
    yield();
  }
  f.arrived = false;
  checker->cluster_waited(f);
}
void skip_next_cluster_wait() { self->skip_wait = true; }

void check_exit(const Fiber& f) {
  Warp& warp = warp_of(f);
  const unsigned ahead = f.aligned_barriers - warp.aligned_done;
  if (ahead < warp.aligned.size())
    fail(divergence, "a lane left the kernel, others of its warp came to the barrier ", warp.aligned[ahead].place);
  for (const Collective& c : warp.collectives)
    if (c.arrived && (c.mask >> f.lane & 1))
      fail(divergence, "a lane left the kernel, others of its warp wait for it at ", c.place);
  const std::vector<Fiber*>& waiting = machine.blocks[f.block].at_barrier;
  if (!waiting.empty())
    fail(divergence, "a thread left the kernel, others wait for it at the block barrier ", waiting[0]->place);
}
void leave_cluster(const Fiber& f) {
  Cluster& c = machine.clusters[f.cluster];
  if (f.arrived && f.arrived_phase == c.phase) c.arrived--;
  c.live--;
  end_cluster_phase_if_complete(c);
}

}  // namespace emulator
