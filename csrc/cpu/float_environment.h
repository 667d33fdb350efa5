// Files of the codec must not depend on the floating-point environment that another library left in a thread.
#pragma once
#include <cfenv>

namespace pixelrnn::cpu {

// Sets the default environment of this thread: rounding to nearest, subnormal numbers kept, no traps. The destructor
// restores the previous environment, exception flags included.
//
// The compiler ignores the environment and could move arithmetic across a change. The two barriers prevent this for
// arithmetic on memory visible to other code, as in all steps, but not on constants or numbers loaded earlier.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&found_);
    std::fesetenv(FE_DFL_ENV);
    barrier();
  }
  ~DefaultFloatEnvironment() {
    barrier();
    std::fesetenv(&found_);
  }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  static void barrier() { __asm__ volatile("" ::: "memory"); }
  std::fenv_t found_;
};

}  // namespace pixelrnn::cpu
