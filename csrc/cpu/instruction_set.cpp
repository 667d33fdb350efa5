#include "kernels.h"

namespace pixelrnn::cpu {

int best_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#if defined(PIXELRNN_AVX512_ON_AVX2)
  const bool avx512 = avx2, bf16 = false;
#else
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool bf16 = __builtin_cpu_supports("avx512bf16");
#endif
  return avx512 ? 2 + bf16 : avx2 ? 1 : 0;
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
  constexpr const char* names[] = {"baseline", "avx2", "avx512", "avx512_bf16"};
#endif
  return names[level];
}

// table() returns the kernels of one instruction set. A source file in tiles/ defines table() for each instruction set.
#define TABLE(isa)                              \
  namespace isa {                               \
  template <class T> const Kernels<T>& table(); \
  }
TABLE(baseline)
TABLE(avx2)
TABLE(avx512)
TABLE(avx512_bf16)
TABLE(neon)
#undef TABLE

template <class T> const Kernels<T>& kernels(int level) {
#if defined(__x86_64__)
  if constexpr (std::is_same_v<T, Bf16>) {
    if (multiplies_bfloat16(level)) return avx512_bf16::table<T>();
  } else {
    if (level >= 2) return avx512::table<T>();
    if (level == 1) return avx2::table<T>();
  }
#elif defined(__aarch64__)
  if constexpr (!std::is_same_v<T, Bf16>)
    if (level == 1) return neon::table<T>();
#endif
  (void)level;
  return baseline::table<T>();
}
template const Kernels<float>& kernels<float>(int);
template const Kernels<double>& kernels<double>(int);
template const Kernels<Bf16>& kernels<Bf16>(int);

}  // namespace pixelrnn::cpu
