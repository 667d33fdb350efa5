// Watches every load and store of a kernel for
//   bounds          its own stack, the shared memory of its cluster, registered global memory; alignment
//   initialisation  shared memory and `out` buffers start without a value
//   order           by vector clocks. Only barriers make order: shuffles, votes and matrix products do not
//   block exits     shared memory of a peer is used after the peer started, and before it may leave
#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

#include "runtime_internal.h"

namespace emulator {
namespace {

constexpr size_t kGrain = 2;  // bytes that are tracked together

// Thread u is at clock[u] of its own clock when it releases; another thread knows u's past up to its own clock[u].
using Clock = uint32_t;
using Clocks = std::shared_ptr<std::vector<Clock>>;

struct ThreadState {
  Clocks known;
  Clock now = 1;
  const void* known_at_arrival = nullptr;
};
enum class State : uint8_t { written, uninitialised, forbidden };
// The last write, and the reads since: of one thread (reader), or of several (readers).
struct Grain {
  Clock write_clock = 0, read_clock = 0;
  uint16_t writer = 0, reader = 0;
  State state = State::uninitialised;
  Clock* readers = nullptr;
  const void *write_place = nullptr, *read_place = nullptr;
};
struct Memory {
  unsigned char *low, *high;
  Access access;
  int block;  // whose shared memory it is, or -1
  std::string name;
  std::vector<Grain> grains;
};
struct PeerAccess {
  Clock clock = 0;
  const void* place = nullptr;
  bool write = false;
};
struct ClusterState {
  Clocks released[2];  // by phase
  const void* joined = nullptr;
};

void join(std::vector<Clock>& a, const std::vector<Clock>& b) {
  for (size_t i = 0; i < b.size(); ++i) a[i] = std::max(a[i], b[i]);
}
// Threads of a cluster, numbered within it: only they can touch its shared memory.
unsigned number_in_cluster(unsigned thread) {
  const Fiber& f = machine.fibers[thread];
  return f.rank * machine.block_threads + f.in_block;
}
unsigned thread_of_cluster(unsigned cluster, unsigned number) {
  return machine.clusters[cluster].blocks[number / machine.block_threads] * machine.block_threads +
         number % machine.block_threads;
}

class RaceChecker : public Checker {
 public:
  void launch_begins() override {
    count_ = machine.threads;
    if (count_ > 65535) fail(Kind::bad_use, "the race checker takes at most 65535 threads");
    const Clocks zero = no_clocks();
    threads_.assign(count_, ThreadState{zero});
    clusters_.assign(machine.clusters.size(), {});
    peer_accesses_.assign(machine.blocks.size(), {});
    for (const auto& memory : global_)
      for (Grain& g : memory->grains) {
        const State state = g.state;
        g = Grain{};
        g.state = state;
      }
    shared_.clear();
    for (size_t b = 0; b < machine.blocks.size(); ++b) {
      unsigned char* low = machine.shared_low + b * machine.shared_stride;
      auto memory = std::make_unique<Memory>(Memory{low, low + machine.shared_stride, Access::in_out, int(b), "", {}});
      memory->grains.resize(machine.shared_stride / kGrain);
      for (Grain& g : memory->grains) g.state = State::forbidden;
      shared_.push_back(std::move(memory));
    }
    find_program_memory();
    plan_preemption();
    active_ = true;
  }
  void launch_ends() override {
    active_ = false;
    threads_.clear();
    clusters_.clear();
    shared_.clear();
    reader_lists_.clear();
    for (const auto& memory : global_)
      for (Grain& g : memory->grains) g.readers = nullptr;
  }
  void block_starts(unsigned block) override {
    auto& grains = shared_[block]->grains;
    for (size_t i = 0; i < machine.shared_bytes; i += kGrain) grains[i / kGrain].state = State::uninitialised;
  }
  void region_added(const Region& r) override {
    auto memory = std::make_unique<Memory>(Memory{r.low, r.high, r.access, -1, r.name, {}});
    memory->grains.resize((r.high - r.low + kGrain - 1) / kGrain);
    for (Grain& g : memory->grains) g.state = r.access == Access::out ? State::uninitialised : State::written;
    const auto at = std::find_if(global_.begin(), global_.end(), [&](auto& other) { return other->low > r.low; });
    global_.insert(at, std::move(memory));
    latest_ = nullptr;
  }
  void region_removed(const Region& r) override {
    std::erase_if(global_, [&](auto& memory) { return memory->low == r.low; });
    latest_ = nullptr;
  }
  void require_written(const Region& r) override {
    const Memory* memory = find(r.low);
    for (size_t i = 0; i < memory->grains.size(); ++i)
      if (memory->grains[i].state == State::uninitialised)
        fail(Kind::unwritten, "'", r.name, "' + ", i * kGrain, " was never written");
  }

