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

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#if defined(PIXELRNN_AVX512_ON_AVX2)
bool has_avx512() { return has_avx2(); }
bool has_avx512_bf16() { return false; }
#else
bool has_avx512() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif
// VDPBF16PS multiplies twice as many numbers as the instructions for float32 on AMD's processors, but half as many on
// Intel's. So bfloat16 is converted to float32 on Intel's.
bool is_amd() { return __builtin_cpu_is("amd"); }
#endif

#if defined(PIXELRNN_HAS_AMX) && defined(PIXELRNN_EMULATED_AMX)
const char* why_amx_is_missing() { return has_avx2() ? nullptr : "this processor has no AVX2"; }
bool is_permitted() { return true; }
std::string refusal() { return ""; }
#elif defined(PIXELRNN_HAS_AMX)
// Linux has the state of the tile registers from 5.16 on. A process asks for the permission to use them.
constexpr long kSupported = 0x1021, kRequest = 0x1023, kTileData = 18;  // ARCH_GET_XCOMP_SUPP, ARCH_REQ_XCOMP_PERM

const char* why_amx_is_missing() {
  constexpr unsigned kTilesAndBf16 = 1u << 24 | 1u << 22;
  unsigned a, b, c, d;
  if (!has_avx512_bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTilesAndBf16) != kTilesAndBf16)
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

#if defined(PIXELRNN_HAS_AMX)
bool has_amx() {
  static const bool has = !why_amx_is_missing();
  return has;
}
#define AMX_ROW(ROW) ROW(amx_bf16, kBf16, has_amx, always)
#else
#define AMX_ROW(ROW)
#endif

// The number formats for which an instruction set has kernels of its own. kFloats stands for float32 and float64.
enum Formats { kFloats = 1, kBf16 = 2, kAll = 3 };

// The instruction sets. The position of a row is the level of its set, and a processor that has a set has all sets of
// lower levels. A row contains:
//  - the name of the set, of its file in tiles/, and of the namespace in this file
//  - the formats
//  - whether this processor has the set
//  - whether the set is then faster than lower levels
#if defined(__x86_64__)
#define INSTRUCTION_SETS(ROW)                      \
  ROW(baseline, kAll, always, always)              \
  ROW(avx2, kFloats, has_avx2, always)             \
  ROW(avx512, kFloats, has_avx512, always)         \
  ROW(avx512_bf16, kBf16, has_avx512_bf16, is_amd) \
  AMX_ROW(ROW)
#elif defined(__aarch64__)
#define INSTRUCTION_SETS(ROW)         \
  ROW(baseline, kAll, always, always) \
  ROW(neon, kFloats, always, always)
#else
#define INSTRUCTION_SETS(ROW) ROW(baseline, kAll, always, always)
#endif

struct InstructionSet {
  const char* name;
  Formats formats;
  bool (*is_available)(), (*is_faster)();
};
#define LEVEL(name, ...) name##_level,
enum : int { INSTRUCTION_SETS(LEVEL) kLevels };
#define SET(name, ...) {#name, __VA_ARGS__},
constexpr InstructionSet kSets[] = {INSTRUCTION_SETS(SET)};
template <class T> constexpr Formats kFormat = std::is_same_v<T, Bf16> ? kBf16 : kFloats;

// Returns the fastest level up to `level` on this processor.
int fastest(int level) {
  while (!kSets[level].is_available() || !kSets[level].is_faster()) --level;
  return level;
}

}  // namespace

const char* instruction_set_name(int level) { return kSets[level].name; }
int best_instruction_set() {
  int level = kLevels - 1;
  while (!kSets[level].is_available()) --level;
  return level;
}
int default_instruction_set() { return fastest(kLevels - 1); }
template <class T> bool has_own_kernels(int level) { return kSets[level].formats & kFormat<T>; }

#if defined(PIXELRNN_HAS_AMX)
int bfloat16_level(int level) {
  return level == amx_bf16_level && !is_permitted() ? fastest(amx_bf16_level - 1) : level;
}
std::string why_no_amx() { return has_amx() ? refusal() : why_amx_is_missing(); }
#else
int bfloat16_level(int level) { return level; }
std::string why_no_amx() {
  return "this build has no kernels for AMX, which need x86-64, Linux, and GCC 11 or Clang 12";
}
#endif

// table() returns the kernels of one instruction set. A source file in tiles/ defines table() for each instruction set.
#define TABLE(name, ...)                        \
  namespace name {                              \
  template <class T> const Kernels<T>& table(); \
  }
INSTRUCTION_SETS(TABLE)

template <class T> const Kernels<T>& kernels(int level) {
  if (kFormat<T> == kBf16) level = bfloat16_level(level);
  const Kernels<T>* found = nullptr;
#define SELECT(name, formats, is_available, ...) \
  if constexpr (bool(formats & kFormat<T>))      \
    if (name##_level <= level && is_available()) found = &name::table<T>();
  INSTRUCTION_SETS(SELECT)
  return *found;
}
#define INSTANTIATE(T)                   \
  template bool has_own_kernels<T>(int); \
  template const Kernels<T>& kernels<T>(int);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(Bf16)

}  // namespace pixelrnn::cpu
