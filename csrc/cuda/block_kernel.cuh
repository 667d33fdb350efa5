#pragma once
#include "block_kernel.h"
#include "column_math.cuh"

namespace pixelrnn::cuda {

// Draws rows of one image, with one block of threads (block_kernel.h).
template <class T> class BlockSampler {
 public:
  PIXELRNN_DEVICE explicit BlockSampler(const BlockArgs<T>& a)
      : a_(a),
        image_(int(blockIdx.x)),
        thread_(int(threadIdx.x)),
        lane_(int(threadIdx.x) & 31),
        warp_(int(threadIdx.x) >> 5),
        memory_(ptx::dynamic_shared()),
        weights_(reinterpret_cast<T*>(memory_ + a.bytes)),
        rings_(weights_ + a.weight_values),
        fetched_(reinterpret_cast<FetchedValue*>(rings_ + a.ring_values)) {}

  PIXELRNN_DEVICE void run() const {
    copy_to_shared();
    for (int row = a_.row0; row < a_.row1; ++row) {
      for (int i = 0; i < a_.before_row; ++i) row_step(i, row);
      columns(a_.main, row);
      if (row + 1 == a_.height) break;
      for (int i = 0; i < a_.after_row; ++i) row_step(a_.before_row + i, row);
      if (a_.mirrored.rounds) columns(a_.mirrored, row);
    }
  }

  template <class U> PIXELRNN_DEVICE const U* list(int64_t offset) const {
    return reinterpret_cast<const U*>(a_.memory + offset);
  }
  template <class U> PIXELRNN_DEVICE const U* shared_list(int64_t offset) const {
    return reinterpret_cast<const U*>(memory_ + offset);
  }
  // Copies the programs and all weights to shared memory, once in each launch.
  PIXELRNN_DEVICE void copy_to_shared() const {
    for (int64_t i = thread_; i < a_.bytes / 16; i += blockDim.x)
      reinterpret_cast<uint4*>(memory_)[i] = reinterpret_cast<const uint4*>(a_.memory)[i];
    for (int i = thread_; i < a_.weight_values + a_.ring_values; i += blockDim.x) weights_[i] = 0;
    __syncthreads();
    for (int i = 0; i < a_.weight_copies; ++i) {
      const BlockWeights<T> w = list<BlockWeights<T>>(a_.weights)[i];
      for (int k = thread_; k < w.count; k += blockDim.x) weights_[w.to + k] = w.from[k];
    }
  }

  // ---- Row steps: each thread computes four outputs of a column together.

  // Returns the index of the image's first value at a column, in a row's buffer in global memory.
  PIXELRNN_DEVICE int64_t row_index(int column, int channels) const {
    return (int64_t(column) * a_.images + image_) * channels;
  }
  PIXELRNN_DEVICE void row_step(int i, int row) const {
    const RowStepArgs<T> s = list<RowStepArgs<T>>(a_.row_steps)[i];
    const RowTapArgs<T>* const taps = list<RowTapArgs<T>>(a_.row_taps) + s.first_tap;
    __syncthreads();  // wait until all threads have finished the step before
    if (s.is_copy) copy_row(s, taps->source);
    else sum_row(s, taps, row);
  }
  PIXELRNN_DEVICE void copy_row(const RowStepArgs<T>& s, const T* source) const {
    for (int i = thread_; i < s.outputs * s.columns; i += blockDim.x) {
      const int column = i / s.outputs, o = i % s.outputs, from = s.is_mirrored ? s.columns - 1 - column : column;
      s.output[row_index(column, s.outputs) + o] = source[row_index(from, s.outputs) + o];
    }
  }
  PIXELRNN_DEVICE void sum_row(const RowStepArgs<T>& s, const RowTapArgs<T>* taps, int row) const {
    const int quads = (s.outputs + kQuad - 1) / kQuad;
    for (int item = thread_; item < quads * s.columns; item += blockDim.x) {
      const int column = item / quads, quad = item % quads;
      T sum[kQuad] = {};
      const Quad<T>* w = reinterpret_cast<const Quad<T>*>(s.packed) + int64_t(quad) * s.channels;
      for (int t = 0; t < s.taps; ++t) {
        const RowTapArgs<T> tap = taps[t];
        const T* const x = tap.source + row_index(column, tap.channels);
        for (int k = 0; k < tap.channels; ++k) {
          const Quad<T> weight = *w++;
          const T value = x[k];
#pragma unroll
          for (int j = 0; j < kQuad; ++j) sum[j] += weight.v[j] * value;
        }
      }
      const int64_t map = image_ * s.map_image + row * s.map_row + column * s.map_column;
#pragma unroll
      for (int j = 0; j < kQuad; ++j) {
        const int o = quad * kQuad + j;
        if (o >= s.outputs) break;
        if (s.bias) sum[j] += s.bias[o];
        if (s.map) sum[j] += s.map[map + o * s.map_channel];
        s.output[row_index(column, s.outputs) + o] = sum[j];
      }
    }
  }

  // ---- The columns of a row, one after the other. A warp reads the record of a round before the barrier that begins
  // the round.
  PIXELRNN_DEVICE void columns(const BlockProgram<T>& p, int row) const {
    __syncthreads();  // wait until row steps have written what the rings load, and no thread reads the rings
    fill_rings(p, row);
    for_each_round(p, [&](const BlockRecord& r, int column) { run_record(p, r, column, row); });
    __syncthreads();  // wait until all warps have finished the last column
    if (warp_ == p.warps) store_last_column(p);
  }
  // Calls run(record, column) for each record of this warp. The records are [period][rounds][warps]. Before a round
  // that needs it, the warp waits at a barrier.
  template <class Run> PIXELRNN_DEVICE void for_each_round(const BlockProgram<T>& p, const Run& run) const {
    const BlockRecord* const records = shared_list<BlockRecord>(p.records) + warp_;
    const int warps = p.warps + 1, column_records = p.rounds * warps;
    const BlockRecord *at = records + (a_.margin & (p.period - 1)) * column_records,
                      *end = records + p.period * column_records;
    int column = a_.margin - 1;
    BlockRecord now = *at;
    for (int left = p.rounds * a_.width; left > 0; --left) {
      if (now.is_barrier()) __syncthreads();
      at = at + warps == end ? records : at + warps;
      const BlockRecord next = *at;
      column += now.is_first();
      run(now, column);
      now = next;
    }
  }
  // Loads the columns to the left of the row into the rings. If the program only reads a buffer, this also loads the
  // buffer's first column of the row.
  PIXELRNN_DEVICE void fill_rings(const BlockProgram<T>& p, int row) const {
    for (int i = 0; i < p.loads; ++i) {
      const BlockLoad<T> load = shared_list<BlockLoad<T>>(p.load)[i];
      for (int column = max(0, a_.margin - load.mask); column < a_.margin + load.is_ahead; ++column)
        for (int k = thread_; k < load.channels; k += blockDim.x)
          rings_[load.place + (column & load.mask) * load.channels + k] =
              load.data[row_index(column, load.channels) + k];
    }
    if (&p == &a_.main) fetch(row, a_.margin, thread_, int(blockDim.x));
  }

  PIXELRNN_DEVICE void run_record(const BlockProgram<T>& p, const BlockRecord& r, int column, int row) const {
    switch (r.kind()) {
      case BlockKind::linear: return product<false>(p, r);
      case BlockKind::cell: return product<true>(p, r);
      case BlockKind::pointwise: return pointwise(r);
      case BlockKind::draw: return set_value(r, column, row);
      case BlockKind::move:
        for (int i = 0; i < p.moves_per_round; ++i)
          move(shared_list<BlockMove<T>>(p.moves)[r.weights + i], column, row);
        return;
      default: return;
    }
  }

  // Adds the products of one tap to the lane's sums. A lane loads four channels before it multiplies them, so that the
  // loads overlap. If fewer than four are left, it loads the last channel again and uses zero as its value.
  PIXELRNN_DEVICE static void add(T (&sum)[kQuad], const T* x, int width, const T* w, int lane, int lanes) {
    int k = lane;
    do {
      Quad<T> weight[4];
      T value[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int channel = min(k + j * lanes, width - 1);
        weight[j] = *reinterpret_cast<const Quad<T>*>(w + channel * kQuad), value[j] = x[channel];
      }
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (k + j * lanes >= width) value[j] = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int i = 0; i < kQuad; ++i) sum[i] += weight[j].v[i] * value[j];
      k += 4 * lanes;
    } while (k < width);
  }
  // Returns one of the four totals of sum[i] over `lanes` lanes, 4 or more. Lane l gets i = 2 * (l % 2) + l / 2 % 2.
  PIXELRNN_DEVICE T reduce(const T (&sum)[kQuad], int lanes) const {
    const bool is_odd = lane_ & 1, is_upper = lane_ & 2;
    T pair[2], one;
#pragma unroll
    for (int i = 0; i < 2; ++i)
      pair[i] = (is_odd ? sum[2 + i] : sum[i]) + __shfl_xor_sync(~0u, is_odd ? sum[i] : sum[2 + i], 1);
    one = (is_upper ? pair[1] : pair[0]) + __shfl_xor_sync(~0u, is_upper ? pair[0] : pair[1], 2);
    for (int distance = 4; distance < lanes; distance *= 2)
      one += __shfl_xor_sync(~0u, one, distance);  // [block sampler: lanes]
    return one;
  }
  template <bool is_cell> PIXELRNN_DEVICE void product(const BlockProgram<T>& p, const BlockRecord& r) const {
    const int lanes = 1 << r.log_lanes(), thread = r.first_thread + lane_, lane = thread & (lanes - 1);
    const int part = 2 * (lane & 1) + (lane >> 1 & 1);  // which sum reduce() returns: an output or a gate
    for (int first = 0; first < r.quads; first += r.threads >> r.log_lanes()) {
      const int own = first + (thread >> r.log_lanes()), quad = min(own, r.quads - 1);
      // Whether this lane writes a result. One lane does so for a unit, and one lane for each output of a linear step.
      const bool finishes = own < r.quads && lane < (is_cell ? 1 : kQuad) && (is_cell || quad * kQuad + part < r.count);
      const Operands operands = load_operands<is_cell>(r, quad, part, finishes);
      const T* w = weights_ + r.weights + quad * r.channels * kQuad;
      T sum[kQuad] = {};
      add(sum, rings_ + r.x[0], r.width[0], w, lane, lanes), w += r.width[0] * kQuad;
      if (r.taps() > 1) add(sum, rings_ + r.x[1], r.width[1], w, lane, lanes), w += r.width[1] * kQuad;
      for (int t = kRecordTaps; t < r.taps(); ++t) {  // [block sampler: more taps]
        const BlockTap tap = shared_list<BlockTap>(p.taps)[r.more_taps + t - kRecordTaps];
        add(sum, rings_ + tap.x, tap.width, w, lane, lanes), w += tap.width * kQuad;
      }
      const T y = reduce(sum, lanes) + operands.base;
      if constexpr (is_cell) cell(r, y, operands, quad, part, finishes);
      else if (finishes) outputs(r, y, operands, quad * kQuad + part);
    }
  }
  // Operands of a step other than its taps. The lane loads them before it computes the product, so that it need not
  // wait for them later.
  struct Operands {
    T base, first, second;  // cell: carried and addend; linear: right operands of the pointwise steps
  };
  // A step may overwrite its operands. So only the lane that writes a result reads the operands that this result may
  // replace.
  template <bool is_cell>
  PIXELRNN_DEVICE Operands load_operands(const BlockRecord& r, int quad, int part, bool finishes) const {
    const auto read = [&](int place) { return rings_[finishes ? place : 0]; };
    if constexpr (is_cell)
      return {rings_[r.base + part * r.place[kGateStride] + quad], read(r.place[kCarried] + quad),
          read(r.place[kAddend] + quad)};
    const int o = quad * kQuad + part;
    return {read(r.base + o), read(r.place[0] + o), read(r.place[2] + o)};
  }
  PIXELRNN_DEVICE void outputs(const BlockRecord& r, T y, const Operands& operands, int o) const {
    y = rectified(y, r.has_relu(0));
    if (r.output >= 0) rings_[r.output + o] = y;
    y = rectified(y + operands.first, r.has_relu(1));
    if (r.place[1] >= 0) rings_[r.place[1] + o] = y;
    y = rectified(y + operands.second, r.has_relu(2));
    if (r.place[3] >= 0) rings_[r.place[3] + o] = y;
  }
  // Computes a unit of a cell. z is the lane's pre-activation, of gate `gate`. Lanes 0, 2, 1 and 3 of four have the
  // gates i, f, g and o.
  PIXELRNN_DEVICE void cell(
      const BlockRecord& r, T z, const Operands& operands, int unit, int gate, bool finishes) const {
    const T a = gate == 2 ? CellMath<T>::tanh(z) : CellMath<T>::sigmoid(z);
    const int lane = lane_ & ~3;
    const Gates<T> gates{__shfl_sync(~0u, a, lane), __shfl_sync(~0u, a, lane + 2), __shfl_sync(~0u, a, lane + 1),
        __shfl_sync(~0u, a, lane + 3)};
    const T c = next_c(gates, operands.first), h = hidden_state<CellMath<T>>(gates, c);
    if (!finishes) return;
    rings_[r.place[kC] + unit] = c;
    rings_[r.place[kH] + unit] = h;
    rings_[r.output + unit] = h + operands.second;
  }
  PIXELRNN_DEVICE void pointwise(const BlockRecord& r) const {
    for (int o = r.first_thread + lane_; o < r.count; o += r.threads) {
      T y = rings_[r.base + o];
      y += rings_[r.place[0] + o];
      y = rectified(y, r.has_relu(0));
      rings_[r.output + o] = y;
    }
  }

