// Fibers, schedules, barriers, collectives, shared memory of blocks and clusters.
// No access in here is the kernel's: of all instrumentation, only AddressSanitizer's may be compiled in.
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "runtime_internal.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "switching fibers is written for x86-64"
#endif
// void emulator_switch(void** save_stack_pointer, void* load_stack_pointer)
asm(R"(
.text
.hidden emulator_switch
.globl emulator_switch
.type emulator_switch,@function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch,.-emulator_switch
)");
extern "C" __attribute__((visibility("hidden"))) void emulator_switch(void**, void*);

namespace emulator {

Machine machine;
Fiber* self = nullptr;
static Checker plain_checker;
Checker* checker = &plain_checker;

static Fiber main_fiber;
static Entry entry;
static std::unique_ptr<Error> error;   // of the launch: the first one
static bool fibers_abandoned = false;  // by the launch before this one
static std::deque<Fiber*> ready;
static std::vector<unsigned> cluster_order;
static unsigned clusters_started, blocks_live, threads_done;

constexpr uint32_t kPoison = 0x7fbadbad;  // a NaN
constexpr size_t kPage = 4096;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStack = 256 << 10;
#else
constexpr size_t kStack = 128 << 10;
#endif

// ---- reports ------------------------------------------------------------------------------------
static const char* name_of(Kind kind) {
  static const char* const names[] = {"deadlock",      "divergence", "race",      "out of bounds",
                                      "uninitialised", "bad use",    "unwritten", "exited"};
  return names[int(kind)];
}
std::string describe(const Fiber& f) {
  char text[96];
  snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u)", f.block_at.x, f.block_at.y, f.block_at.z,
           f.thread.x, f.thread.y, f.thread.z);
  return text;
}
static std::string describe_waiting() {
  struct Group {
    unsigned threads = 0;
    std::string example;
  };
  std::map<std::string, Group> groups;
  for (const Fiber& f : machine.fibers) {
    std::string at = "block " + std::to_string(f.block) + ": ";
    switch (f.status) {
      case Status::unborn: continue;
      case Status::ready: at += "ready"; break;
      case Status::at_block_barrier: at += std::string("at the block barrier ") + f.place; break;
      case Status::at_warp_collective: at += std::string("at the collective ") + f.place; break;
      case Status::at_cluster_barrier: at += std::string("at the cluster barrier ") + f.place; break;
      case Status::done: at += "left the kernel"; break;
    }
    Group& group = groups[at];
    if (!group.threads++) group.example = describe(f);
  }
  std::string text;
  int lines = 0;
  for (const auto& [at, group] : groups) {
    if (lines++ == 24) return text + "\n    ...";
    text += "\n    " + std::to_string(group.threads) + " thread(s) of " + at + ", such as " + group.example;
  }
  return text;
}

// Kernels from PTX pass texts. Kernels from source pass addresses of code, or texts of text_of_place(), on the heap.
static bool places_are_text = false;
const char* text_of_place(const char* file, unsigned line) {
  static std::map<std::pair<const char*, unsigned>, std::string> texts;
  std::string& text = texts[{file, line}];
  if (text.empty()) {
    const char* slash = strrchr(file, '/');
    text = std::string(slash ? slash + 1 : file) + ":" + std::to_string(line);
  }
  return text.c_str();
}
std::string describe_place(const void* place) {
  Dl_info library;
  if (places_are_text || !dladdr(place, &library)) return static_cast<const char*>(place);
  char command[512], line[512];
  const size_t offset = static_cast<const char*>(place) - static_cast<const char*>(library.dli_fbase) - 1;
  snprintf(command, sizeof command, "addr2line -s -i -e '%s' 0x%zx 2>/dev/null", library.dli_fname, offset);
  std::string text;
  if (FILE* pipe = popen(command, "r")) {
    while (fgets(line, sizeof line, pipe)) {
      line[strcspn(line, " \n")] = 0;
      if (line[0] != '?') text += (text.empty() ? "" : " < ") + std::string(line);
    }
    pclose(pipe);
  }
  return text.empty() ? "?" : text;
}

