// The source front end: CUDA C++ and the project's primitives, for kernels that g++ compiles. toolchain.py puts it
// before everything else of a .cu file, and csrc/cuda/primitives.cuh includes it in place of its inline PTX.
#pragma once
#include <cuda_runtime.h>
// Before the names below are taken away from the toolkit's headers.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>
#include <string.h>

#include <algorithm>
#include <bit>
#include <source_location>
#include <type_traits>

#include "runtime.h"

// ---- CUDA C++ -----------------------------------------------------------------------------------
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__
#undef __shared__
#define __shared__ shared_memory_comes_from_dynamic_shared_only
#define threadIdx (::emulator::thread_index())
#define blockIdx (::emulator::block_index())
#define blockDim (::emulator::block_size())
#define gridDim (::emulator::grid_size())
#define warpSize 32

namespace emulator {

// As a default argument, the place of the call.
struct Caller {
  const char* text;
  Caller(std::source_location l) : text(text_of_place(l.file_name(), l.line())) {}
};

template <class T> T shuffle_value(Shuffle mode, unsigned mask, T value, int by, int width, const char* place) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) < 4 || sizeof(T) % 4 == 0));
  uint32_t words[(sizeof(T) + 3) / 4] = {};
  memcpy(words, &value, sizeof value);
  const uint32_t clamp = uint32_t(32 - width) << 8 | (mode == Shuffle::up ? 0 : 31);
  for (uint32_t& word : words) word = shuffle(mode, word, uint32_t(by), clamp, mask, nullptr, place);
  memcpy(&value, words, sizeof value);
  return value;
}

}  // namespace emulator

using emulator::Caller;
using emulator::Shuffle;
using emulator::shuffle_value;

inline void __syncthreads(Caller at = std::source_location::current()) { emulator::block_barrier(true, at.text); }
inline void __syncwarp(unsigned mask = 0xffffffff, Caller at = std::source_location::current()) {
  emulator::warp_barrier(mask, at.text);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, int by, int width = 32, Caller at = std::source_location::current()) {
  return shuffle_value(Shuffle::down, mask, v, by, width, at.text);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, Caller at = std::source_location::current()) {
  return shuffle_value(Shuffle::butterfly, mask, v, bits, width, at.text);
}
[[noreturn]] inline void __trap() { emulator::fail(emulator::Kind::bad_use, "trap"); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
using std::max;
using std::min;

// ---- csrc/cuda/primitives.cuh -------------------------------------------------------------------
namespace pixelrnn::cuda::primitive {

using emulator::cluster_rank;
using emulator::dynamic_shared;
using emulator::map_rank;
using emulator::MatrixFormat;

inline uint32_t shared_address(const void* p) {
  const ptrdiff_t offset = static_cast<const unsigned char*>(p) - emulator::shared_window();
  if (offset < 0 || offset >= 1 << 24) emulator::fail(emulator::Kind::bad_use, "not in the block's shared memory");
  return uint32_t(offset);
}
inline void cluster_arrive(Caller at = std::source_location::current()) {
  emulator::cluster_arrive(true, true, at.text);
}
inline void cluster_wait(Caller at = std::source_location::current()) { emulator::cluster_wait(true, at.text); }
inline void store16(uint32_t address, uint4 v) { *reinterpret_cast<uint4*>(emulator::own_shared(address)) = v; }
inline void store_peer16(uint32_t address, uint4 v) {
  *reinterpret_cast<uint4*>(emulator::cluster_shared(address)) = v;
}

inline void load_matrix4(uint32_t (&r)[4], uint32_t address, Caller at = std::source_location::current()) {
  emulator::load_matrices(4, r, emulator::own_shared(address), at.text);
}
inline void multiply(MatrixFormat format, float (&d)[4], uint4 a, uint32_t b0, uint32_t b1, Caller at) {
  const float c[4] = {d[0], d[1], d[2], d[3]};
  emulator::multiply_matrices(format, d, {a.x, a.y, a.z, a.w}, {b0, b1}, c, at.text);
}
inline void mma_bf16(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1, Caller at = std::source_location::current()) {
  multiply(MatrixFormat::bf16, d, a, b0, b1, at);
}
inline void mma_fp16(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1, Caller at = std::source_location::current()) {
  multiply(MatrixFormat::fp16, d, a, b0, b1, at);
}
inline void mma_tf32(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1, Caller at = std::source_location::current()) {
  multiply(MatrixFormat::tf32, d, a, b0, b1, at);
}
inline float round_tf32(float x) { return std::bit_cast<float>(emulator::round_to_tf32(x)); }

}  // namespace pixelrnn::cuda::primitive
