// What the C++ needs that ptx_to_cpp.py writes.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "half.h"
#include "runtime.h"

#if defined(EMULATOR_CHECK_ACCESSES)
#define ACCESS(p, bytes, write, place) ::emulator::access(p, bytes, write, place)
#else
#define ACCESS(p, bytes, write, place) (void)0
#endif

namespace ptx {

using namespace emulator;

template <class T> inline T load(const void* p) {
  T value;
  memcpy(&value, p, sizeof value);
  return value;
}
template <class T> inline void store(void* p, T value) { memcpy(p, &value, sizeof value); }

// ---- integers -----------------------------------------------------------------------------------
inline uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = uint64_t(b) << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned pick = selector >> (4 * i) & 15;
    uint32_t byte = bytes >> (8 * (pick & 7)) & 255;
    if (pick & 8) byte = byte & 128 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}
inline uint32_t logic(uint32_t a, uint32_t b, uint32_t c, unsigned table) {
  uint32_t result = 0;
  for (int i = 0; i < 8; ++i)
    if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return result;
}
template <class T> inline T extract_bits(T a, uint32_t position, uint32_t length) {
  using U = std::make_unsigned_t<T>;
  constexpr unsigned kBits = sizeof(T) * 8;
  position &= 255, length &= 255;
  if (!length) return 0;
  const U shifted = position < kBits ? U(a) >> position : 0;
  const U mask = length < kBits ? (U(1) << length) - 1 : ~U(0);
  const unsigned sign = std::min(position + length - 1, kBits - 1);
  return T(
      (shifted & mask) |
      (std::is_signed_v<T> && (U(a) >> sign & 1) ? ~(position < kBits ? mask & (~U(0) >> position) : U(0)) : U(0)));
}
template <class T> inline T insert_bits(T a, T b, uint32_t position, uint32_t length) {
  constexpr unsigned kBits = sizeof(T) * 8;
  position &= 255, length &= 255;
  if (!length || position >= kBits) return b;
  const T mask = (length >= kBits ? ~T(0) : (T(1) << length) - 1) << position;
  return (b & ~mask) | (a << position & mask);
}
template <class I, class F> inline I saturate(F x) {
  if (x != x) return 0;
  if (x >= F(std::numeric_limits<I>::max())) return std::numeric_limits<I>::max();
  if (x <= F(std::numeric_limits<I>::min())) return std::numeric_limits<I>::min();
  return I(x);
}

// ---- half arithmetic: f in double of one or two values in a word, each rounded once -------------
struct Bf16 {
  static double widen(uint16_t bits) { return from_bf16(bits); }
  static uint16_t narrow(double x) { return to_bf16(x); }
};
struct Fp16 {
  static double widen(uint16_t bits) { return from_fp16(bits); }
  static uint16_t narrow(double x) { return to_fp16(x); }
};
template <class Format, int kValues, class F, class... Words> inline uint32_t half(F f, Words... words) {
  uint32_t result = 0;
  for (int i = 0; i < kValues; ++i)
    result |= uint32_t(Format::narrow(f(Format::widen(uint16_t(uint32_t(words) >> (16 * i)))...))) << (16 * i);
  return result;
}

// ---- synchronisation that a mutation may break: the modes of ptx_to_cpp.py ----------------------
inline int active(const unsigned char* mutation, unsigned site) {
  if (mutation[site]) mutation_reached = true;
  return mutation[site];
}
inline void arrive(int mutation, bool release, bool aligned, const char* place) {
  switch (mutation) {
    case 0: return cluster_arrive(release, aligned, place);
    case 1: return skip_next_cluster_wait();
    case 2: return cluster_arrive(false, aligned, place);
    case 3: skip_next_cluster_wait(); return block_barrier(aligned, place);
  }
}
inline uint32_t map(int mutation, uint32_t address, uint32_t rank) {
  return map_rank(address, mutation == 0 ? rank : mutation == 1 ? 0 : cluster_size());
}

}  // namespace ptx
