// Calls that `g++ -fsanitize=thread` puts before every load and store of a kernel from source. The library that they
// are meant for, ThreadSanitizer, is not linked.
#include <cstddef>

#include "runtime.h"

using emulator::access;

// A compiler may merge accesses beyond their alignment, where the device would not. These come in aligned pieces.
static void unaligned(const void* p, size_t bytes, bool write, const void* place) {
  for (size_t i = 0; i < bytes; i += 2) access(static_cast<const char*>(p) + i, 2, write, place);
}

#define PLACE __builtin_return_address(0)
#define HOOKS(bytes)                                                                \
  void __tsan_read##bytes(void* p) { access(p, bytes, false, PLACE); }              \
  void __tsan_write##bytes(void* p) { access(p, bytes, true, PLACE); }              \
  void __tsan_volatile_read##bytes(void* p) { access(p, bytes, false, PLACE); }     \
  void __tsan_volatile_write##bytes(void* p) { access(p, bytes, true, PLACE); }     \
  void __tsan_unaligned_read##bytes(void* p) { unaligned(p, bytes, false, PLACE); } \
  void __tsan_unaligned_write##bytes(void* p) { unaligned(p, bytes, true, PLACE); }

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void* p, size_t bytes) { unaligned(p, bytes, false, PLACE); }
void __tsan_write_range(void* p, size_t bytes) { unaligned(p, bytes, true, PLACE); }

}  // extern "C"
