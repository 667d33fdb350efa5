#include "instruction_set.h"

#include "kernels.h"

namespace pixelrnn::cpu {

int best_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#if defined(PIXELRNN_AVX512_ON_AVX2)
  return 2;
#endif
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return 2;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
  return 0;
}

// One of these in each file tiles/*.cpp.
template <class T> const Kernels<T>& baseline_kernels();
template <class T> const Kernels<T>& avx2_kernels();
template <class T> const Kernels<T>& avx512_kernels();

template <class T> const Kernels<T>& kernels(int level) {
#if defined(__x86_64__)
  if (level == 2) return avx512_kernels<T>();
  if (level == 1) return avx2_kernels<T>();
#endif
  (void)level;
  return baseline_kernels<T>();
}
template const Kernels<float>& kernels<float>(int);
template const Kernels<double>& kernels<double>(int);

}  // namespace pixelrnn::cpu
