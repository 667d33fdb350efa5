#include "kernels.h"
#if defined(PIXELRNN_HAS_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#endif

namespace pixelrnn::cpu {
namespace {

#if defined(__x86_64__)
// Returns the best level without AMX.
int best_vectors() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#if defined(PIXELRNN_AVX512_ON_AVX2)
  const bool avx512 = avx2, bf16 = false;
#else
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
#endif
  return avx512 ? 2 + bf16 : avx2 ? 1 : 0;
}

// Returns the level that is fastest without AMX. VDPBF16PS multiplies twice as many numbers as the instructions for
// float32 on AMD's processors, but half as many on Intel's. So bfloat16 is converted to float32 on Intel's.
int default_vectors() {
  const int best = best_vectors();
  return best == 3 && !__builtin_cpu_is("amd") ? 2 : best;
}
#endif

#if defined(PIXELRNN_HAS_AMX) && defined(PIXELRNN_EMULATED_AMX)
const char* why_amx_is_missing() { return best_vectors() > 0 ? nullptr : "this processor has no AVX2"; }
bool is_permitted() { return true; }
std::string refusal() { return ""; }
#elif defined(PIXELRNN_HAS_AMX)
// Linux has the state of the tile registers from 5.16 on. A process asks for the permission to use them.
constexpr long kSupported = 0x1021, kRequest = 0x1023, kTileData = 18;  // ARCH_GET_XCOMP_SUPP, ARCH_REQ_XCOMP_PERM

const char* why_amx_is_missing() {
  constexpr unsigned kTilesAndBf16 = 1u << 24 | 1u << 22;
  unsigned a, b, c, d;
  if (best_vectors() < 3 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTilesAndBf16) != kTilesAndBf16)
    return "this processor has no AMX for bfloat16";
  uint64_t supported = 0;
  if (syscall(SYS_arch_prctl, kSupported, &supported) != 0 || !(supported >> kTileData & 1))
    return "this system does not support AMX, which needs Linux 5.16 or later";
  return nullptr;
}

std::atomic<int> refused{0};  // errno of the request

bool is_permitted() {
  static const bool permitted = [] {
    if (syscall(SYS_arch_prctl, kRequest, kTileData) == 0) return true;
    refused = errno;
    return false;
  }();
  return permitted;
}
std::string refusal() {
  const int error = refused;
  if (!error) return "";
  return std::string("Linux refused AMX to this process (") + strerror(error) +
         (error == ENOSPC ? "; a thread has an alternate signal stack too small for the tile registers)" : ")");
}
#endif

}  // namespace

#if defined(PIXELRNN_HAS_AMX)
static bool has_amx() {
  static const bool has = !why_amx_is_missing();
  return has;
}
int best_instruction_set() { return has_amx() ? kAmx : best_vectors(); }
int default_instruction_set() { return has_amx() ? kAmx : default_vectors(); }
int bfloat16_level(int level) { return level == kAmx && !is_permitted() ? default_vectors() : level; }
std::string why_no_amx() { return has_amx() ? refusal() : why_amx_is_missing(); }
#else
#if defined(__x86_64__)
int best_instruction_set() { return best_vectors(); }
int default_instruction_set() { return default_vectors(); }
#elif defined(__aarch64__)
int best_instruction_set() { return 1; }
int default_instruction_set() { return 1; }
#else
int best_instruction_set() { return 0; }
int default_instruction_set() { return 0; }
#endif
int bfloat16_level(int level) { return level; }
std::string why_no_amx() {
  return "this build has no kernels for AMX, which need x86-64, Linux, and GCC 11 or Clang 12";
}
#endif

const char* instruction_set_name(int level) {
#if defined(__aarch64__)
  constexpr const char* names[] = {"baseline", "neon"};
#else
  constexpr const char* names[] = {"baseline", "avx2", "avx512", "avx512_bf16", "amx_bf16"};
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
TABLE(amx_bf16)
TABLE(neon)
#undef TABLE

template <class T> const Kernels<T>& kernels(int level) {
#if defined(__x86_64__)
  if constexpr (std::is_same_v<T, Bf16>) {
    [[maybe_unused]] const int used = bfloat16_level(level);
#if defined(PIXELRNN_HAS_AMX)
    if (used == kAmx) return amx_bf16::table<T>();
#endif
    if (used == 3 && best_vectors() == 3) return avx512_bf16::table<T>();
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
