#include "gpus.h"

#include <cmath>
#include <cstdlib>
#include <sstream>

namespace fake {
namespace {

// CUDA C++ Programming Guide, technical specifications by compute capability.
int shared_memory_of(int capability) {
  switch (capability) {
    case 70: return 96 << 10;
    case 75: return 64 << 10;
    case 80:
    case 87: return 163 << 10;
    case 86:
    case 89:
    case 120:
    case 121: return 99 << 10;
    default: return 227 << 10;
  }
}

}  // namespace

const std::vector<Gpu>& gpus() {
  static const std::vector<Gpu> all = [] {
    const char* const text = std::getenv("FAKE_GPUS");
    std::istringstream capabilities(text ? text : "9.0");
    std::vector<Gpu> found;
    for (double c; capabilities >> c;) {
      const int capability = int(std::lround(10 * c));
      found.push_back({capability, shared_memory_of(capability)});
    }
    return found;
  }();
  return all;
}

}  // namespace fake