// ---- switching ----------------------------------------------------------------------------------
static void switch_fibers(Fiber& from, Fiber& to) {
  self = &to == &main_fiber ? nullptr : &to;
  machine.statistics.switches++;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(from.status == Status::done ? nullptr : &from.fake_stack, to.stack_low,
                                 to.stack_high - to.stack_low);
#endif
  emulator_switch(&from.stack_pointer, to.stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}
void fail_with(Kind kind, const std::string& what) {
  std::string report = std::string("emulator: ") + name_of(kind) + ": " + what;
  if (!self) throw Error(kind, report);
  InRuntime guard;
  report += "\n  in " + describe(*self);
  if (!error) error = std::make_unique<Error>(kind, report);
  self->status = Status::done;  // abandoned: its destructors do not run
  switch_fibers(*self, main_fiber);
  __builtin_unreachable();
}

static bool in_order() {
  return machine.launch.schedule == Schedule::forward || machine.launch.schedule == Schedule::reverse;
}
static bool before(const Fiber* a, const Fiber* b) { return a->priority < b->priority; }
static void wake(Fiber& f) {
  f.status = Status::ready;
  ready.push_back(&f);
  if (machine.launch.schedule == Schedule::starve) std::push_heap(ready.begin(), ready.end(), before);
}
static void wake_all(std::vector<Fiber*> fibers) {
  if (machine.launch.schedule == Schedule::reverse) std::reverse(fibers.begin(), fibers.end());
  for (Fiber* f : fibers) wake(*f);
}
static Fiber* pick() {
  if (ready.empty()) return nullptr;
  Fiber* f;
  if (in_order()) {
    f = ready.front();
    ready.pop_front();
    return f;
  }
  if (machine.launch.schedule == Schedule::starve)
    std::pop_heap(ready.begin(), ready.end(), before);
  else
    std::swap(ready[machine.random() % ready.size()], ready.back());
  f = ready.back();
  ready.pop_back();
  return f;
}
static void wait_as(Status status, const char* place) {
  self->status = status;
  self->place = place;
  switch_fibers(*self, main_fiber);
}
void yield() {
  wake(*self);
  switch_fibers(*self, main_fiber);
}
static void maybe_yield() {
  const Schedule s = machine.launch.schedule;
  if (s == Schedule::random || (s == Schedule::burst && machine.random() % 4 == 0)) yield();
}

// ---- barriers -----------------------------------------------------------------------------------
static Warp& warp_of(const Fiber& f) { return machine.blocks[f.block].warps[f.warp]; }

// The lanes of a warp must execute the same sequence of aligned barriers, and all of them.
static void check_aligned(Fiber& f, const char* place) {
  Warp& warp = warp_of(f);
  for (const Collective& c : warp.collectives)
    if (c.arrived && (c.mask >> f.lane & 1) && c.aligned_barriers == f.aligned_barriers)
      fail(Kind::divergence, "a lane comes to the barrier ", place, ", where others of its warp wait for it at ",
           c.place);
  const unsigned ahead = f.aligned_barriers++ - warp.aligned_done;
  if (ahead == warp.aligned.size()) {
    if (warp.exited)
      fail(Kind::divergence, "a lane comes to the barrier ", place, ", others of its warp left the kernel");
    warp.aligned.push_back({place, 0});
  } else if (strcmp(warp.aligned[ahead].place, place)) {
    fail(Kind::divergence, "the lanes of a warp are at different barriers: ", warp.aligned[ahead].place, " and ",
         place);
  }
  warp.aligned[ahead].lanes++;
  while (!warp.aligned.empty() && warp.aligned.front().lanes == warp.lanes) {
    warp.aligned.pop_front();
    warp.aligned_done++;
  }
}

void block_barrier(bool aligned, const char* place) {
  InRuntime guard;
  Fiber& f = *self;
  Block& block = machine.blocks[f.block];
  if (block.exited) fail(Kind::divergence, block.exited, " thread(s) left the kernel before the block barrier ", place);
  if (aligned) check_aligned(f, place);
  if (!block.at_barrier.empty() && strcmp(block.at_barrier[0]->place, place))
    fail(Kind::divergence, "the threads of a block are at different barriers: ", block.at_barrier[0]->place, " and ",
         place);
  f.place = place;
  block.at_barrier.push_back(&f);
  if (block.at_barrier.size() < machine.block_threads) {
    wait_as(Status::at_block_barrier, place);
    return;
  }
  machine.statistics.barriers++;
  checker->threads_joined(block.at_barrier);
  wake_all(std::exchange(block.at_barrier, {}));  // the last one queues up like the others
  switch_fibers(f, main_fiber);
}

static void end_cluster_phase_if_complete(Cluster& c) {
  if (!c.live || c.arrived != c.live) return;
  checker->cluster_phase_ends(unsigned(&c - machine.clusters.data()), c.phase);
  c.arrived = 0;
  c.phase++;
  machine.statistics.barriers++;
  wake_all(std::exchange(c.waiting, {}));
}
void cluster_arrive(bool release, bool aligned, const char* place) {
  InRuntime guard;
  Fiber& f = *self;
  Cluster& c = machine.clusters[f.cluster];
  if (aligned) check_aligned(f, place);
  if (f.arrived) fail(Kind::bad_use, "a second arrival at the cluster barrier without a wait between: ", place);
  f.arrived = true;
  f.arrived_phase = c.phase;
  f.place = place;
  checker->cluster_arrived(f, release);
  c.arrived++;
  end_cluster_phase_if_complete(c);
  maybe_yield();
}
void cluster_wait(bool aligned, const char* place) {
  InRuntime guard;
  Fiber& f = *self;
  Cluster& c = machine.clusters[f.cluster];
  if (std::exchange(f.skip_wait, false)) return;
  if (aligned) check_aligned(f, place);
  if (!f.arrived) fail(Kind::bad_use, "a wait for the cluster barrier without an arrival before: ", place);
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

// ---- warp collectives ---------------------------------------------------------------------------
void warp_collective(Combine combine, const void* in, size_t in_bytes, void* out, size_t out_bytes, unsigned mask,
                     bool orders_memory, const char* place) {
  InRuntime guard;
  Fiber& f = *self;
  Warp& warp = warp_of(f);
  Fiber* const lanes = &f - f.lane;
  if (!(mask >> f.lane & 1)) fail(Kind::divergence, "a lane takes part in a collective whose mask lacks it: ", place);
  if (warp.lanes < 32 && mask >> warp.lanes)
    fail(Kind::divergence, "the mask names lanes that the block does not have: ", place);

  Collective* c = nullptr;
  for (Collective& other : warp.collectives) {
    if (!other.arrived || !(other.mask & mask)) continue;
    if (other.mask != mask)
      fail(Kind::divergence, "collectives with overlapping, different masks: ", other.place, " and ", place);
    if (strcmp(other.place, place))
      fail(Kind::divergence, "the lanes of a warp are at different collectives: ", other.place, " and ", place);
    if (other.aligned_barriers != f.aligned_barriers)
      fail(Kind::divergence, "the lanes at a collective have passed different barriers: ", place);
    c = &other;
  }
  if (!c) {
    for (unsigned i = 0; i < warp.lanes; ++i) {
      if (!(mask >> i & 1)) continue;
      if (lanes[i].status == Status::done)
        fail(Kind::divergence, "lane ", i, ", named by the mask of a collective, left the kernel: ", place);
      if (lanes[i].aligned_barriers > f.aligned_barriers)
        fail(Kind::divergence, "lane ", i, ", named by the mask of a collective, is at the barrier ", lanes[i].place,
             ": ", place);
    }
    for (Collective& idle : warp.collectives)
      if (!idle.arrived) c = &idle;
    if (!c) {
      warp.collectives.reserve(32);  // one for every lane at most: references stay valid
      c = &warp.collectives.emplace_back();
    }
    c->mask = mask, c->place = place, c->aligned_barriers = f.aligned_barriers;
  }
  if (in_bytes) memcpy(&c->in[f.lane], in, in_bytes);
  c->arrived |= 1u << f.lane;
  if (c->arrived != mask) {
    wait_as(Status::at_warp_collective, place);
  } else {
    machine.statistics.warp_operations++;
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
    switch_fibers(f, main_fiber);
  }
  if (out_bytes) memcpy(out, &f.result, out_bytes);
}

// ---- shared memory ------------------------------------------------------------------------------
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

// ---- where a thread is --------------------------------------------------------------------------
uint3 thread_index() noexcept { return self->thread; }
uint3 block_index() noexcept { return self->block_at; }
uint3 block_size() noexcept { return {machine.launch.block.x, machine.launch.block.y, machine.launch.block.z}; }
uint3 grid_size() noexcept { return {machine.launch.grid.x, machine.launch.grid.y, machine.launch.grid.z}; }
unsigned lane() noexcept { return self->lane; }
unsigned cluster_rank() noexcept { return self->rank; }
unsigned cluster_size() noexcept { return machine.cluster_blocks; }

// ---- memory -------------------------------------------------------------------------------------
static void poison(unsigned char* low, size_t bytes) {
  for (size_t i = 0; i + 4 <= bytes; i += 4) memcpy(low + i, &kPoison, 4);
}
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

// ---- launch -------------------------------------------------------------------------------------
static void check_exit(Fiber& f) {
  Warp& warp = warp_of(f);
  const unsigned ahead = f.aligned_barriers - warp.aligned_done;
  if (ahead < warp.aligned.size())
    fail(Kind::divergence, "a lane left the kernel, others of its warp came to the barrier ",
         warp.aligned[ahead].place);
  for (const Collective& c : warp.collectives)
    if (c.arrived && (c.mask >> f.lane & 1))
      fail(Kind::divergence, "a lane left the kernel, others of its warp wait for it at ", c.place);
  const std::vector<Fiber*>& waiting = machine.blocks[f.block].at_barrier;
  if (!waiting.empty())
    fail(Kind::divergence, "a thread left the kernel, others wait for it at the block barrier ", waiting[0]->place);
}
static void run_thread() {
#if defined(__SANITIZE_ADDRESS__)
  const void* low;
  size_t bytes;
  __sanitizer_finish_switch_fiber(nullptr, &low, &bytes);
  main_fiber.stack_low = static_cast<unsigned char*>(const_cast<void*>(low));
  main_fiber.stack_high = main_fiber.stack_low + bytes;
#endif
  try {
    entry(machine.args);
  } catch (std::exception& e) {
    fail(Kind::bad_use, "a C++ exception in a kernel: ", e.what());
  }
  Fiber& f = *self;
  f.in_runtime++;
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
  Cluster& c = machine.clusters[f.cluster];
  if (f.arrived && f.arrived_phase == c.phase) c.arrived--;
  c.live--;
  end_cluster_phase_if_complete(c);
  switch_fibers(f, main_fiber);
  abort();
}

static void start_block(unsigned index) {
  Block& block = machine.blocks[index];
  block.live = machine.block_threads;
  blocks_live++;
  poison(block.shared, machine.shared_stride);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(block.shared, machine.shared_stride);
  __asan_unpoison_memory_region(block.shared, machine.shared_bytes);
#endif
  checker->block_starts(index);
  std::vector<Fiber*> threads;
  for (unsigned t = 0; t < machine.block_threads; ++t) {
    Fiber& f = machine.fibers[index * machine.block_threads + t];
    void** sp = reinterpret_cast<void**>(f.stack_high - 64);
    *--sp = nullptr;  // the return address of run_thread, which does not return
    *--sp = reinterpret_cast<void*>(run_thread);
    for (int i = 0; i < 6; ++i) *--sp = nullptr;  // the registers that emulator_switch restores
    f.stack_pointer = sp;
    threads.push_back(&f);
  }
  wake_all(std::move(threads));
}

static void* map_memory(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) fail(Kind::bad_use, "not enough memory for so many threads");
  return p;
}
static void allocate_stacks() {
  const size_t bytes = kStack * machine.threads;
  if (machine.stacks_total < bytes) {
    if (machine.stacks) munmap(machine.stacks, machine.stacks_total);
    machine.stacks_total = 0;
    machine.stacks = static_cast<unsigned char*>(map_memory(bytes));
    machine.stacks_total = bytes;
    if (machine.threads <= 16384)  // a guard page each makes two mappings, of which a process may have about 65,000
      for (size_t i = 0; i < bytes; i += kStack) mprotect(machine.stacks + i, kPage, PROT_NONE);
  }
#if defined(__SANITIZE_ADDRESS__)
  // A finished fiber leaves the poison of its last frame, an abandoned one that of its whole stack.
  const size_t poisoned = fibers_abandoned ? kStack - kPage : kPage;
  for (size_t i = kStack; i <= bytes; i += kStack)
    __asan_unpoison_memory_region(machine.stacks + i - poisoned, poisoned);
#endif
}

static void lay_out(const Launch& l) {
  Machine& m = machine;
  const unsigned blocks = l.grid.x * l.grid.y * l.grid.z;
  m.launch = l;
  m.statistics = {};
  m.random.seed(l.seed * 0x9e3779b97f4a7c15ull + 1);
  m.block_threads = l.block.x * l.block.y * l.block.z;
  m.cluster_blocks = l.cluster.x * l.cluster.y * l.cluster.z;
  m.threads = m.block_threads * blocks;
  m.dynamic_offset = (l.static_shared + 15) / 16 * 16;
  m.shared_bytes = m.dynamic_offset + l.dynamic_shared;
  m.shared_stride = (m.shared_bytes + 2 * kPage - 1) / kPage * kPage;
  m.shared_total = m.shared_stride * blocks;
  m.fibers.assign(m.threads, Fiber{});
  m.blocks.assign(blocks, Block{});
  m.clusters.assign(blocks / m.cluster_blocks, Cluster{});
  allocate_stacks();
  m.shared_low = static_cast<unsigned char*>(map_memory(m.shared_total));

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
      f.block_at = {x, y, z};
      f.stack_low = m.stacks + f.id * kStack + kPage;
      f.stack_high = m.stacks + (f.id + 1) * kStack;
      f.priority = priority;
      block.warps[f.warp].lanes++;
    }
  }
}

