// The kernels start no threads. Their caller passes a team of threads.
#pragma once
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pixelrnn::cpu {

// Returns the first item of share i, if n items are divided into shares.
inline int64_t share(int64_t n, int64_t i, int64_t shares) { return n * i / shares; }

// The number of threads that may share a kernel's work. A parallel loop wakes `woken_per_core` threads for each core.
struct ThreadLimit {
  int threads, woken_per_core = 1;

  // Returns how many threads shorten a kernel that does `work` multiply-adds. A thread with less work than kThreadWork
  // (20 us) may finish before another thread has started.
  int useful(int64_t work) const {
    constexpr int64_t kThreadWork = 1 << 19;
    return int(std::clamp<int64_t>(work / (kThreadWork * woken_per_core), 1, std::max(threads, 1)));
  }
};

// A barrier that opens when all shares (parts of a kernel's work) have arrived. A thread may run several shares. A scan
// uses the barrier between two lines instead of a fork and join. If another process keeps a core busy, a fork and join
// takes several times as long as a line.
//
// A waiting thread spins for 1 to 3 us, which is longer than a barrier of running threads takes. It then yields its
// core, because a thread for which it waits may need this core.
class Barrier {
 public:
  explicit Barrier(int shares) : shares_(shares) {}
  void arrive(int count) {
    const int phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(count, std::memory_order_acq_rel) + count == shares_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int i = 0; phase_.load(std::memory_order_acquire) == phase; ++i) {
      if (i >= kSpins) sched_yield();
#if defined(__x86_64__)
      else _mm_pause();
#elif defined(__aarch64__)
      else __asm__ volatile("yield");
#endif
    }
  }

 private:
  static constexpr int kSpins = 64;
  const int shares_;
  std::atomic<int> arrived_{0}, phase_{0};
};

// run() divides shares 0 to shares - 1 (parts of a kernel's work) into ranges, and calls body(context, first, last) for
// each range. It returns when all calls have returned. If `concurrent` is true, all ranges run at the same time, so
// shares may wait for each other.
struct Team {
  int threads;
  void (*run)(int shares, void (*body)(void* context, int first, int last), void* context);
  bool concurrent = true;

  template <class F> void parallel(int shares, const F& f) const {
    if (shares <= 0) return;
    run(
        shares, [](void* context, int first, int last) { (*static_cast<const F*>(context))(first, last); },
        const_cast<F*>(&f));
  }
  // Runs several functions one after the other, each with all shares (parts of the work). If `concurrent` is true, one
  // parallel region runs all functions. Separate regions would be slower while another process uses a core, because the
  // end of each region would wait a time slice for the thread that the other process delays. If a function can throw,
  // the shares of later functions must not wait for each other, because the thread that threw skips its shares of these
  // functions.
  template <class First, class... Then> void parallel(int shares, const First& first, const Then&... then) const {
    if (!concurrent) return parallel(shares, first), (parallel(shares, then), ...);
    Barrier barrier(shares);
    parallel(shares, [&](int s0, int s1) {
      // Barriers that are still ahead of this thread. If a function throws, the thread arrives at all of them, so that
      // no other thread waits forever.
      int left = sizeof...(then);
      const auto phase = [&](const auto& f) {
        f(s0, s1);
        if (left) --left, barrier.arrive(s1 - s0);
      };
      try {
        phase(first);
        (phase(then), ...);
      } catch (...) {
        while (left) --left, barrier.arrive(s1 - s0);
        throw;
      }
    });
  }
};

}  // namespace pixelrnn::cpu
