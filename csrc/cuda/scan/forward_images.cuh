// Forward scan of several images by one cluster. While a warp multiplies a line of image k, it computes the cells of
// image k - 1, and stores the results of image k - 2 (docs/kernels.md, section "Forward of several images").
#pragma once
#include "forward.cuh"

namespace pixelrnn::cuda {

// Copies h to the 7 other blocks of the cluster, in two rounds.
template <class Value> class PushesOfImages {
 public:
  static constexpr int kTileBytes = (kImageBlocks - 1) * Pushes<Value>::kTileBytes;

  PIXELRNN_DEVICE PushesOfImages(const TilingOf<4>& s, bool segments, int chunk_stride, const ThreadIds& ids,
      unsigned char* lines, uint32_t barriers)
      : source_(pushed_piece<Value>(s, segments, chunk_stride, ids, lines)) {
    const uint32_t here = ptx::shared_address(source_);
    to_barriers_ = barriers - here;
    const int peer = ids.rank + 1 + ids.lane / kLanesOfBlock;
    first_ = ptx::in_register(ptx::peer_address(here, peer % kImageBlocks));
    last_ = ptx::in_register(ptx::peer_address(here, (peer + kImageBlocks / 2) % kImageBlocks));
  }
  PIXELRNN_DEVICE uint4 load(int offset) const { return *reinterpret_cast<const uint4*>(source_ + offset); }
  PIXELRNN_DEVICE void push(uint4 piece, int offset, int barrier) const {
    // In the last round, some lanes would store to this block itself.
    const bool is_peer = threadIdx.x % 32 < 32 - kLanesOfBlock;
    ptx::store_peer16_async(true, first_ + offset, piece, first_ + to_barriers_ + barrier);
    ptx::store_peer16_async(is_peer, last_ + offset, piece, last_ + to_barriers_ + barrier);
  }

 private:
  static constexpr int kLanesOfBlock = 8 * 8 * sizeof(Value) / kChunkBytes;
  static_assert(2 * 32 / kLanesOfBlock == kImageBlocks, "two rounds");
  const unsigned char* source_;
  uint32_t first_, last_;
  uint32_t to_barriers_;
};

// Computes kImages images in one cluster. Registers hold all weights, at most PAIRS pieces of 64 bytes of each weight
// row.
template <Format F, int PAIRS> PIXELRNN_DEVICE void scan_forward_images(const ForwardArgs& a) {
  static_assert(kImages == 4, "two pairs of images");
  using T = Traits<F>;
  using Value = typename T::Value;
  using Four = typename T::Four;
  using Product = RegisterProduct<F, 2, PAIRS>;
  constexpr bool kSegments = pushes_segments(F, 4, true, false, 1);

  const TilingOf<4>& s = a.tiling;
  const ThreadIds ids(s, a.images, a.pixels);
  const Geometry g = a.geometry[ids.direction];
  const int unit = ids.rank * s.units + ids.slice * 8 + ids.q;
  const int hidden = s.hidden, stride = kSegments ? kChunkBytes : s.stride(false),
            chunk_stride = kSegments ? s.chunk_stride(true) : kChunkBytes;
  const int line_bytes = ptx::in_register(s.line_bytes(kSegments)), image_bytes = 2 * line_bytes;
  // Shared memory holds two line buffers of each image, then two mbarriers for images 0 and 1, and two for images 2 and
  // 3.
  unsigned char* const lines = block_memory<kSegments>() + s.lead_bytes(kSegments);
  const uint32_t barriers = ptx::shared_address(lines) + kImages * image_bytes;
  const uint4* const packed = packed_weights(a, ids);

  fill_lines<F>(s, kSegments, ids, a.h0, lines);
  const Product weights(s, kSegments, chunk_stride, packed, ids.slice, ids.lane);
  const ForwardMaps<F> maps(a, ids, unit, true);

  // This warp's tile (8 cells) has active cells from line tile_begin to line tile_end - 1.
  const Activity cells(g);
  const int tile_cell = kTileCells * ids.group, cell = tile_cell + 2 * ids.p;
  const int first_lines[2] = {ptx::in_register(cells.first_line(cell)), ptx::in_register(cells.first_line(cell + 1))};
  const int tile_begin = ptx::in_register(cells.first_line(tile_cell));
  const int tile_end = ptx::in_register(cells.first_line(min(tile_cell + kTileCells, g.cells) - 1) + cells.lines);
  const int to_cell = ptx::in_register(g.cell_stride * hidden), to_line = ptx::in_register(g.line_stride * hidden);
  int to_image[kImages];
  // Missing images of the last cluster repeat its first image, and store equal results again.
#pragma unroll
  for (int k = 0; k < kImages; ++k) to_image[k] = ids.image + k < a.images ? k * a.pixels * hidden : 0;

  unsigned char* const own_row =
      lines + (cell + s.border()) * stride + value_offset<Value>(kSegments, chunk_stride, unit);
  const PushesOfImages<Value> pushes(s, kSegments, chunk_stride, ids, lines, barriers);

  float c[kImages][2];
  const float c0 = a.c0 ? widen(static_cast<const Value*>(a.c0)[ids.direction * hidden + unit]) : 0.0f;
#pragma unroll
  for (int k = 0; k < kImages; ++k) c[k][0] = c[k][1] = c0;

  const bool arrives = ids.lane == 0;
  if (ids.thread < s.barrier_bytes() / 8)
    ptx::mbarrier_init(barriers + 8 * ids.thread, 1, blockDim.x / 32), ptx::mbarrier_fence();
  ptx::cluster_arrive();
  ptx::cluster_wait();  // all blocks have filled their line buffers with h0

  int t = 0, read = 0;
  // Arrives after this warp has stored line `line` of two images, and announces the bytes of `tiles` tiles from all
  // other blocks.
  auto arrive = [&](int image_pair, int line, int tiles) {
    if (arrives)
      ptx::mbarrier_arrive(barriers + 16 * image_pair + (line & 1 ? 0 : 8), tiles * PushesOfImages<Value>::kTileBytes);
  };
  // Waits for line `line` - 1 of two images.
  auto wait = [&](int image_pair, int line) {
    ptx::mbarrier_wait_warp(barriers + 16 * image_pair + (line & 1 ? 8 : 0), line >> 1 & 1);
  };

  // Until the tile has a cell in the image, a warp waits only for images 0 and 1 (docs/kernels.md, section "Forward of
  // several images", tells why this is enough).
  arrive(0, -1, 0);  // line 0 waits for 0 bytes
  for (; __all_sync(~0u, t < tile_begin); ++t) {
    __syncwarp();
    arrive(1, t - 1, 0);
    arrive(0, t, 0);
    wait(0, t + 1);
  }
  read = t & 1 ? line_bytes : 0;

  int offset = g.pixel(t, cell) * hidden, previous = offset - to_line;
  Four x[kImages][2] = {};
  auto load_x = [&](int k, int t, int line_offset) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (cells.is_active_from(t, first_lines[j])) x[k][j] = maps.x[line_offset + to_image[k] + j * to_cell];
  };
#pragma unroll
  for (int k = 0; k < kImages; ++k) load_x(k, t, offset);

