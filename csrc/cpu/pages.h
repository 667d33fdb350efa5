// Memory for the maps that a recurrence saves for its backward. A new page costs a fault and 4 KB of zeros, which for
// small states is more than the arithmetic, and malloc gives large blocks back to the system each time. These are kept
// for the next map of about their size: at most kMostIdle bytes of them, and together with those in use a quarter more
// than were once in use.
#pragma once
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <mutex>
#include <new>

namespace pixelrnn::cpu {

struct Block {
  void* data;
  size_t bytes;
};

class Pages {
 public:
  static constexpr size_t kMostIdle = 256 << 20;
  explicit Pages(size_t most_idle = kMostIdle) : most_idle_(most_idle) {}
  Pages(const Pages&) = delete;
  ~Pages() { make_room(0); }

  // Of the process. It is never destroyed: tensors may outlive everything.
  static Pages& shared() {
    static Pages& pages = *[] {
      auto* made = new Pages;
      pthread_atfork(
          [] { shared().mutex_.lock(); }, [] { shared().mutex_.unlock(); }, [] { shared().mutex_.unlock(); });
      return made;
    }();
    return pages;
  }

  Block take(size_t bytes) {
    const size_t size = (bytes + kUnit - 1) / kUnit * kUnit;
    std::lock_guard<std::mutex> lock(mutex_);
    const auto fits = idle_.lower_bound(size);
    const bool is_kept = fits != idle_.end() && fits->first <= size + size / 8;
    const Block block = is_kept ? Block{fits->second, fits->first} : Block{nullptr, size};
    used_bytes_ += block.bytes;
    most_bytes_ = std::max(most_bytes_, used_bytes_);
    if (is_kept) {
      idle_bytes_ -= block.bytes, idle_.erase(fits);
      return block;
    }
    make_room(most_bytes_ + most_bytes_ / 4 - used_bytes_);
    return {mapped(size), size};
  }

  void give(Block block) {
    std::lock_guard<std::mutex> lock(mutex_);
    used_bytes_ -= block.bytes;
    idle_bytes_ += block.bytes, idle_.emplace(block.bytes, block.data);
    make_room(most_idle_);
  }

  size_t used_bytes() const { return used_bytes_; }
  size_t idle_bytes() const { return idle_bytes_; }
  size_t most_bytes() const { return most_bytes_; }

 private:
  static constexpr size_t kUnit = 64 << 10, kHuge = 4 << 20;

  // Gives idle blocks back, the largest first, until `most` bytes are left.
  void make_room(size_t most) {
    while (idle_bytes_ > most) {
      const auto largest = std::prev(idle_.end());
      munmap(largest->second, largest->first);
      idle_bytes_ -= largest->first, idle_.erase(largest);
    }
  }
  void* mapped(size_t size) {
    void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
      used_bytes_ -= size;
      throw std::bad_alloc();
    }
#if defined(MADV_HUGEPAGE)
    if (size >= kHuge) madvise(data, size, MADV_HUGEPAGE);
#endif
    return data;
  }

  const size_t most_idle_;
  std::mutex mutex_;
  std::multimap<size_t, void*> idle_;  // by size
  size_t used_bytes_ = 0, idle_bytes_ = 0, most_bytes_ = 0;
};

}  // namespace pixelrnn::cpu