  // ---- Values of pixels.

  // Returns the index of a colour's value in `uniform`, `known` and `values`.
  PIXELRNN_DEVICE int64_t value_index(int colour, int column, int row) const {
    return ((int64_t(image_) * a_.colours + colour) * a_.height + row) * a_.width + column - a_.margin;
  }
  PIXELRNN_DEVICE void fetch(int row, int column, int first, int stride) const {
    for (int colour = first; colour < a_.colours; colour += stride) {
      const int64_t i = value_index(colour, column, row);
      fetched_[(column & 1) * a_.colours + colour] = {a_.uniform[i], int(a_.values[i]), a_.known[i]};
    }
  }
  PIXELRNN_DEVICE void set_value(const BlockRecord& r, int column, int row) const {
    const FetchedValue fetched = fetched_[(column & 1) * a_.colours + r.place[kColour]];
    const T* const logits = rings_ + r.base;
    if (a_.logit_map) {
      T* const map =
          a_.logit_map + ((int64_t(row) * a_.width + column - a_.margin) * a_.images + image_) * a_.colours * a_.logits;
      for (int i = lane_; i < r.count; i += 32) map[r.place[kColour] * a_.logits + i] = logits[i];
    }
    int value = fetched.value;
    if (!fetched.is_known) value = draw(logits, r.count, r.place[kLastLevel], lane_, fetched.uniform, a_.temperature);
    if (lane_ != 0) return;
    if (!fetched.is_known) a_.values[value_index(r.place[kColour], column, row)] = value;
    const T scaled = weights_[r.weights + (0 <= value && value <= r.place[kLastLevel] ? value : r.place[kLastLevel])];
    rings_[r.output] = scaled;
  }

