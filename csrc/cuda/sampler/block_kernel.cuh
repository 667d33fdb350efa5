#pragma once
#include "block_kernel.h"
#include "column_math.cuh"
#include "exchange.cuh"
#include "weight_stream.cuh"

namespace pixelrnn::cuda {

struct NoCluster {
  template <class... Any> PIXELRNN_DEVICE NoCluster(const Any&...) {}
};
template <class T, bool IS_CLUSTER> struct ClusterOf {
  using Exchange = NoCluster;
  using WeightStream = NoCluster;
};
template <class T> struct ClusterOf<T, true> {
  using Exchange = cuda::Exchange<T>;
  using WeightStream = cuda::WeightStream<T>;
};

// Draws rows of one image by one block of threads, or by a cluster (block_kernel.h).
template <class T, bool IS_CLUSTER> class ImageSampler {
 public:
  PIXELRNN_DEVICE explicit ImageSampler(const BlockArgs<T>& a)
      : a_(a),
        blocks_(IS_CLUSTER ? a.blocks : 1),
        rank_(IS_CLUSTER ? int(ptx::cluster_rank()) : 0),
        image_(int(blockIdx.x) / blocks_),
        thread_(int(threadIdx.x)),
        lane_(int(threadIdx.x) & 31),
        warp_(int(threadIdx.x) >> 5),
        memory_(ptx::dynamic_shared()),
        weights_(reinterpret_cast<T*>(memory_ + a.bytes)),
        rings_(weights_ + a.weight_values),
        fetched_(reinterpret_cast<FetchedValue*>(rings_ + a.ring_values)),
        barriers_(ptx::shared_address(memory_) + a.stream_offset + int(kStreamStages * sizeof(T) << a.log_stage)),
        exchange_(barriers_ + 8 * kStreamStages, blocks_),
        stream_(memory_ + a.stream_offset, barriers_, a.log_stage) {}

  PIXELRNN_DEVICE void run() {
    copy_to_shared();
    for (int row = a_.row0; row < a_.row1; ++row)
#pragma unroll 1
      for (int pass = 0; pass < 2; ++pass) {
        const bool is_mirrored = pass == 1;
        if (is_mirrored && row + 1 == a_.height) return;
        const int first = is_mirrored ? a_.before_row : 0, count = is_mirrored ? a_.after_row : a_.before_row;
        for (int i = 0; i < count; ++i) row_step(first + i, row);
        const BlockProgram<T>& p = is_mirrored ? a_.mirrored : a_.main;
        if (p.rounds) columns(p, row);
      }
  }

  template <class U> PIXELRNN_DEVICE const U* list(int64_t offset) const {
    return reinterpret_cast<const U*>(a_.memory + offset);
  }
  template <class U> PIXELRNN_DEVICE const U* shared_list(int64_t offset) const {
    return reinterpret_cast<const U*>(memory_ + offset);
  }
  PIXELRNN_DEVICE void sync() {
    if constexpr (IS_CLUSTER) ptx::cluster_arrive(), ptx::cluster_wait();
    else __syncthreads();
  }
  PIXELRNN_DEVICE void copy_to_shared() const {
    if constexpr (IS_CLUSTER)
      if (thread_ == 0) exchange_.init(), ptx::mbarrier_init(barriers_, kStreamStages, 1), ptx::mbarrier_fence();
    for (int64_t i = thread_; i < a_.bytes / 16; i += blockDim.x)
      reinterpret_cast<uint4*>(memory_)[i] = reinterpret_cast<const uint4*>(a_.memory)[i];
    // This loop zeroes the columns of layers' inputs and outputs that the kernel keeps in shared memory. A single block
    // also zeroes its weights in shared memory, because the copies below leave out the padding, which must be zero. A
    // block of a cluster loads its weights to another part of the shared memory, which needs no zeros.
    for (int i = thread_ + (IS_CLUSTER ? a_.weight_values : 0); i < a_.weight_values + a_.ring_values; i += blockDim.x)
      weights_[i] = 0;
    if constexpr (!IS_CLUSTER) __syncthreads();
    for (int i = 0; i < a_.weight_copies; ++i) {
      const WeightCopy<T> w = list<WeightCopy<T>>(a_.weights)[i];
      for (int k = thread_; k < w.count; k += blockDim.x) weights_[w.to + k] = w.from[k];
    }
  }

  // ---- Row steps. Each thread computes four outputs in each of four columns, so that it loads a weight once for the
  // four columns.

  PIXELRNN_DEVICE int64_t row_index(int column, int channels) const {
    return (int64_t(column) * a_.images + image_) * channels;
  }
  PIXELRNN_DEVICE int team_thread() const { return rank_ * int(blockDim.x) + thread_; }
  PIXELRNN_DEVICE int team_threads() const { return blocks_ * int(blockDim.x); }
  PIXELRNN_DEVICE void row_step(int i, int row) {
    const RowStepArgs<T> s = list<RowStepArgs<T>>(a_.row_steps)[i];
    const RowTapArgs<T>* const taps = list<RowTapArgs<T>>(a_.row_taps) + s.first_tap;
    sync();
    if (s.is_copy) copy_row(s, taps->source);
    else sum_row(s, taps, row);
  }
  PIXELRNN_DEVICE void copy_row(const RowStepArgs<T>& s, const T* source) const {
    for (int i = team_thread(); i < s.outputs * s.columns; i += team_threads()) {
      const int column = i / s.outputs, o = i % s.outputs, from = s.is_mirrored ? s.columns - 1 - column : column;
      s.output[row_index(column, s.outputs) + o] = source[row_index(from, s.outputs) + o];
    }
  }
  PIXELRNN_DEVICE void sum_row(const RowStepArgs<T>& s, const RowTapArgs<T>* taps, int row) const {
    constexpr int kColumns = 4;
    const int quads = (s.outputs + kQuad - 1) / kQuad, groups = (s.columns + kColumns - 1) / kColumns;
    for (int item = team_thread(); item < quads * groups; item += team_threads()) {
      const int first = item / quads * kColumns, quad = item % quads;
      T sum[kColumns][kQuad] = {};
      const Quad<T>* w = reinterpret_cast<const Quad<T>*>(s.packed) + quad;
      for (int t = 0; t < s.taps; ++t) {
        const RowTapArgs<T> tap = taps[t];
        const T* x[kColumns];
#pragma unroll
        for (int c = 0; c < kColumns; ++c) x[c] = tap.source + row_index(min(first + c, s.columns - 1), tap.channels);
        for (int k = 0; k < tap.channels; ++k) {
          const Quad<T> weight = *w;
          w += quads;
#pragma unroll
          for (int c = 0; c < kColumns; ++c)
#pragma unroll
            for (int j = 0; j < kQuad; ++j) sum[c][j] += weight.v[j] * x[c][k];
        }
      }
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = first + c;
        const int64_t map = image_ * s.map_image + row * s.map_row + column * s.map_column;
#pragma unroll
        for (int j = 0; j < kQuad; ++j) {
          const int o = quad * kQuad + j;
          if (column >= s.columns || o >= s.outputs) break;
          if (s.bias) sum[c][j] += s.bias[o];
          if (s.map) sum[c][j] += s.map[map + o * s.map_channel];
          s.output[row_index(column, s.outputs) + o] = sum[c][j];
        }
      }
    }
  }

