// Protects the codec from libraries that change a thread's floating-point environment, such as its rounding direction.
#pragma once
#include <cfenv>

namespace pixelrnn::cpu {

// Gives this thread the default floating-point environment while the object exists: rounding to nearest, subnormal
// numbers, and no traps. The destructor restores the previous environment and its exception flags.
//
// barrier() keeps the compiler from moving arithmetic out of the object's scope, if the arithmetic reads and writes
// memory, as all steps of sampling and coding do.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&previous_);
    std::fesetenv(FE_DFL_ENV);
    barrier();
  }
  ~DefaultFloatEnvironment() {
    barrier();
    std::fesetenv(&previous_);
  }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  static void barrier() { __asm__ volatile("" ::: "memory"); }
  std::fenv_t previous_;
};

}  // namespace pixelrnn::cpu