void launch(const Launch& l, Entry kernel, const void* args, size_t args_bytes) {
  if (self) fail(Kind::bad_use, "a launch within a launch");
  const unsigned cluster_blocks = l.cluster.x * l.cluster.y * l.cluster.z;
  const uint64_t block_threads = uint64_t(l.block.x) * l.block.y * l.block.z;
  if (!block_threads || block_threads > 1024 || !l.grid.x || !l.grid.y || !l.grid.z)
    fail(Kind::bad_use, "the size of the block or of the grid");
  if (!cluster_blocks || cluster_blocks > 8 || l.grid.x % l.cluster.x || l.grid.y % l.cluster.y ||
      l.grid.z % l.cluster.z)
    fail(Kind::bad_use, "the grid is not a multiple of the cluster, or the cluster has more than 8 blocks");
  lay_out(l);
  machine.args = static_cast<const unsigned char*>(args);
  machine.args_bytes = args_bytes;
  entry = kernel;
  error.reset();
  ready.clear();
  clusters_started = blocks_live = threads_done = 0;

  const unsigned clusters = unsigned(machine.clusters.size());
  cluster_order.resize(clusters);
  for (unsigned i = 0; i < clusters; ++i) cluster_order[i] = l.schedule == Schedule::reverse ? clusters - 1 - i : i;
  if (!in_order()) std::shuffle(cluster_order.begin(), cluster_order.end(), machine.random);

  checker->launch_begins();
  while (threads_done < machine.threads && !error) {
    while (clusters_started < clusters && blocks_live < std::max(1u, l.resident))
      for (unsigned block : machine.clusters[cluster_order[clusters_started++]].blocks) start_block(block);
    if (Fiber* f = pick())
      switch_fibers(main_fiber, *f);
    else
      error = std::make_unique<Error>(Kind::deadlock, "emulator: deadlock: no thread can run" + describe_waiting());
  }
  checker->launch_ends();
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(machine.shared_low, machine.shared_total);
#endif
  munmap(machine.shared_low, machine.shared_total);
  machine.shared_low = nullptr;
  fibers_abandoned = error != nullptr;
  if (error) throw Error(*error);
}
Statistics last_statistics() { return machine.statistics; }

// ---- translated kernels -------------------------------------------------------------------------
std::vector<Translated>& translated_kernels() {
  static std::vector<Translated> kernels;
  return kernels;
}
void add_translated(const Translated& kernel) {
  places_are_text = true;
  translated_kernels().push_back(kernel);
}

}  // namespace emulator
