#include <algorithm>
#include <cstdlib>

#include "runtime_internal.h"

namespace emulator {

Machine machine;
static Entry entry;
static std::vector<unsigned> cluster_order;
static unsigned clusters_started, blocks_live, threads_done;

uint3 thread_index() noexcept { return self->thread; }
uint3 block_index() noexcept { return self->block_position; }
uint3 block_size() noexcept { return machine.launch.block; }
uint3 grid_size() noexcept { return machine.launch.grid; }
unsigned lane() noexcept { return self->lane; }
unsigned cluster_rank() noexcept { return self->rank; }
unsigned cluster_size() noexcept { return machine.cluster_blocks; }

static void run_thread() {
  entry(machine.args);
  Fiber& f = *self;
  check_exit(f);
  Block& block = machine.blocks[f.block];
  threads_done++;
  block.exited++;
  warp_of(f).exited++;
  if (--block.live == 0) {
    blocks_live--;
    checker->block_exits(f.block);
  }
  f.status = Status::done;
  leave_cluster(f);
  suspend();
  abort();
}

static void start_block(unsigned index) {
  Block& block = machine.blocks[index];
  block.live = machine.block_threads;
  blocks_live++;
  fill_with_nan(block.shared, machine.shared_stride);
  checker->block_starts(index);
  std::vector<Fiber*> threads;
  for (unsigned t = 0; t < machine.block_threads; ++t) {
    Fiber& f = machine.fibers[index * machine.block_threads + t];
    prepare_stack(f, run_thread);
    threads.push_back(&f);
  }
  wake_all(std::move(threads));
}

static void lay_out(const Launch& l) {
  Machine& m = machine;
  const unsigned blocks = l.grid.x * l.grid.y * l.grid.z;
  m.launch = l;
  m.random.seed(l.seed * 0x9e3779b97f4a7c15ull + 1);
  m.block_threads = l.block.x * l.block.y * l.block.z;
  m.cluster_blocks = l.cluster.x * l.cluster.y * l.cluster.z;
  m.threads = m.block_threads * blocks;
  m.shared_bytes = l.dynamic_offset + l.dynamic_shared;
  m.shared_stride = (m.shared_bytes + 2 * kPage - 1) / kPage * kPage;
  m.shared_total = m.shared_stride * blocks;
  m.fibers.assign(m.threads, Fiber{});
  m.blocks.assign(blocks, Block{});
  m.clusters.assign(blocks / m.cluster_blocks, Cluster{});
  m.mbarriers.clear();
  m.async_stores.clear();
  allocate_stacks();
  m.shared_low = static_cast<Byte*>(map_memory(m.shared_total));

  for (Cluster& c : m.clusters) {
    c.blocks.resize(m.cluster_blocks);
    c.live = m.cluster_blocks * m.block_threads;
  }
  const dim3 g = l.grid, k = l.cluster, s = l.block;
  for (unsigned b = 0; b < blocks; ++b) {
    Block& block = m.blocks[b];
    const unsigned x = b % g.x, y = b / g.x % g.y, z = b / g.x / g.y;
    block.cluster = x / k.x + g.x / k.x * (y / k.y + g.y / k.y * (z / k.z));
    block.rank = x % k.x + k.x * (y % k.y + k.y * (z % k.z));
    block.shared = m.shared_low + b * m.shared_stride;
    block.warps.resize((m.block_threads + 31) / 32);
    m.clusters[block.cluster].blocks[block.rank] = b;
    const uint64_t block_priority = m.random() >> 8;
    uint64_t priority = 0;
    for (unsigned t = 0; t < m.block_threads; ++t) {
      if (t % 32 == 0) priority = block_priority + (m.random() >> 9);
      Fiber& f = m.fibers[b * m.block_threads + t];
      f.id = b * m.block_threads + t;
      f.in_block = t, f.block = b, f.warp = t / 32, f.lane = t % 32;
      f.cluster = block.cluster, f.rank = block.rank;
      f.thread = {t % s.x, t / s.x % s.y, t / s.x / s.y};
      f.block_position = {x, y, z};
      f.priority = priority;
      block.warps[f.warp].lanes++;
    }
  }
}

void launch(const Launch& l, Entry kernel, const void* args, size_t args_bytes, std::vector<Buffer> buffers) {
  if (self) fail(bad_use, "a launch within a launch");
  const unsigned cluster_blocks = l.cluster.x * l.cluster.y * l.cluster.z;
  const uint64_t block_threads = uint64_t(l.block.x) * l.block.y * l.block.z;
  if (!block_threads || block_threads > 1024 || !l.grid.x || !l.grid.y || !l.grid.z)
    fail(bad_use, "expected at least one block, of 1 to 1024 threads");
  if (!cluster_blocks || cluster_blocks > 8 || l.grid.x % l.cluster.x || l.grid.y % l.cluster.y ||
      l.grid.z % l.cluster.z)
    fail(bad_use, "the grid is not a multiple of the cluster, or the cluster has more than 8 blocks");
  lay_out_regions(std::move(buffers));
  lay_out(l);
  machine.args = static_cast<const Byte*>(args);
  machine.args_bytes = args_bytes;
  entry = kernel;
  first_error.clear();
  ready.clear();
  clusters_started = blocks_live = threads_done = 0;

  const unsigned clusters = unsigned(machine.clusters.size());
  cluster_order.resize(clusters);
  for (unsigned i = 0; i < clusters; ++i) cluster_order[i] = l.schedule == Schedule::reverse ? clusters - 1 - i : i;
  if (!is_in_order()) std::shuffle(cluster_order.begin(), cluster_order.end(), machine.random);

  checker->launch_begins();
  try {
    while (threads_done < machine.threads && first_error.empty()) {
      while (clusters_started < clusters && blocks_live < std::max(1u, l.resident))
        for (unsigned block : machine.clusters[cluster_order[clusters_started++]].blocks) start_block(block);
      if (delivery_is_due()) deliver_pieces();
      else if (Fiber* f = pick()) resume(*f);
      else fail(deadlock, "no thread can run" + describe_waiting());
    }
    while (!machine.async_stores.empty() && first_error.empty()) deliver_pieces();
    for (const Region& r : machine.regions)
      if (r.access == Access::out && first_error.empty()) checker->require_written(r);
  } catch (const std::runtime_error& e) {  // thrown outside the kernel's threads
    first_error = e.what();
  }
  machine.async_stores.clear();
  checker->launch_ends();
  free_shared_memory();
  if (!first_error.empty()) throw std::runtime_error(first_error);
}

std::deque<Translated>& translated_kernels() {
  static std::deque<Translated> kernels;
  return kernels;
}

}  // namespace emulator
