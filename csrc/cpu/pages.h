// A cache of memory blocks for feature maps and scratch memory. malloc would return large blocks to the system, and the
// page faults of new blocks can take longer than the arithmetic. A freed block serves the next request of about the
// same size. All blocks together take at most 1.25 times the peak use. The system may take back the pages of idle
// blocks, except for kMaxIdle bytes.
#pragma once
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace pixelrnn::cpu {

// Huge pages save most page faults of a large block.
inline void advise_huge_pages(void* data, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 4096, least = 4 << 20;
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t low = (address + page - 1) / page * page, high = (address + bytes) / page * page;
  if (bytes >= least) madvise(reinterpret_cast<void*>(low), high - low, MADV_HUGEPAGE);
#else
  (void)data, (void)bytes;
#endif
}

// Lets the system take the pages of a block, whose contents are then lost. Returns false if the system cannot.
inline bool allow_reclaim(void* data, size_t bytes) {
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
  static constexpr size_t kMaxIdle = 256 << 20;
  // Blocks of less than kMinBytes come from malloc, which keeps them when they are freed.
  static constexpr size_t kMinBytes = 256 << 10;
  explicit Pages(size_t max_idle = kMaxIdle) : max_idle_(max_idle) {}
  ~Pages() { trim(0); }

  // The cache is never destroyed, because tensors that use its memory may outlive static objects.
  static Pages& shared() {
    static Pages& pages = *[] {
      auto* created = new Pages;
      pthread_atfork(
          [] { shared().mutex_.lock(); }, [] { shared().mutex_.unlock(); }, [] { shared().mutex_.unlock(); });
      return created;
    }();
    return pages;
  }

  // Returns a block of at least `bytes` bytes. Its data is null if no memory is left.
  Block take(size_t bytes) {
    const size_t size = (bytes + kGranularity - 1) / kGranularity * kGranularity;
    std::lock_guard lock(mutex_);
    auto best = idle_.end();
    for (auto i = idle_.begin(); i != idle_.end(); ++i)
      if (size <= i->bytes && i->bytes <= size + size / 8 && (best == idle_.end() || i->bytes < best->bytes)) best = i;
    Block block{nullptr, size};
    if (best != idle_.end()) {
      block = *best;
      bytes_of(*best) -= block.bytes, idle_.erase(best);
    } else {
      const size_t peak = std::max(peak_bytes_, used_bytes_ + size);
      trim(peak + peak / 4 - used_bytes_ - size);
      block.data = map_pages(size);
      if (!block.data) trim(0), block.data = map_pages(size);
      if (!block.data) return block;
    }
    used_bytes_ += block.bytes;
    peak_bytes_ = std::max(peak_bytes_, used_bytes_);
    return block;
  }

  void give(Block block) noexcept {
    std::lock_guard lock(mutex_);
    used_bytes_ -= block.bytes;
    try {
      idle_.push_back({block, false});
    } catch (...) {
      munmap(block.data, block.bytes);
      return;
    }
    if (idle_bytes_ + block.bytes > max_idle_) idle_.back().is_reclaimable = allow_reclaim(block.data, block.bytes);
    bytes_of(idle_.back()) += block.bytes;
    if (idle_bytes_ > max_idle_) trim(max_idle_);
  }

  size_t used_bytes() const { return used_bytes_; }
  size_t idle_bytes() const { return idle_bytes_; }  // without the bytes that the system may take
  size_t reclaimable_bytes() const { return reclaimable_bytes_; }
  size_t peak_bytes() const { return peak_bytes_; }

 private:
  static constexpr size_t kGranularity = 64 << 10;

  struct Idle : Block { bool is_reclaimable; };
  size_t& bytes_of(const Idle& block) { return block.is_reclaimable ? reclaimable_bytes_ : idle_bytes_; }

  void trim(size_t limit) {
    auto block = idle_.begin();
    for (; idle_bytes_ + reclaimable_bytes_ > limit; ++block) {
      munmap(block->data, block->bytes);
      bytes_of(*block) -= block->bytes;
    }
    idle_.erase(idle_.begin(), block);
  }
  static void* map_pages(size_t size) {
    void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return nullptr;
    advise_huge_pages(data, size);
    return data;
  }

  const size_t max_idle_;
  std::mutex mutex_;
  std::vector<Idle> idle_;  // longest idle first
  size_t used_bytes_ = 0, idle_bytes_ = 0, reclaimable_bytes_ = 0, peak_bytes_ = 0;
};

// Scratch memory of a kernel call. Large blocks come from Pages, and small blocks from malloc.
struct Free {
  size_t bytes = 0;  // 0 for a block from malloc
  void operator()(void* p) const { bytes ? Pages::shared().give({p, bytes}) : free(p); }
};
template <class T> using Buffer = std::unique_ptr<T[], Free>;
template <class T> Buffer<T> buffer(int64_t n) {
  const size_t bytes = (n * sizeof(T) + 127) / 64 * 64;
  const auto block = bytes < Pages::kMinBytes ? Block{aligned_alloc(64, bytes), 0} : Pages::shared().take(bytes);
  if (!block.data) throw std::bad_alloc();
  return Buffer<T>(static_cast<T*>(block.data), Free{block.bytes});
}

}  // namespace pixelrnn::cpu
