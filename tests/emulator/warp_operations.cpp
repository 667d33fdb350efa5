// Collectives of a warp: shuffles, votes and matrix products.
#include <bit>
#include <cstring>

#include "numbers.h"
#include "runtime.h"

namespace emulator {

constexpr unsigned kAll = 0xffffffff;

template <class T> static T get(const LaneData& lane) {
  static_assert(sizeof(T) <= sizeof lane.bytes);
  T value;
  memcpy(&value, lane.bytes, sizeof value);
  return value;
}
template <class T> static void put(LaneData& lane, const T& value) { memcpy(lane.bytes, &value, sizeof value); }

struct ShuffleIn {
  uint32_t value, by, clamp;
  Shuffle mode;
};
struct ShuffleOut {
  uint32_t value;
  bool in_range;
};
static void combine_shuffle(const LaneData* in, LaneData* out, unsigned mask) {
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    const auto s = get<ShuffleIn>(in[i]);
    const int by = s.by & 31, segment = s.clamp >> 8 & 31;
    const int first = i & segment, last = first | (int(s.clamp & 31) & ~segment);
    int from = 0;
    switch (s.mode) {
      case Shuffle::index: from = first | (by & ~segment); break;
      case Shuffle::up: from = i - by; break;
      case Shuffle::down: from = i + by; break;
      case Shuffle::butterfly: from = i ^ by; break;
    }
    const bool in_range = s.mode == Shuffle::up ? from >= last : from <= last;
    if (!in_range) from = i;
    if (!(mask >> from & 1))
      fail(Kind::divergence, "a shuffle reads lane ", from, ", which the mask lacks: the value is undefined");
    put(out[i], ShuffleOut{get<ShuffleIn>(in[from]).value, in_range});
  }
}
uint32_t shuffle(
    Shuffle mode, uint32_t value, uint32_t by, uint32_t clamp, unsigned mask, bool* in_range, Place place) {
  const ShuffleIn in{value, by, clamp, mode};
  ShuffleOut out{};
  warp_collective(combine_shuffle, &in, sizeof in, &out, sizeof out, mask, false, place);
  if (in_range) *in_range = out.in_range;
  return out.value;
}

static void combine_vote(const LaneData* in, LaneData* out, unsigned mask) {
  bool all = true;
  for (int i = 0; i < 32; ++i) all = all && (!(mask >> i & 1) || get<bool>(in[i]));
  for (int i = 0; i < 32; ++i) put(out[i], all);
}
bool vote_all(bool mine, unsigned mask, Place place) {
  bool all = false;
  warp_collective(combine_vote, &mine, sizeof mine, &all, sizeof all, mask, false, place);
  return all;
}

struct RowOfMatrices {
  const Byte* row;
  int count;
};
static void combine_rows(const LaneData* in, LaneData* out, unsigned) {
  for (int i = 0; i < 32; ++i) {
    uint32_t registers[4] = {};
    for (int m = 0; m < get<RowOfMatrices>(in[i]).count; ++m)
      memcpy(&registers[m], get<RowOfMatrices>(in[8 * m + i / 4]).row + 4 * (i % 4), 4);
    put(out[i], registers);
  }
}
void load_matrices(int count, uint32_t* d, const Byte* row, Place place) {
  if (int(lane()) < 8 * count) access(row, 16, false, place);
  const RowOfMatrices in{row, count};
  warp_collective(combine_rows, &in, sizeof in, d, count * sizeof *d, kAll, false, place);
}

// A lane's registers of an mma, where q = lane / 4 and p = lane % 4. a's columns and b's rows form groups of 4 (tf32)
// or 8 (16-bit formats). a[i] is in row q + 8 (i % 2) and column group i / 2. b[i] is in column q and row group i. Both
// hold value p of the group (tf32), or values 2p and 2p + 1. c[i] is in row q + 8 (i / 2) and column 2p + i % 2.
struct MatrixIn {
  uint32_t a[4], b[2];
  float c[4];
};
template <MatrixFormat F> static float matrix_value(uint32_t bits, int half) {
  if constexpr (F == MatrixFormat::tf32) {
    if (bits & 0x1fff)
      fail(Kind::bad_use, "an operand of mma was not rounded to tf32: the tensor core would drop 13 bits");
    return std::bit_cast<float>(bits);
  } else {
    const uint16_t value = uint16_t(bits >> (16 * half));
    return F == MatrixFormat::bf16 ? from_bf16(value) : from_fp16(value);
  }
}
template <MatrixFormat F> static void combine_matrices(const LaneData* in, LaneData* out, unsigned) {
  constexpr int kHalves = F == MatrixFormat::tf32 ? 1 : 2, kGroup = 4 * kHalves, kDepth = 2 * kGroup;
  float a[16][kDepth], b[kDepth][8], c[16][8];
  for (int l = 0; l < 32; ++l) {
    const auto x = get<MatrixIn>(in[l]);
    const int q = l / 4, p = l % 4;
    for (int half = 0; half < kHalves; ++half) {
      const int value = kHalves * p + half;
      for (int i = 0; i < 4; ++i) a[q + 8 * (i % 2)][kGroup * (i / 2) + value] = matrix_value<F>(x.a[i], half);
      for (int i = 0; i < 2; ++i) b[kGroup * i + value][q] = matrix_value<F>(x.b[i], half);
    }
    for (int i = 0; i < 4; ++i) c[q + 8 * (i / 2)][2 * p + i % 2] = x.c[i];
  }
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < kDepth; ++k)
      for (int column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
  for (int l = 0; l < 32; ++l) {
    float d[4];
    for (int i = 0; i < 4; ++i) d[i] = c[l / 4 + 8 * (i / 2)][2 * (l % 4) + i % 2];
    put(out[l], d);
  }
}
void multiply_matrices(MatrixFormat format, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
    const float (&c)[4], Place place) {
  const MatrixIn in{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {c[0], c[1], c[2], c[3]}};
  const Combine combine = format == MatrixFormat::bf16   ? combine_matrices<MatrixFormat::bf16>
                          : format == MatrixFormat::fp16 ? combine_matrices<MatrixFormat::fp16>
                                                         : combine_matrices<MatrixFormat::tf32>;
  warp_collective(combine, &in, sizeof in, d, sizeof d, kAll, false, place);
}

uint32_t round_to_tf32(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const bool finite = (bits & 0x7f800000) != 0x7f800000;
  return (finite ? bits + 0x1000 : bits) & 0xffffe000;  // to nearest, ties away from zero
}

}  // namespace emulator
