// Memory for vectors, and the division of work into shares.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "pages.h"

namespace pixelrnn::cpu {

struct Free {
  size_t kept = 0;  // bytes of memory that is kept (pages.h), or 0: of malloc's
  void operator()(void* p) const { kept ? Pages::shared().give({p, kept}) : free(p); }
};
template <class T> using Buffer = std::unique_ptr<T[], Free>;
template <class T> Buffer<T> buffer(int64_t n) {
  const size_t bytes = (n * sizeof(T) + 127) / 64 * 64;
  const Block block = bytes < Pages::kLeast ? Block{aligned_alloc(64, bytes), 0} : Pages::shared().take(bytes);
  if (!block.data) throw std::bad_alloc();
  return Buffer<T>(static_cast<T*>(block.data), Free{block.bytes});
}

// Share i of n things begins here, and ends where the next one begins.
inline int64_t share(int64_t n, int64_t i, int64_t shares) { return n * i / shares; }

}  // namespace pixelrnn::cpu
