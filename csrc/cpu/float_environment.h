// Files of the codec must not depend on the floating-point environment that another library left in a thread.
#pragma once
#include <cfenv>

namespace pixelrnn::cpu {

// Gives this thread the default floating-point environment: rounding to nearest, subnormal numbers, no traps. The
// destructor restores the previous environment with its exception flags.
//
// The compiler could move arithmetic across the change. The barriers prevent this for arithmetic on memory that other
// code can see, as in all steps, but not on constants or numbers loaded earlier.
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
