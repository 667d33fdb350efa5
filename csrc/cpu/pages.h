// A cache of memory for the maps of a recurrence and for scratch. A new page costs a page fault and 4 KB of zeroing,
// for small states more than the arithmetic, and malloc returns large blocks to the system each time. A block is kept
// for the next request of about its size; all blocks take at most 1.25 times the peak use. Idle blocks beyond kMostIdle
// bytes are lent: the system may take their pages.
#pragma once
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace pixelrnn::cpu {

// Huge pages, for the whole pages of a large block, save most of its page faults.
inline void advise_huge_pages(void* data, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 4096, least = 4 << 20;
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t low = (address + page - 1) / page * page, high = (address + bytes) / page * page;
  if (bytes >= least) madvise(reinterpret_cast<void*>(low), high - low, MADV_HUGEPAGE);
#else
  (void)data, (void)bytes;
#endif
}

// Lets the system take the pages and lose their contents; until then they cost no fault. False: nothing changed.
inline bool lend_to_system(void* data, size_t bytes) {
#if defined(MADV_FREE)
  return madvise(data, bytes, MADV_FREE) == 0;
#else
  (void)data, (void)bytes;
  return false;
#endif
}

struct Block {
  void* data;
  size_t bytes;
};

class Pages {
 public:
  static constexpr size_t kMostIdle = 256 << 20;
  static constexpr size_t kLeast = 256 << 10;  // smaller blocks come from malloc, which keeps them
  explicit Pages(size_t most_idle = kMostIdle) : most_idle_(most_idle) {}
  Pages(const Pages&) = delete;
  ~Pages() { make_room(0); }

  // The cache of the process. It is never destroyed, because tensors may outlive static objects.
  static Pages& shared() {
    static Pages& pages = *[] {
      auto* made = new Pages;
      pthread_atfork(
          [] { shared().mutex_.lock(); }, [] { shared().mutex_.unlock(); }, [] { shared().mutex_.unlock(); });
      return made;
    }();
    return pages;
  }

  // Returns a block, whose data is null if the system has no more memory.
  Block take(size_t bytes) {
    const size_t size = (bytes + kUnit - 1) / kUnit * kUnit;
    std::lock_guard<std::mutex> lock(mutex_);
    auto best = idle_.end();
    for (auto i = idle_.begin(); i != idle_.end(); ++i)
      if (size <= i->bytes && i->bytes <= size + size / 8 && (best == idle_.end() || i->bytes < best->bytes)) best = i;
    Block block{nullptr, size};
    if (best != idle_.end()) {
      block = *best;
      bytes_of(*best) -= block.bytes, idle_.erase(best);
    } else {
      const size_t most = std::max(most_bytes_, used_bytes_ + size);
      make_room(most + most / 4 - used_bytes_ - size);
      block.data = mapped(size);
      if (!block.data) make_room(0), block.data = mapped(size);
      if (!block.data) return block;
    }
    used_bytes_ += block.bytes;
    most_bytes_ = std::max(most_bytes_, used_bytes_);
    return block;
  }

  void give(Block block) noexcept {
    std::lock_guard<std::mutex> lock(mutex_);
    used_bytes_ -= block.bytes;
    try {
      idle_.push_back({block, false});
    } catch (...) {
      munmap(block.data, block.bytes);
      return;
    }
    if (idle_bytes_ + block.bytes > most_idle_) idle_.back().is_lent = lend_to_system(block.data, block.bytes);
    bytes_of(idle_.back()) += block.bytes;
    if (idle_bytes_ > most_idle_) make_room(most_idle_);
  }

  size_t used_bytes() const { return used_bytes_; }
  size_t idle_bytes() const { return idle_bytes_; }  // bytes that are not lent
  size_t lent_bytes() const { return lent_bytes_; }
  size_t most_bytes() const { return most_bytes_; }

 private:
  static constexpr size_t kUnit = 64 << 10;

  struct Idle : Block { bool is_lent; };
  size_t& bytes_of(const Idle& block) { return block.is_lent ? lent_bytes_ : idle_bytes_; }

  // Unmaps the blocks that are idle longest, until `most` bytes are left.
  void make_room(size_t most) {
    auto kept = idle_.begin();
    for (; idle_bytes_ + lent_bytes_ > most; ++kept) {
      munmap(kept->data, kept->bytes);
      bytes_of(*kept) -= kept->bytes;
    }
    idle_.erase(idle_.begin(), kept);
  }
  static void* mapped(size_t size) {
    void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return nullptr;
    advise_huge_pages(data, size);
    return data;
  }

  const size_t most_idle_;
  std::mutex mutex_;
  std::vector<Idle> idle_;  // longest idle first
  size_t used_bytes_ = 0, idle_bytes_ = 0, lent_bytes_ = 0, most_bytes_ = 0;
};

// Scratch memory of a call: large blocks from Pages, small blocks from malloc.
struct Free {
  size_t kept = 0;  // bytes of a block from Pages; 0: malloc's
  void operator()(void* p) const { kept ? Pages::shared().give({p, kept}) : free(p); }
};
template <class T> using Buffer = std::unique_ptr<T[], Free>;
template <class T> Buffer<T> buffer(int64_t n) {
  const size_t bytes = (n * sizeof(T) + 127) / 64 * 64;
  const Block block = bytes < Pages::kLeast ? Block{aligned_alloc(64, bytes), 0} : Pages::shared().take(bytes);
  if (!block.data) throw std::bad_alloc();
  return Buffer<T>(static_cast<T*>(block.data), Free{block.bytes});
}

}  // namespace pixelrnn::cpu
