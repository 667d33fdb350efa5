// The kernels start no threads: the caller passes a team of threads.
#pragma once
#include <sched.h>
#include <atomic>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pixelrnn::cpu {

// Kernels divide work of n items into shares. Returns where share i begins and share i - 1 ends.
inline int64_t share(int64_t n, int64_t i, int64_t shares) { return n * i / shares; }

// A barrier that opens when all shares have arrived, on however many threads they run. It spins, then yields. A fork
// and join for every line would take several times as long as the line while another process uses a core.
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
      if (i >= 4096) sched_yield();
#if defined(__x86_64__)
      else _mm_pause();
#elif defined(__aarch64__)
      else __asm__ volatile("yield");
#endif
    }
  }

 private:
  const int shares_;
  std::atomic<int> arrived_{0}, phase_{0};
};

// run(shares, body, context) calls body(context, first, last) for ranges that cover [0, shares), and returns when all
// calls have returned. If concurrent, all ranges run at the same time, so shares may wait for each other.
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
  // Runs functions one after the other: each begins when all shares of the previous function are done. A function whose
  // shares wait for each other may only follow functions that cannot throw. If `concurrent`, all functions run in one
  // parallel region, because the end of a region costs a time slice while another process uses a core.
  template <class First, class... Then> void parallel(int shares, const First& first, const Then&... then) const {
    if (!concurrent) return parallel(shares, first), (parallel(shares, then), ...);
    Barrier barrier(shares);
    parallel(shares, [&](int s0, int s1) {
      int left = sizeof...(then);  // barriers ahead; a share that throws still arrives at each, so no other share hangs
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