  // ---- Column programs, which compute one column after the other.
  PIXELRNN_DEVICE void columns(const BlockProgram<T>& p, int row) {
    // After this barrier the row steps' results are visible, and no thread still reads the shared memory that the
    // following code fills with columns.
    sync();
    if constexpr (IS_CLUSTER) {
      stream_.begin_row(
          a_.stream + ((int64_t(rank_) * (a_.main.stages + a_.mirrored.stages) + p.first_stage) << a_.log_stage),
          p.stages, a_.width);
      if (warp_ == p.warps && lane_ == 0) stream_.load(kStreamStages);
    }
    fill_rings(p, row);
    for_each_round(p, [&](const BlockRecord& r, int column) { run_record(p, r, column, row); });
    __syncthreads();  // all warps have finished the last column
    if (warp_ == p.warps) store_last_column(p);
  }
  // Calls run(record, column) for each round (steps that the warps run at the same time) of each column. A record
  // describes a warp's work in a round. The records [period][rounds][warps] repeat after `period` columns.
  template <class Run> PIXELRNN_DEVICE void for_each_round(const BlockProgram<T>& p, const Run& run) {
    const BlockRecord* const records =
        (IS_CLUSTER ? list<BlockRecord>(p.records) : shared_list<BlockRecord>(p.records)) + warp_;
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
      if constexpr (IS_CLUSTER)
        if (now.is_first()) stream_.next_column();
      run(now, column);
      if constexpr (IS_CLUSTER)
        if (now.ends_stage()) exchange_.end_stage(now.exchanges());
      now = next;
    }
  }
  // Loads the columns to the left of the image from global memory to shared memory, and for some buffers also the
  // image's first column.
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

  PIXELRNN_DEVICE void run_record(const BlockProgram<T>& p, const BlockRecord& r, int column, int row) {
    switch (r.kind()) {
      case BlockKind::linear: return product<false>(p, r, column);
      case BlockKind::cell: return product<true>(p, r, column);
      case BlockKind::pointwise: return pointwise(p, r, column);
      case BlockKind::weigh:
      case BlockKind::draw: return set_value(r, column, row);
      case BlockKind::move:
        if constexpr (IS_CLUSTER) {
          exchange_.begin_stage(lane_);
          if (lane_ == 0) {
            if (r.place[kExpected]) exchange_.expect(r.place[kExpected]);
            if (column > a_.margin || !r.is_first()) stream_.load(r.place[kFreed]);
          }
        }
        for (int i = 0; i < p.moves_per_round; ++i)
          move(shared_list<BlockMove<T>>(p.moves)[r.weights + i], column, row);
        return;
      default: return;
    }
  }

  // Adds the products of one tap to the lane's sums. The loads of four channels overlap. Channels beyond the last one
  // count as zero.
  template <class Weights>
  PIXELRNN_DEVICE static void add(T (&sum)[kQuad], const T* x, int width, const Weights& w, int lane, int lanes) {
    int k = lane;
    do {
      Quad<T> weight[4];
      T value[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int channel = min(k + j * lanes, width - 1);
        weight[j] = *reinterpret_cast<const Quad<T>*>(w.at(channel * kQuad)), value[j] = x[channel];
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
  // Sums over `lanes` lanes, at least 4. Lane l gets the total of sum[2 * (l % 2) + l / 2 % 2].
  PIXELRNN_DEVICE T reduce(const T (&sum)[kQuad], int lanes) const {
    const bool is_odd = lane_ & 1, is_upper = lane_ & 2;
    T pair[2], one;
#pragma unroll
    for (int i = 0; i < 2; ++i)
      pair[i] = (is_odd ? sum[2 + i] : sum[i]) + __shfl_xor_sync(~0u, is_odd ? sum[i] : sum[2 + i], 1);
    one = (is_upper ? pair[1] : pair[0]) + __shfl_xor_sync(~0u, is_upper ? pair[0] : pair[1], 2);
    for (int distance = 4; distance < lanes; distance *= 2)
      one += __shfl_xor_sync(~0u, one, distance);  // kernel_costs finds this loop by the tag [block sampler: lanes]
    return one;
  }
  struct ResidentWeights {
    const T* first;
    PIXELRNN_DEVICE const T* at(int index) const { return first + index; }
    PIXELRNN_DEVICE void advance(int count) { first += count; }
  };
  PIXELRNN_DEVICE auto weights(int first) const {
    if constexpr (IS_CLUSTER) return stream_.weights(first);
    else return ResidentWeights{weights_ + first};
  }
  template <bool is_cell> PIXELRNN_DEVICE void product(const BlockProgram<T>& p, const BlockRecord& r, int column) {
    const int lanes = 1 << r.log_lanes(), thread = r.first_thread + lane_, lane = thread & (lanes - 1);
    const int part = 2 * (lane & 1) + (lane >> 1 & 1);
    // Each block of a cluster computes an equal share of the outputs. Zero weights pad the last shares.
    const int first_quad = IS_CLUSTER ? r.first_quad : 0, all_quads = is_cell ? r.count : (r.count + kQuad - 1) / kQuad,
              before = IS_CLUSTER ? rank_ * ((all_quads + blocks_ - 1) / blocks_) : 0;
    if constexpr (IS_CLUSTER) stream_.wait(r.weights, (r.quads - first_quad) * r.channels * kQuad);
    for (int first = first_quad; first < r.quads; first += r.threads >> r.log_lanes()) {
      const int own = first + (thread >> r.log_lanes()), share = min(own, r.quads - 1),
                quad = IS_CLUSTER ? min(before + share, all_quads - 1) : share;
      const bool has_quad = own < r.quads && (!IS_CLUSTER || before + own < all_quads),
                 has_result = has_quad && (is_cell || quad * kQuad + part < r.count);
      const bool finishes = has_result && lane < (is_cell ? 1 : kQuad);
      const Operands operands = load_operands<is_cell>(p, r, column, quad, part, finishes);
      auto w = weights(r.weights + (share - first_quad) * r.channels * kQuad);
      T sum[kQuad] = {};
      add(sum, rings_ + r.x[0], r.width[0], w, lane, lanes), w.advance(r.width[0] * kQuad);
      if (r.taps() > 1) add(sum, rings_ + r.x[1], r.width[1], w, lane, lanes), w.advance(r.width[1] * kQuad);
      for (int t = kRecordTaps; t < r.taps(); ++t) {  // kernel_costs uses the tag [block sampler: more taps]
        const BlockTap tap = shared_list<BlockTap>(p.taps)[r.more_taps + t - kRecordTaps];
        add(sum, rings_ + tap.x, tap.width, w, lane, lanes), w.advance(tap.width * kQuad);
      }
      const T y = reduce(sum, lanes) + operands.base;
      if constexpr (IS_CLUSTER) {
        exchange_.before_push();
        __syncwarp();  // other lanes have read the operands that this lane may replace
      }
      // In a cluster, lanes without a result help to store the results of other lanes.
      const auto write = [&](int place, int index, T value) {
        if ((IS_CLUSTER || !is_cell) && place < 0) return;
        if constexpr (IS_CLUSTER) push<is_cell>(place, index, value, has_result, lane, lanes);
        else rings_[place + index] = value;
      };
      if constexpr (is_cell) cell(r, y, operands, quad, part, IS_CLUSTER || finishes, write);
      else if (IS_CLUSTER || finishes) outputs(r, y, operands, quad * kQuad + part, write);
    }
  }
  // Stores a result in the shared memory of all blocks of the cluster. The lanes that computed one product together
  // divide the blocks among themselves.
  template <bool is_cell>
  PIXELRNN_DEVICE void push(int place, int index, T value, bool has_result, int lane, int lanes) const {
    const int results = is_cell ? 1 : kQuad;
    value = __shfl_sync(~0u, value, (lane_ & -lanes) + (lane & (results - 1)));
    exchange_.push(has_result, rings_ + place + index, value, lane / results, lanes / results);
  }
  // The operands of a linear or cell step apart from the factors of its product. A lane loads these operands before it
  // computes the product, in order to hide the latency of the loads.
  struct Operands { T base, first, second; };
  // A step may overwrite its operands, so a lane reads only operands that it overwrites itself.
  template <bool is_cell>
  PIXELRNN_DEVICE Operands load_operands(
      const BlockProgram<T>& p, const BlockRecord& r, int column, int quad, int part, bool finishes) const {
    const auto read = [&](int place, int index) { return finishes ? operand(p, place, index, column) : T(0); };
    if constexpr (is_cell)
      return {operand(p, r.base, part * r.place[kGateStride] + quad, column), read(r.place[kCarried], quad),
          read(r.place[kAddend], quad)};
    const int o = quad * kQuad + part;
    return {read(r.base, o), read(r.place[0], o), read(r.place[2], o)};
  }
  PIXELRNN_DEVICE T operand(const BlockProgram<T>& p, int place, int index, int column) const {
    // Two loads, because the compiler knows the address space of each.
    if (!IS_CLUSTER || place >= 0) return ptx::in_shared(rings_ + place)[index];
    const BlockOperand<T> in_memory = ptx::in_shared(shared_list<BlockOperand<T>>(p.operands))[-2 - place];
    return in_memory.data[row_index(column, in_memory.channels) + in_memory.first + index];
  }
  template <class Write>
  PIXELRNN_DEVICE void outputs(const BlockRecord& r, T y, const Operands& operands, int o, const Write& write) const {
    y = rectified(y, r.has_relu(0));
    write(r.output, o, y);
    y = rectified(y + operands.first, r.has_relu(1));
    write(r.place[1], o, y);
    y = rectified(y + operands.second, r.has_relu(2));
    write(r.place[3], o, y);
  }
  // Lanes 0, 2, 1 and 3 of four have the pre-activations z of the gates i, f, g and o.
  template <class Write>
  PIXELRNN_DEVICE void cell(
      const BlockRecord& r, T z, const Operands& operands, int unit, int gate, bool writes, const Write& write) const {
    const T a = gate == 2 ? CellMath<T>::tanh(z) : CellMath<T>::sigmoid(z);
    const int lane = lane_ & ~3;
    const Gates<T> gates{__shfl_sync(~0u, a, lane), __shfl_sync(~0u, a, lane + 2), __shfl_sync(~0u, a, lane + 1),
        __shfl_sync(~0u, a, lane + 3)};
    const T c = next_c(gates, operands.first), h = hidden_state<CellMath<T>>(gates, c);
    if (!writes) return;
    write(r.place[kC], unit, c);
    write(r.place[kH], unit, h);
    write(r.output, unit, h + operands.second);
  }
  PIXELRNN_DEVICE void pointwise(const BlockProgram<T>& p, const BlockRecord& r, int column) const {
    for (int o = r.first_thread + lane_; o < r.count; o += r.threads) {
      T y = operand(p, r.base, o, column);
      y += operand(p, r.place[0], o, column);
      y = rectified(y, r.has_relu(0));
      rings_[r.output + o] = y;
    }
  }

  PIXELRNN_DEVICE int64_t value_index(int colour, int column, int row) const {
    return ((int64_t(image_) * a_.colours + colour) * a_.height + row) * a_.width + column - a_.margin;
  }
  PIXELRNN_DEVICE void fetch(int row, int column, int first, int stride) const {
    for (int colour = first; colour < a_.colours; colour += stride) {
      const int64_t i = value_index(colour, column, row);
      fetched_[(column & 1) * a_.colours + colour] = {a_.uniform[i], a_.known[i] ? int(a_.values[i]) : 0, a_.known[i]};
    }
  }
  PIXELRNN_DEVICE void set_value(const BlockRecord& r, int column, int row) const {
    const FetchedValue fetched = fetched_[(column & 1) * a_.colours + r.place[kColour]];
    const T* const logits = ptx::in_shared(rings_ + r.base);
    const Draw<T> draw(logits, r.count, r.place[kLastLevel], a_.temperature,
        ptx::in_shared(reinterpret_cast<double*>(rings_ + r.place[kHeld])));
    const bool is_weighing = r.kind() == BlockKind::weigh;
    if (!fetched.is_known && (is_weighing || !r.place[kIsWeighed])) draw.weigh(r.first_thread >> 5, r.threads >> 5);
    if (is_weighing) return;
    if (a_.logit_map && rank_ == 0) {
      T* const map =
          a_.logit_map + ((int64_t(row) * a_.width + column - a_.margin) * a_.images + image_) * a_.colours * a_.logits;
      for (int i = lane_; i < r.count; i += 32) map[r.place[kColour] * a_.logits + i] = logits[i];
    }
    const int value = fetched.is_known ? fetched.value : draw.value(fetched.uniform);
    if (lane_ != 0) return;
    if (!fetched.is_known && rank_ == 0) a_.values[value_index(r.place[kColour], column, row)] = value;
    const T scaled = weights_[r.weights + (0 <= value && value <= r.place[kLastLevel] ? value : r.place[kLastLevel])];
    rings_[r.output] = scaled;
  }

  // ---- The last warp copies columns between global and shared memory.

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
    for (int k = 32 * rank_ + lane_; k < m.count; k += 32 * blocks_) to[k] = rings_[m.place + k];
  }
  PIXELRNN_DEVICE void store_last_column(const BlockProgram<T>& p) const {
    const int end = a_.margin + a_.width;
    const BlockMove<T>* const moves = shared_list<BlockMove<T>>(p.moves) + (end & (p.period - 1)) * p.moves_per_column;
    for (int i = 0; i < p.moves_per_column; ++i)
      if (moves[i].kind == MoveKind::store) store(moves[i], end - 1);
  }

  const BlockArgs<T>& a_;
  const int blocks_, rank_;
  const int image_, thread_, lane_, warp_;
  unsigned char* const memory_;
  T *const weights_, *const rings_;
  FetchedValue* const fetched_;
  const uint32_t barriers_;  // shared-memory address of the mbarriers
  typename ClusterOf<T, IS_CLUSTER>::Exchange exchange_;
  typename ClusterOf<T, IS_CLUSTER>::WeightStream stream_;
};

}  // namespace pixelrnn::cuda