  // ---- order
  void threads_joined(const std::vector<Fiber*>& fibers) override {
    const Clocks all = no_clocks();
    const void* joined = nullptr;  // many threads share what they know
    for (const Fiber* f : fibers) {
      const ThreadState& t = threads_[f->id];
      if (t.known.get() != joined) join(*all, *t.known);
      joined = t.known.get();
    }
    for (const Fiber* f : fibers) {
      ThreadState& t = threads_[f->id];
      (*all)[f->id] = std::max((*all)[f->id], t.now);
    }
    for (const Fiber* f : fibers) {
      ThreadState& t = threads_[f->id];
      t.known = all;
      t.now++;
    }
  }
  // An arrival that releases publishes what the thread knows; the wait acquires what the phase collected.
  void cluster_arrived(Fiber& f, bool release) override {
    ThreadState& t = threads_[f.id];
    ClusterState& c = clusters_[f.cluster];
    Clocks& released = c.released[f.arrived_phase & 1];
    if (!released) released = no_clocks();
    t.known_at_arrival = nullptr;
    if (!release) return;
    if (c.joined != t.known.get()) join(*released, *t.known);
    c.joined = t.known_at_arrival = t.known.get();
    (*released)[f.id] = std::max((*released)[f.id], t.now++);
  }
  void cluster_phase_ends(unsigned cluster, unsigned phase) override {
    ClusterState& c = clusters_[cluster];
    c.joined = nullptr;
    c.released[~phase & 1].reset();  // every thread has left the phase before this one
    if (!c.released[phase & 1]) c.released[phase & 1] = no_clocks();
  }
  void cluster_waited(Fiber& f) override {
    ThreadState& t = threads_[f.id];
    const Clocks& released = clusters_[f.cluster].released[f.arrived_phase & 1];
    if (t.known_at_arrival == t.known.get()) {
      t.known = released;  // which contains what this thread knew
    } else {
      t.known = std::make_shared<std::vector<Clock>>(*t.known);
      join(*t.known, *released);
    }
    t.known_at_arrival = nullptr;
  }
  // A block lives as long as any of its threads: one of them must know of every access from outside.
  void block_exits(unsigned block) override {
    const auto& accesses = peer_accesses_[block];
    if (accesses.empty()) return;
    std::vector<Clock> known(count_, 0);
    const void* joined = nullptr;
    for (unsigned k = 0; k < machine.block_threads; ++k) {
      const ThreadState& t = threads_[block * machine.block_threads + k];
      if (t.known.get() != joined) join(known, *t.known);
      joined = t.known.get();
    }
    for (unsigned k = 0; k < accesses.size(); ++k) {
      const unsigned thread = thread_of_cluster(machine.blocks[block].cluster, k);
      if (accesses[k].clock && known[thread] < accesses[k].clock)
        fail(Kind::exited, "the block may leave the kernel before a peer's ",
             accesses[k].write ? "write to" : "read of", " its shared memory", by(thread, accesses[k].place));
    }
  }

