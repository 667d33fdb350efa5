// Counts the cost of memory instructions: wavefronts of shared memory, 32-byte sectors of global memory, and segments
// of 128 bytes of other blocks' shared memory (st.async). The n-th executions of an instruction by the lanes of a warp
// count as one access.
#include <algorithm>
#include <bit>
#include <set>
#include <tuple>

#include "runtime_internal.h"

namespace emulator {
namespace {

constexpr unsigned kBanks = 32, kBankBytes = 4, kSector = 32, kSegment = 128;

enum class Space { shared, global, peer };
constexpr const char* kSpaces[] = {"shared", "global", "peer"};

struct Instruction {
  Space space;
  bool write;
  unsigned bytes;
  Place place;
  auto operator<=>(const Instruction&) const = default;
};
struct WarpAccess {
  unsigned lanes = 0;
  uint64_t address[32];
};
struct Cost {
  uint64_t accesses = 0, lanes = 0, paid = 0, ideal = 0;
  void operator+=(const Cost& c) { accesses += c.accesses, lanes += c.lanes, paid += c.paid, ideal += c.ideal; }
};

// One wavefront, a pass over the 32 banks, serves 32 lanes of up to 4 bytes, 16 lanes of 8 bytes, or 8 lanes of 16
// bytes.
Cost shared_cost(const WarpAccess& access, unsigned bytes) {
  Cost cost;
  const unsigned lanes_per_wavefront = 32 / std::max(1u, bytes / kBankBytes);
  for (unsigned first = 0; first < 32; first += lanes_per_wavefront) {
    std::set<uint64_t> words[kBanks];
    for (unsigned lane = first; lane < first + lanes_per_wavefront; ++lane) {
      if (!(access.lanes >> lane & 1)) continue;
      for (unsigned b = 0; b < std::max(kBankBytes, bytes); b += kBankBytes) {
        const uint64_t word = (access.address[lane] + b) / kBankBytes;
        words[word % kBanks].insert(word);
      }
    }
    size_t wavefronts = 0;
    for (const auto& bank : words) wavefronts = std::max(wavefronts, bank.size());
    cost.paid += wavefronts;
    cost.ideal += wavefronts != 0;
  }
  return cost;
}
// Counts the aligned units of `unit` bytes that the lanes touch.
Cost cost_in_units(const WarpAccess& access, unsigned bytes, unsigned unit) {
  std::set<uint64_t> units, touched;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(access.lanes >> lane & 1)) continue;
    for (uint64_t a = access.address[lane]; a < access.address[lane] + bytes; ++a) {
      units.insert(a / unit);
      touched.insert(a);
    }
  }
  return {0, 0, units.size(), (touched.size() + unit - 1) / unit};
}

class Profiler : public Checker {
 public:
  void launch_ends() override {
    for (const auto& [key, access] : incomplete_) add_cost(std::get<0>(key), access);
    incomplete_.clear();
    executions_.clear();
  }
  void accessed(const void* p, size_t bytes, bool write, Place place) override {
    const auto* address = static_cast<const Byte*>(p);
    const auto holds = [&](const Region& r) { return address >= r.low && address < r.high; };
    if (!is_shared(p) && std::none_of(machine.regions.begin(), machine.regions.end(), holds)) return;
    const bool shared = is_shared(p);
    record({shared ? Space::shared : Space::global, write, unsigned(bytes), place},
        shared ? (address - machine.shared_low) % machine.shared_stride : reinterpret_cast<uint64_t>(p));
  }
  StoreRecord store_issued(const Mbarrier&, const void* p, size_t bytes, const void* source, Place place) override {
    if (!source) record({Space::peer, true, unsigned(bytes), place}, reinterpret_cast<uint64_t>(p));
    return nullptr;
  }
  // Returns a line for each memory instruction, with the fields of Cost in control.py, separated by tabs.
  std::string profile() override {
    std::map<std::string, Cost> rows;
    for (const auto& [i, cost] : costs_)
      rows[std::string(kSpaces[int(i.space)]) + (i.write ? "\tstore\t" : "\tload\t") + std::to_string(i.bytes) + "\t" +
           i.place] += cost;
    costs_.clear();
    std::ostringstream text;
    for (const auto& [what, c] : rows)
      text << c.accesses << '\t' << c.lanes << '\t' << c.paid << '\t' << c.ideal << '\t' << what << '\n';
    return text.str();
  }

 private:
  std::map<Instruction, Cost> costs_;
  // Memory accesses of a warp that not all lanes of the warp have made yet. The key is (instruction, warp, number of
  // the access).
  std::map<std::tuple<Instruction, unsigned, unsigned>, WarpAccess> incomplete_;
  std::map<std::pair<unsigned, Instruction>, unsigned> executions_;

  void record(const Instruction& instruction, uint64_t address) {
    const unsigned execution = executions_[{self->id, instruction}]++;
    const std::tuple key(instruction, self->block * 32 + self->warp, execution);
    WarpAccess& access = incomplete_[key];
    access.lanes |= 1u << self->lane;
    access.address[self->lane] = address;
    if (access.lanes != 0xffffffff) return;
    add_cost(instruction, access);
    incomplete_.erase(key);
  }
  void add_cost(const Instruction& i, const WarpAccess& access) {
    Cost cost = i.space == Space::shared ? shared_cost(access, i.bytes)
                                         : cost_in_units(access, i.bytes, i.space == Space::peer ? kSegment : kSector);
    cost.accesses = 1;
    cost.lanes = std::popcount(access.lanes);
    costs_[i] += cost;
  }
};

Profiler profiler;
const bool installed = (checker = &profiler, true);

}  // namespace
}  // namespace emulator
