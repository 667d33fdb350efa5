// Packs the weights before each scan, in the order in which threads load them (weight_source() in tiling.h). A warp
// packs 32 pieces of 16 bytes at a time, of some weight rows (a tile) and some values of each (a step):
//   tensor core: 16 rows, 32 bytes of each row; lane i packs the piece that lane i of the scan loads
//   FMA:         32 rows, 4 values of each row; a piece has one value of each of 4 rows
#pragma once
#include "format.cuh"

namespace pixelrnn::cuda {

template <Format F, bool BACKWARD, int G> PIXELRNN_DEVICE void pack_pass(const PackArgs& a) {
  using T = Traits<F>;
  using Value = typename T::Value;
  constexpr int kRegister = 4 / sizeof(Value);
  Tiling s = a.tiling;
  // These assignments repeat values that `s` already has. They make the values known to the compiler, which then
  // replaces divisions by shifts.
  s.format = F, s.backward = BACKWARD, s.gates = G;
  const PackSize size(s);
  const int lane = threadIdx.x & 31, warps = blockDim.x / 32, tile = blockIdx.y;
  const int z = blockIdx.z, direction = (z >= s.blocks) + (z >= 2 * s.blocks) + (z >= 3 * s.blocks),
            rank = z - direction * s.blocks;
  const Value* const from =
      static_cast<const Value*>(a.weight) + direction * (int64_t(s.taps) * s.hidden * G * s.hidden);
  struct alignas(16) Piece { Value v[4 * kRegister]; };
  Piece* const packed = static_cast<Piece*>(a.packed) + int64_t(blockIdx.z) * (s.weight_bytes() / 16);

#pragma unroll 1
  for (int step = blockIdx.x * warps + threadIdx.x / 32; step < size.steps; step += gridDim.x * warps) {
    int tap = 0, first = step * size.step_values;
    for (; first >= s.tap_width(); first -= s.tap_width()) ++tap;
    Piece piece;
#pragma unroll
    for (int n = 0; n < 4 * kRegister; ++n) {
      int row, value;
      if constexpr (T::kFma) {
        row = lane % 8 * 4 + n, value = lane / 8;
      } else {
        const int reg = n / kRegister, half = n % kRegister;
        row = lane / 4 + 8 * (reg & 1),
        value = (reg >> 1) * (kStepBytes / 2 / int(sizeof(Value))) + lane % 4 * kRegister + half;
      }
      const int source = weight_at(s, rank, tile * size.tile_rows + row, tap, first + value);
      const Value weight = from[max(source, 0)];  // no branch, so that the loads overlap
      piece.v[n] = source < 0 ? T::narrow(0.0f) : T::round_operand(weight);
    }
    packed[T::kFma ? (step * 4 + lane / 8) * (s.matrix_rows() / 4) + tile * 8 + lane % 8
                   : (tile * size.steps + step) * 32 + lane] = piece;
  }
}
template <Format F, int G> PIXELRNN_DEVICE void pack(const PackArgs& a) {
  if (a.tiling.backward) pack_pass<F, true, G>(a);
  else pack_pass<F, false, G>(a);
}

}  // namespace pixelrnn::cuda