  // ---- accesses
  void accessed(const void* p, size_t bytes, bool write, const void* place) override {
    if (!active_ || (p >= self->stack_low && p < self->stack_high)) return;
    const auto* first = static_cast<const unsigned char*>(p);
    if (!write && first >= machine.args && first + bytes <= machine.args + machine.args_bytes) return;
    InRuntime guard;
    machine.statistics.accesses++;
    if (--until_preemption_ == 0) {
      plan_preemption();
      yield();
    }
    Memory* memory = find(p);
    if (!memory && !write && in_program(p)) return;  // a constant
    check_bounds(memory, first, bytes, write, place);
    if (write && memory->access == Access::in)
      fail(Kind::bad_use, "a write to the input ", describe(*memory, p), at(place));
    if (memory->block >= 0 && unsigned(memory->block) != self->block) check_peer(*memory, write, place);
    for (size_t i = (first - memory->low) / kGrain; i <= (first + bytes - 1 - memory->low) / kGrain; ++i) {
      Grain& g = memory->grains[i];
      const unsigned char* grain_at = memory->low + i * kGrain;
      if (g.state == State::forbidden)
        fail(Kind::out_of_bounds, write ? "a write" : "a read", " beyond the ", describe(*memory, grain_at), at(place));
      if (!write && g.state == State::uninitialised)
        fail(Kind::uninitialised, "a read of ", describe(*memory, grain_at), ", which was never written", at(place));
      if (memory->access == Access::in) continue;  // never written: nothing to order
      if (g.write_clock && !knows(g.writer, g.write_clock))
        race(*memory, grain_at, write ? "write" : "read", place, "write", g.writer, g.write_place);
      if (write)
        record_write(*memory, g, grain_at, place);
      else
        record_read(*memory, g, place);
    }
  }

 private:
  unsigned count_ = 0;  // threads
  bool active_ = false;
  std::vector<ThreadState> threads_;
  std::vector<ClusterState> clusters_;
  std::vector<std::vector<PeerAccess>> peer_accesses_;  // by block: the last one of every thread of its cluster
  std::vector<std::unique_ptr<Memory>> global_;         // by address
  std::vector<std::unique_ptr<Memory>> shared_;         // by block
  std::vector<std::unique_ptr<Clock[]>> reader_lists_;
  std::vector<std::pair<const char*, const char*>> program_;
  Memory* latest_ = nullptr;
  uint64_t until_preemption_ = 0;

  Clocks no_clocks() const { return std::make_shared<std::vector<Clock>>(count_, 0); }
  bool knows(unsigned thread, Clock clock) const {
    return thread == self->id || (*threads_[self->id].known)[thread] >= clock;
  }
  void plan_preemption() {
    const unsigned every = machine.launch.preemption;
    until_preemption_ = every ? 1 + machine.random() % (2 * every) : ~0ull;
  }

  static std::string at(const void* place) { return "\n  at " + describe_place(place); }
  static std::string by(unsigned thread, const void* place) {
    return at(place) + " by " + emulator::describe(machine.fibers[thread]);
  }
  static std::string describe(const Memory& m, const void* p) {
    const size_t offset = static_cast<const unsigned char*>(p) - m.low;
    if (m.block < 0) return "'" + m.name + "' + " + std::to_string(offset);
    return "shared memory of block " + std::to_string(m.block) + " + " + std::to_string(offset);
  }
  [[noreturn]] static void race(const Memory& m, const void* p, const char* what, const void* place,
                                const char* other_what, unsigned other, const void* other_place) {
    fail(Kind::race, "a ", what, " of ", describe(m, p), at(place), "\n  is not ordered after the ", other_what,
         by(other, other_place));
  }

  void record_write(const Memory& memory, Grain& g, const unsigned char* p, const void* place) {
    if (g.readers) {
      for (unsigned k = 0; k < reader_slots(memory); ++k) {
        const unsigned thread = memory.block < 0 ? k : thread_of_cluster(self->cluster, k);
        if (g.readers[k] && !knows(thread, g.readers[k])) race(memory, p, "write", place, "read", thread, g.read_place);
      }
      memset(g.readers, 0, reader_slots(memory) * sizeof(Clock));
    } else if (g.read_clock && !knows(g.reader, g.read_clock)) {
      race(memory, p, "write", place, "read", g.reader, g.read_place);
    }
    g.read_clock = 0;
    g.writer = uint16_t(self->id), g.write_clock = threads_[self->id].now, g.write_place = place;
    g.state = State::written;
  }
  void record_read(const Memory& memory, Grain& g, const void* place) {
    const unsigned me = self->id;
    const Clock now = threads_[me].now;
    g.read_place = place;
    if (!g.readers) {
      if (!g.read_clock || g.reader == me || knows(g.reader, g.read_clock)) {
        g.reader = uint16_t(me), g.read_clock = now;
        return;
      }
      g.readers = reader_lists_.emplace_back(new Clock[reader_slots(memory)]()).get();
      g.readers[reader_slot(memory, g.reader)] = g.read_clock;
      g.read_clock = 0;
    }
    g.readers[reader_slot(memory, me)] = now;
  }
  unsigned reader_slots(const Memory& m) const {
    return m.block < 0 ? count_ : machine.cluster_blocks * machine.block_threads;
  }
  unsigned reader_slot(const Memory& m, unsigned thread) const {
    return m.block < 0 ? thread : number_in_cluster(thread);
  }

