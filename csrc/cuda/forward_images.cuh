// The forward scan of several images that share a cluster. In the turn of image k a warp multiplies the line of image
// k, stores the results of image k - 2, and computes and pushes the cells of image k - 1. Before the first image comes
// the last one, on the line before. docs/kernels.md explains the protocol ("Forward of several images").
#pragma once
#include "forward.cuh"

namespace pixelrnn::cuda {

// Like Pushes, but to every block of the cluster, the own block too. The lanes have to meet between load and push.
template <class Value> class PushesToAll {
 public:
  static constexpr int kTileBytes = kImageBlocks * Pushes<Value>::kTileBytes;

  PIXELRNN_DEVICE PushesToAll(const TilingOf<4>& s, const Place& at, unsigned char* lines, uint32_t barriers)
      : source_(lines + (kTileCells * at.group + at.lane % 8 + s.border()) * s.stride() +
                (at.rank * s.units + at.slice * 8) * int(sizeof(Value)) + at.lane / 8 % kPieces * 16) {
    const uint32_t here = primitive::shared_address(source_);
    to_barriers_ = barriers - here;
#pragma unroll
    for (int k = 0; k < kRounds; ++k) to_[k] = primitive::map_rank(here, at.lane / (8 * kPieces) + k * kAtOnce);
  }
  PIXELRNN_DEVICE uint4 load(int offset) const { return *reinterpret_cast<const uint4*>(source_ + offset); }
  PIXELRNN_DEVICE void push(uint4 piece, int offset, int barrier) const {
#pragma unroll
    for (int k = 0; k < kRounds; ++k)
      primitive::store_peer16_async(true, to_[k] + offset, piece, to_[k] + to_barriers_ + barrier);
  }

 private:
  static constexpr int kPieces = 8 * sizeof(Value) / 16, kAtOnce = 32 / (8 * kPieces), kRounds = kImageBlocks / kAtOnce;
  const unsigned char* source_;
  uint32_t to_[kRounds];
  uint32_t to_barriers_;
};

// Computes the forward scan of kImages images in a cluster, with at most PAIRS pairs of weights, in registers.
template <Format F, int PAIRS> PIXELRNN_DEVICE void scan_forward_images(const ForwardArgs& a) {
  static_assert(kImages == 4, "two pairs");
  using T = Traits<F>;
  using Value = typename T::Value;
  using Four = typename T::Four;
  using Product = RegisterProduct<F, 2, PAIRS>;

  const TilingOf<4>& s = a.tiling;
  const Place at(s, a.images, a.pixels);
  const Geometry g = a.geometry[at.direction];
  const int unit = at.rank * s.units + at.slice * 8 + at.q;
  const int hidden = s.hidden, stride = s.stride();
  const int line_bytes = primitive::in_register(s.line_bytes()), image_bytes = 2 * line_bytes;
  // Shared memory: lines [image][buffer][row], barriers [pair of images][buffer].
  unsigned char* const lines = primitive::dynamic_shared();
  const uint32_t barriers = primitive::shared_address(lines) + s.lines_bytes();
  const uint4* const packed =
      static_cast<const uint4*>(a.packed) + int64_t(at.direction * s.blocks + at.rank) * (s.weight_bytes() / 16);

  fill_lines<F>(s, at, a.h0, lines);
  const Product weights(s, packed, at.slice, at.lane);
  const ForwardMaps<F> maps(a, at, unit, true);

  // The first active lines of this thread's two cells, and the lines on which any cell of the tile is active.
  const ActiveLines active(g);
  const int tile = kTileCells * at.group, cell = tile + 2 * at.p;
  const int begins[2] = {primitive::in_register(active.begin(cell)), primitive::in_register(active.begin(cell + 1))};
  const int tile_begin = primitive::in_register(active.begin(tile));
  const int tile_end = primitive::in_register(active.begin(min(tile + kTileCells, g.cells) - 1) + active.lines);
  const int to_cell = primitive::in_register(g.cell * hidden), to_line = primitive::in_register(g.step * hidden);
  int to_image[kImages];
  // In place of images that the last cluster lacks, it computes its first image again and stores the same values.
#pragma unroll
  for (int k = 0; k < kImages; ++k) to_image[k] = at.image + k < a.images ? k * a.pixels * hidden : 0;

  unsigned char* const own_row = lines + (cell + s.border()) * stride + unit * int(sizeof(Value));
  const PushesToAll<Value> pushes(s, at, lines, barriers);

  float c[kImages][2];
  const float c0 = a.c0 ? T::widen(static_cast<const Value*>(a.c0)[at.direction * hidden + unit]) : 0.0f;
#pragma unroll
  for (int k = 0; k < kImages; ++k) c[k][0] = c[k][1] = c0;

  const bool arrives = at.lane == 0;
  if (at.thread < s.barrier_bytes() / 8) primitive::transfer_barrier_init(barriers + 8 * at.thread, blockDim.x / 32);
  primitive::cluster_arrive();
  primitive::cluster_wait();  // the lines are filled, and every peer has started

  int t = 0, current = 0;  // the line, and the byte offset of the buffer that it reads
  // Arrives for a pair of images when this warp has written and pushed line `of`, and its lanes have met.
  auto arrive = [&](int pair, int of, int tiles) {
    if (arrives)
      primitive::transfer_arrive(barriers + 16 * pair + (of & 1 ? 0 : 8), tiles * PushesToAll<Value>::kTileBytes);
  };
  // Waits until the line that line `of` reads is complete in a pair of images.
  auto wait = [&](int pair, int of) {
    primitive::transfer_wait_of_warp(barriers + 16 * pair + (of & 1 ? 8 : 0), of >> 1 & 1);
  };

  // A warp without active cells waits for the first pair alone. docs/kernels.md explains why that is enough.
  arrive(0, -1, 0);  // no bytes come before line 0
  for (; __all_sync(~0u, t < tile_begin); ++t) {
    __syncwarp();
    arrive(1, t - 1, 0);
    arrive(0, t, 0);
    wait(0, t + 1);
  }
  current = t & 1 ? line_bytes : 0;

  // The index of this thread's first cell in the first image's maps, on this line and on the line before.
  int offset = g.pixel(t, cell) * hidden, before = offset - to_line;
  Four x[kImages][2] = {};
  auto load_x = [&](int k, int t, int line_offset) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (active.since(t, begins[j])) x[k][j] = maps.x[line_offset + to_image[k] + j * to_cell];
  };
#pragma unroll
  for (int k = 0; k < kImages; ++k) load_x(k, t, offset);

