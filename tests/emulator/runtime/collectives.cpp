#include <cstring>
#include <utility>

#include "runtime_internal.h"

namespace emulator {

void warp_collective(Combine combine, const void* in, size_t in_bytes, void* out, size_t out_bytes, unsigned mask,
    bool orders_memory, Place place) {
  Fiber& f = *self;
  Warp& warp = warp_of(f);
  Fiber* const lanes = &f - f.lane;
  if (!(mask >> f.lane & 1)) fail(divergence, "a lane takes part in a collective whose mask lacks it: ", place);
  if (warp.lanes < 32 && mask >> warp.lanes)
    fail(divergence, "the mask names lanes that the block does not have: ", place);

  Collective* c = nullptr;
  for (Collective& other : warp.collectives) {
    if (!other.arrived || !(other.mask & mask)) continue;
    if (other.mask != mask)
      fail(divergence, "collectives with overlapping, different masks: ", other.place, " and ", place);
    if (strcmp(other.place, place))
      fail(divergence, "the lanes of a warp are at different collectives: ", other.place, " and ", place);
    if (other.aligned_barriers != f.aligned_barriers)
      fail(divergence, "the lanes at a collective have passed different barriers: ", place);
    c = &other;
  }
  if (!c) {
    for (unsigned i = 0; i < warp.lanes; ++i) {
      if (!(mask >> i & 1)) continue;
      if (lanes[i].status == Status::done)
        fail(divergence, "lane ", i, ", named by the mask of a collective, left the kernel: ", place);
      if (lanes[i].aligned_barriers > f.aligned_barriers)
        fail(divergence, "lane ", i, ", named by the mask of a collective, is at the barrier ", lanes[i].place, ": ",
            place);
    }
    for (Collective& idle : warp.collectives)
      if (!idle.arrived) c = &idle;
    if (!c) {
      // A warp has at most 32 collectives, one for each lane. The vector reserves memory for 32 collectives, so it
      // never moves its elements, and pointers to the elements stay valid.
      warp.collectives.reserve(32);
      c = &warp.collectives.emplace_back();
    }
    c->mask = mask, c->place = place, c->aligned_barriers = f.aligned_barriers;
  }
  if (in_bytes) memcpy(&c->in[f.lane], in, in_bytes);
  c->arrived |= 1u << f.lane;
  if (c->arrived != mask) {
    wait_as(Status::at_warp_collective, place);
  } else {
    LaneData results[32];
    if (combine) combine(c->in, results, mask);
    std::vector<Fiber*> members;
    for (unsigned i = 0; i < 32; ++i)
      if (mask >> i & 1) {
        lanes[i].result = results[i];
        members.push_back(&lanes[i]);
      }
    if (orders_memory) checker->threads_joined(members);
    c->arrived = 0;
    wake_all(std::move(members));
    suspend();
  }
  if (out_bytes) memcpy(out, &f.result, out_bytes);
}

}  // namespace emulator