  Memory* find(const void* p) {
    if (is_shared(p))
      return shared_[(static_cast<const unsigned char*>(p) - machine.shared_low) / machine.shared_stride].get();
    if (latest_ && p >= latest_->low && p < latest_->high) return latest_;
    const auto after =
        std::upper_bound(global_.begin(), global_.end(), p, [](const void* p, auto& m) { return p < m->low; });
    if (after == global_.begin() || p >= after[-1]->high) return nullptr;
    return latest_ = after[-1].get();
  }
  void check_bounds(const Memory* m, const unsigned char* p, size_t bytes, bool write, const void* place) const {
    const auto what = [&] {
      return std::string(write ? "a write" : "a read") + " of " + std::to_string(bytes) + " bytes";
    };
    if (!m) {
      if (p >= machine.stacks && p < machine.stacks + machine.stacks_total)
        fail(Kind::out_of_bounds, what(), " in the local memory of another thread", at(place));
      std::string nearest;
      for (const auto& other : global_) {
        if (p >= other->high && p < other->high + 4096)
          nearest = ", " + std::to_string(p - other->high) + " bytes behind '" + other->name + "'";
        if (p < other->low && p + 4096 > other->low)
          nearest = ", " + std::to_string(other->low - p) + " bytes before '" + other->name + "'";
      }
      fail(Kind::out_of_bounds, what(), " where the launch has no memory", nearest, at(place));
    }
    if (p + bytes > m->high) fail(Kind::out_of_bounds, what(), " across the end of '", m->name, "'", at(place));
    if (m->block >= 0 && machine.blocks[m->block].cluster != self->cluster)
      fail(Kind::out_of_bounds, what(), " beyond the shared memory of the block", at(place));
    if (bytes <= 16 && reinterpret_cast<uintptr_t>(p) % bytes)
      fail(Kind::bad_use, what(), " is misaligned: ", describe(*m, p), at(place));
  }
  void check_peer(const Memory& m, bool write, const void* place) {
    const Block& block = machine.blocks[m.block];
    if (!block.live)
      fail(Kind::exited, "shared memory of block ", m.block, " is used after that block has left the kernel",
           at(place));
    const auto known = threads_[self->id].known->begin() + m.block * machine.block_threads;
    if (std::all_of(known, known + machine.block_threads, [](Clock c) { return c == 0; }))
      fail(Kind::race, "shared memory of block ", m.block, " is used before anything says that the block has started",
           at(place));
    auto& accesses = peer_accesses_[m.block];
    if (accesses.empty()) accesses.resize(machine.cluster_blocks * machine.block_threads);
    accesses[number_in_cluster(self->id)] = {threads_[self->id].now, place, write};
  }

  void find_program_memory() {
    program_.clear();
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* segments) {
          for (int k = 0; k < info->dlpi_phnum; ++k) {
            if (info->dlpi_phdr[k].p_type != PT_LOAD) continue;
            const auto* low = reinterpret_cast<const char*>(info->dlpi_addr + info->dlpi_phdr[k].p_vaddr);
            static_cast<decltype(program_)*>(segments)->emplace_back(low, low + info->dlpi_phdr[k].p_memsz);
          }
          return 0;
        },
        &program_);
  }
  bool in_program(const void* p) const {
    return std::any_of(program_.begin(), program_.end(), [&](auto& s) { return p >= s.first && p < s.second; });
  }
};

RaceChecker race_checker;
const bool installed = (checker = &race_checker, true);

}  // namespace
}  // namespace emulator
