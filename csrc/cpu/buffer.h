// Memory for vectors, and the division of work into shares.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace pixelrnn::cpu {

struct Free {
  void operator()(void* p) const { free(p); }
};
template <class T> using Buffer = std::unique_ptr<T[], Free>;
template <class T> Buffer<T> buffer(int64_t n) {
  void* p = aligned_alloc(64, (n * sizeof(T) + 127) / 64 * 64);
  if (!p) throw std::bad_alloc();
  return Buffer<T>(static_cast<T*>(p));
}

// Share i of n things begins here, and ends where the next one begins.
inline int64_t share(int64_t n, int64_t i, int64_t shares) { return n * i / shares; }

}  // namespace pixelrnn::cpu
