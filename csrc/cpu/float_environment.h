// The floating-point environment of a thread while it codes or draws: files must not depend on the environment that
// another library left there.
#pragma once
#include <cfenv>

namespace pixelrnn::cpu {

// Sets the default environment of this thread: rounding to nearest, subnormal numbers kept, no traps. The destructor
// restores the environment found, exception flags included.
//
// The compiler knows nothing of the environment, and could move arithmetic on registers across a change of it. The two
// barriers prevent this for arithmetic that reads its operands from memory and writes its results there, memory that
// others know of, as all steps do: no such read moves up across a barrier, no such write down. Code that computes
// on constants, or on numbers read before, has no such protection.
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
