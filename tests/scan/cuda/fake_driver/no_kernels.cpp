// Replaces the emulator's kernels in tests of host code. A launch does nothing.
#include "runtime.h"

namespace emulator {

std::deque<Translated>& translated_kernels() {
  static std::deque<Translated> none;
  return none;
}
std::vector<Buffer> buffers_of(const std::string&, const void*, dim3) { return {}; }
void launch(const Launch&, Entry, const void*, size_t, std::vector<Buffer>) {}

}  // namespace emulator