  // Returns the address of the first row that the tile reads of image k.
  auto line_of = [&](int k, int buffer) {
    return primitive::shared_address(lines) + k * image_bytes + buffer + tile * stride;
  };
  // The first operands of the next image, and the sums of the image before, [gate][cell].
  typename Product::Cells cells = weights.first_cells(line_of(0, current));
  float sums[4][2] = {};
  CellResult<F> results[2];
  auto compute = [&](int k, int t) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float next =
          results[j].compute(CellResult<F>::activated(sums[0][j], sums[1][j], sums[2][j], sums[3][j]), c[k][j]);
      if (active.since(t, begins[j])) c[k][j] = next;
    }
  };
  auto store = [&](int k, int t, int line_offset) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (active.since(t, begins[j])) results[j].store(maps, line_offset + to_image[k] + j * to_cell, c[k][j]);
  };
  auto push = [&](int k, int t, int buffer, int tiles) {
    const int rows = buffer + k * image_bytes;
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (active.since(t, begins[j]))
        *reinterpret_cast<Value*>(own_row + rows + j * stride) = T::line_value(results[j].h);
    __syncwarp();
    const uint4 piece = pushes.load(rows);
    __syncwarp();
    pushes.push(piece, rows, (t & 1 ? 0 : 8) + k / 2 * 16);
    if (k % 2) arrive(k / 2, t, tiles);
  };

  do {
    const int following = line_bytes - current;
#pragma unroll
    for (int k = 0; k < kImages; ++k) {
      // The image before image k, the image before that, and their lines.
      const int last = (k + kImages - 1) % kImages, last_t = k > 0 ? t : t - 1;
      const int stored = (k + kImages - 2) % kImages, stored_t = k > 1 ? t : t - 1;
      float z[4][2];  // [gate][cell]: x, then the sum
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float4 in = T::widen(x[k][j]);
        z[0][j] = in.x, z[1][j] = in.y, z[2][j] = in.z, z[3][j] = in.w;
      }
      weights(z, line_of(k, current), cells, weights.early(), [&](int pair) {
        if (pair == 1)
          load_x(k, t + 1, offset + to_line), store(stored, stored_t, k > 1 ? offset : before), compute(last, last_t);
      });
      // On its first line a tile has pushed only the last image of the second pair, whose rows still hold h0.
      push(last, last_t, k ? following : current, k || t > tile_begin ? 2 : 1);
      if (k % 2) wait((k / 2 + 1) % 2, k + 1 < kImages ? t : t + 1);
      cells = weights.first_cells(line_of((k + 1) % kImages, k + 1 < kImages ? current : following));
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[i][0] = z[i][0], sums[i][1] = z[i][1];
    }
    current = following, before = offset, offset += to_line, ++t;
  } while (__all_sync(~0u, t < tile_end));

  store(kImages - 2, t - 1, before);
  compute(kImages - 1, t - 1);
  store(kImages - 1, t - 1, before);
  push(kImages - 1, t - 1, current, 2);
  for (; __all_sync(~0u, t < g.lines); ++t) {
    __syncwarp();
    arrive(0, t, 0);
    wait(0, t + 1);
    arrive(1, t, 0);
  }
  wait(1, t);  // all bytes that peers push to this block have come, so it may leave
}

}  // namespace pixelrnn::cuda