  // Without opaque(), NVRTC keeps parts of an address in segments in registers that the loop needs.
  auto line_address = [&](int k, int buffer) {
    return ptx::shared_address(lines) + k * image_bytes + buffer +
           (kSegments ? ptx::opaque(tile_cell) : tile_cell) * stride;
  };
  typename Product::Fragments fragments = weights.first_fragments(line_address(0, read));
  float sums[4][2] = {};
  CellResult<F> results[2];
  auto compute = [&](int k, int t) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float next =
          results[j].compute(CellResult<F>::activated(sums[0][j], sums[1][j], sums[2][j], sums[3][j]), c[k][j]);
      if (cells.is_active_from(t, first_lines[j])) c[k][j] = next;
    }
  };
  auto store = [&](int k, int t, int line_offset) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (cells.is_active_from(t, first_lines[j]))
        results[j].store(maps, line_offset + to_image[k] + j * to_cell, c[k][j]);
  };
  auto push = [&](int k, int t, int buffer, int tiles) {
    const int rows = buffer + k * image_bytes;
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (cells.is_active_from(t, first_lines[j]))
        *reinterpret_cast<Value*>(own_row + rows + j * stride) = T::round_operand(results[j].h);
    __syncwarp();
    pushes.push(pushes.load(rows), rows, (t & 1 ? 0 : 8) + k / 2 * 16);
    if (k % 2) arrive(k / 2, t, tiles);
  };

  do {
    const int written = line_bytes - read;
#pragma unroll
    for (int k = 0; k < kImages; ++k) {
      const int computed = (k + kImages - 1) % kImages, computed_t = k > 0 ? t : t - 1;
      const int stored = (k + kImages - 2) % kImages, stored_t = k > 1 ? t : t - 1;
      float z[4][2];
#pragma unroll
      for (int j = 0; j < 2; ++j) { ForwardMaps<F>::start(z, j, x[k][j]); }
      weights(z, line_address(k, read), fragments, weights.prefetch_weights(), [&](int pair) {
        if (pair == 1)
          load_x(k, t + 1, offset + to_line), store(stored, stored_t, k > 1 ? offset : previous),
              compute(computed, computed_t);
      });
      // Two images (0 and 1, or 2 and 3) share an mbarrier, to which a warp announces the bytes of one tile (8 cells)
      // of each image. The first iteration begins with a tile of image 3, without a tile of image 2, so the warp then
      // announces the bytes of only one tile.
      push(computed, computed_t, k ? written : read, k || t > tile_begin ? 2 : 1);
      if (k % 2) wait((k / 2 + 1) % 2, k + 1 < kImages ? t : t + 1);
      fragments = weights.first_fragments(line_address((k + 1) % kImages, k + 1 < kImages ? read : written));
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[i][0] = z[i][0], sums[i][1] = z[i][1];
    }
    read = written, previous = offset, offset += to_line, ++t;
  } while (__all_sync(~0u, t < tile_end));

  store(kImages - 2, t - 1, previous);
  compute(kImages - 1, t - 1);
  store(kImages - 1, t - 1, previous);
  push(kImages - 1, t - 1, read, 2);
  for (; __all_sync(~0u, t < g.lines); ++t) {
    __syncwarp();
    arrive(0, t, 0);
    wait(0, t + 1);
    arrive(1, t, 0);
  }
  wait(1, t);  // a block must not end before other blocks have stored in it
}

}  // namespace pixelrnn::cuda
