// Sets a thread's floating-point environment while it codes or draws. Files must not depend on the environment that
// another library left in the thread.
#pragma once
#include <cfenv>

namespace pixelrnn::cpu {

// Sets the default environment of this thread: rounding to nearest, subnormal numbers kept, no traps. The destructor
// restores the previous environment, exception flags included.
//
// The compiler ignores the environment and could move arithmetic across a change. The two barriers keep in place
// arithmetic that reads from and writes to memory visible to other code, as all steps do. Arithmetic on constants, or
// on numbers loaded earlier, is not protected.
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
