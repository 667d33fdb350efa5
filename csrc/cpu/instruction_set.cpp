#include "instruction_set.h"

#include "kernels.h"

namespace pixelrnn::cpu {

int best_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#if defined(PIXELRNN_AVX512_ON_AVX2)
  const bool avx512 = avx2;
#else
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
  return avx512 ? 2 : avx2 ? 1 : 0;
#elif defined(__aarch64__)
  return 1;
#else
  return 0;
#endif
}

const char* instruction_set_name(int level) {
#if defined(__aarch64__)
  constexpr const char* names[] = {"baseline", "neon"};
#else
  constexpr const char* names[] = {"baseline", "avx2", "avx512"};
#endif
  return names[level];
}

// One of these in each file tiles/*.cpp.
template <class T> const Kernels<T>& baseline_kernels();
template <class T> const Kernels<T>& avx2_kernels();
template <class T> const Kernels<T>& avx512_kernels();
template <class T> const Kernels<T>& neon_kernels();

template <class T> const Kernels<T>& kernels(int level) {
#if defined(__x86_64__)
  if (level == 2) return avx512_kernels<T>();
  if (level == 1) return avx2_kernels<T>();
#elif defined(__aarch64__)
  if (level == 1) return neon_kernels<T>();
#endif
  (void)level;
  return baseline_kernels<T>();
}
template const Kernels<float>& kernels<float>(int);
template const Kernels<double>& kernels<double>(int);

}  // namespace pixelrnn::cpu