  // ---- The last warp, which copies columns between global and shared memory.

  PIXELRNN_DEVICE void move(const BlockMove<T>& m, int column, int row) const {
    const bool has_next = column + 1 < a_.margin + a_.width, has_previous = column > a_.margin;
    if (m.kind == MoveKind::fetch && has_next) fetch(row, column + 1, lane_, 32);
    if (m.kind == MoveKind::load && has_next) load(m, column + 1);
    if (m.kind == MoveKind::store && has_previous) store(m, column - 1);
  }
  PIXELRNN_DEVICE void load(const BlockMove<T>& m, int column) const {
    const T* const from = m.row + row_index(column, m.channels);
    T value[4];
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (lane_ + 32 * j < m.count) value[j] = from[lane_ + 32 * j];
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (lane_ + 32 * j < m.count) rings_[m.place + lane_ + 32 * j] = value[j];
  }
  PIXELRNN_DEVICE void store(const BlockMove<T>& m, int column) const {
    T* const to = m.row + row_index(column, m.channels);
    for (int k = lane_; k < m.count; k += 32) to[k] = rings_[m.place + k];
  }
  PIXELRNN_DEVICE void store_last_column(const BlockProgram<T>& p) const {
    const int end = a_.margin + a_.width;
    const BlockMove<T>* const moves = shared_list<BlockMove<T>>(p.moves) + (end & (p.period - 1)) * p.moves_per_column;
    for (int i = 0; i < p.moves_per_column; ++i)
      if (moves[i].kind == MoveKind::store) store(moves[i], end - 1);
  }

  const BlockArgs<T>& a_;
  const int image_, thread_, lane_, warp_;
  unsigned char* const memory_;
  T *const weights_, *const rings_;
  FetchedValue* const fetched_;
};

}  // namespace pixelrnn::cuda
