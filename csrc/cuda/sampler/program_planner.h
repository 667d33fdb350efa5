// Plans one column program for the kernels that draw whole images (block_kernel.h).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "block_kernel.h"
#include "column_stages.h"

namespace pixelrnn::cuda {

// The number of warps of a block that run steps. Each of these warps uses one of a multiprocessor's four schedulers.
constexpr int kWarps = 4;
constexpr int kMovedChannels = 4 * 32;                               // in one copy by the last warp
constexpr int kClusterBlocks = 8;                                    // every GPU with clusters supports this size
constexpr int kMaxStreamBytes = 1 << 17, kMinStreamBytes = 1 << 10;  // of a cluster's ring of weights

// Estimates for the choice between these kernels and a launch for each stage (columns.h), none measured on a GPU. The
// cycles of a round are modelled for an H100 (build_tools/kernel_costs), the others are assumed.
constexpr double kCellCycles = 1000, kOtherCycles = 700;  // of a round with a cell, and without
constexpr double kExchangeCycles = 225;                   // if blocks exchange results
constexpr double kFenceCycles = 300;  // of the release by which a block says that it has begun a stage
// A row step takes these cycles for its barrier, for the first loads of each pass over its outputs, and for each
// channel of a pass. The loads of four channels overlap.
constexpr double kRowBarrierCycles = 100, kRowLoadCycles = 300, kRowChannelCycles = 75;
constexpr double kClock = 1.755e9;           // Hz
constexpr double kStreamBytesPerCycle = 64;  // for one multiprocessor
constexpr double kCacheBandwidth = 5.5e12;   // bytes per second for all multiprocessors
constexpr double kLaunchSeconds = 1.5e-6;

struct Team {
  int blocks, stream_bytes;
  bool is_cluster() const { return blocks > 1; }
};

template <class T> int64_t align_up(T value, int64_t to) { return (int64_t(value) + to - 1) / to * to; }

struct Ring { int offset, channels, mask; };

// Collects arrays, each aligned to 16 bytes.
class Blob {
 public:
  template <class U> int64_t add(const std::vector<U>& values) {
    bytes.resize(size_t(align_up(bytes.size(), 16)));
    const int64_t offset = int64_t(bytes.size());
    bytes.resize(bytes.size() + values.size() * sizeof(U));
    if (!values.empty()) std::memcpy(bytes.data() + offset, values.data(), values.size() * sizeof(U));
    return offset;
  }
  std::vector<unsigned char> bytes;
};

template <class T> bool contains(const RowBuffer<T>& buffer, int64_t columns, const T* address) {
  return buffer.data <= address && address < buffer.data + columns * buffer.channels;
}

template <class T> struct RowStepAccess {
  std::vector<const T*> reads, writes;
  void add(const RowProgram<T>& program) {
    for (const RowStep<T>& s : program.steps) {
      writes.push_back(s.output);
      for (const auto& tap : s.taps) reads.push_back(tap.source);
    }
  }
};

template <class T, class R, class W> void for_each_buffer(const ColumnStep<T>& s, const R& reads, const W& writes) {
  const bool is_cell = s.kind == StepKind::kCell;
  for (const auto& tap : s.taps) reads(tap.input, tap.shift, 0, tap.channels);
  reads(s.base, 0, is_cell ? 0 : s.start, is_cell ? s.base.channels : s.stop);
  if (is_cell) reads(s.carried, s.shift, s.start, s.stop);
  if (is_cell || s.kind == StepKind::kPointwise) reads(s.addend, 0, s.start, s.stop);
  if (is_cell) writes(s.c, s.start, s.stop), writes(s.h, s.start, s.stop);
  const bool is_draw = s.kind == StepKind::kDraw;
  writes(s.output, is_draw ? s.colour : s.start, is_draw ? s.colour + 1 : s.stop);
}

// Returns the largest number of zeros that a step of the program reads in place of an absent operand.
template <class T> int most_channels(const ColumnProgram<T>& program) {
  int64_t most = 1;
  for (const auto& s : program.steps) most = std::max(most, s.stop);
  return int(most);
}

template <class T> int count_quads(const ColumnStep<T>& s) {
  return int(s.kind == StepKind::kCell ? s.stop - s.start : (s.stop - s.start + kQuad - 1) / kQuad);
}
template <class T> int count_channels(const ColumnStep<T>& s) {
  int all = 0;
  for (const auto& tap : s.taps) all += int(tap.channels);
  return all;
}
template <class T> bool is_product(const ColumnStep<T>& s) {
  return s.kind == StepKind::kLinear || s.kind == StepKind::kCell;
}

// Tells which weights to copy for the block with index `rank` of a cluster. The block reads the copied weights once for
// each column. The destination `copy.to` is a number of values, counted from the first weight that the block reads for
// a column.
template <class T> struct StreamPart {
  int rank;
  WeightCopy<T> copy;
};

// A column program is the list of steps that a kernel runs at each column of an image row. An image row has two column
// programs, and this class plans one of them. Both programs use the same shared memory for the columns, because each
// program loads its columns anew. This memory begins with `channels` zeros, which steps read in place of absent
// operands.
template <class T> class ProgramPlanner {
  using Buffer = RowBuffer<T>;

 public:
  ProgramPlanner(const ColumnProgram<T>& program, const ColumnProgram<T>& other, const RowStepAccess<T>& rows,
      int channels, const Team& team, std::vector<WeightCopy<T>>& weights, int& weight_values)
      : ring_values(channels),
        program_(program),
        columns_((program.margin() + program.width()) * program.images()),
        team_(team),
        weights_(weights),
        weight_values_(weight_values) {
    const auto stages = column_stages(program.steps);
    collect_buffers(other, rows);
    drop_intermediates(stages);
    allocate_rings();
    allocate_held(stages);
    for (const auto& stage : stages) add_stage(stage);
    if (team_.is_cluster()) plan_stream();
    plan_moves();
    write_records();
  }

  int ring_values;
  std::vector<StreamPart<T>> stream;

  BlockProgram<T> add_to(Blob& blob) const {
    BlockProgram<T> p{};
    p.rounds = int(rounds_.size()), p.period = period_, p.warps = kWarps, p.loads = int(loads_.size());
    p.moves_per_round = moves_per_round_, p.moves_per_column = moves_per_round_ * p.rounds;
    p.moves = blob.add(moves_), p.taps = blob.add(more_taps_), p.load = blob.add(loads_);
    p.operands = blob.add(operands_), p.operand_count = int(operands_.size());
    p.stages = stream_stages_;
    return p;
  }
  int64_t add_records_to(Blob& blob) const { return blob.add(records_); }

  double cycles() const {
    double sum = 0;
    for (const Round& round : rounds_) {
      const bool has_cell = std::any_of(round.steps.begin(), round.steps.end(),
          [](const FusedStep<T>& fused) { return fused.first.kind == StepKind::kCell; });
      sum += (has_cell ? kCellCycles : kOtherCycles) + (round.exchanges ? kExchangeCycles : 0) +
             (team_.is_cluster() && round.ends_stage ? kFenceCycles : 0);
    }
    return std::max(sum, double(stream_bytes()) / kStreamBytesPerCycle);
  }
  // Returns the bytes that a block of a cluster loads for a column.
  int64_t stream_bytes() const { return stream_stages_ * int64_t(team_.stream_bytes / kStreamStages); }

 private:
  struct Use {
    Buffer buffer;
    bool is_written = false, is_tap = false;
    int64_t depth = 0;  // how many columns back steps read
    int readers = 0, writers = 0;
    bool is_kept = false;  // row steps or the other program use the buffer
    std::vector<bool> written = {};

    // Records channels of the buffer that a step writes at the current column. A later step may read only such
    // channels, because shared memory lacks the other channels of this column.
    void add_written(int64_t first, int64_t end) {
      expect(end <= buffer.channels, "expected buffers in different memory");
      written.resize(size_t(buffer.channels));
      std::fill(written.begin() + first, written.begin() + end, true);
    }
    bool has_written(int64_t first, int64_t end) const {
      return first >= end || (int64_t(written.size()) >= end &&
                                 std::all_of(written.begin() + first, written.begin() + end, [](bool w) { return w; }));
    }
  };
  struct Warp {
    const FusedStep<T>* step = nullptr;
    int first_warp = 0, warps = 0, weights = 0, log_lanes = 2;
    int first_quad = 0, end_quad = 0;
    int held = 0;              // of a draw: the index in shared memory of the weights of its levels
    bool is_weighing = false;  // whether the warp weighs the levels of a draw of the next round
  };
  struct Round {
    bool is_barrier, ends_stage;
    std::vector<FusedStep<T>> steps;
    std::vector<Warp> warp;
    // Whether the blocks of a cluster exchange results of the group of independent steps to which this round belongs.
    bool exchanges;
    // In the first round of a group of independent steps, the bytes of results that a block receives from the whole
    // group. In other rounds this number is 0.
    int expected = 0;
    int64_t stream_end = 0;  // end of the round's weights in the column's stream
    int freed = 0;           // stages of the stream that the round before has freed
  };

  void collect_buffers(const ColumnProgram<T>& other, const RowStepAccess<T>& rows) {
    const auto ignore = [](const Buffer&, auto...) {};
    for (const auto& s : program_.steps)
      for_each_buffer(s, ignore, [&](const Buffer& b, auto...) { uses_[b.data] = {b, true}; });
    for (const auto& s : program_.steps)
      for_each_buffer(
          s,
          [&](const Buffer& b, int64_t shift, int64_t first, int64_t end) {
            if (!b.data) return;
            Use& use = uses_[b.data];
            use.buffer = b, use.depth = std::max(use.depth, -shift), ++use.readers;
            if (use.is_written && shift == 0)
              expect(use.has_written(first, end), "expected steps that read channels after they are written");
          },
          [&](const Buffer& b, int64_t first, int64_t end) {
            uses_[b.data].add_written(first, end);
            ++uses_[b.data].writers;
          });
    for (const auto& s : program_.steps)
      for (const auto& tap : s.taps) uses_[tap.input.data].is_tap = true;
    for (const auto& [data, use] : uses_)
      expect(!use.is_written || use.depth == 0 || use.has_written(0, use.buffer.channels),
          "expected steps that write all channels of the columns that later columns read");
    for (auto& [data, use] : uses_) {
      const auto is_in_buffer = [&, buffer = use.buffer](
                                    const T* address) { return contains(buffer, columns_, address); };
      use.is_kept = std::any_of(rows.reads.begin(), rows.reads.end(), is_in_buffer);
      const auto keep = [&, data = data](const Buffer& b, auto...) { uses_[data].is_kept |= b.data == data; };
      for (const auto& s : other.steps) for_each_buffer(s, keep, keep);
      expect(!use.is_written || !std::any_of(rows.writes.begin(), rows.writes.end(), is_in_buffer),
          "expected row steps that write other buffers than the steps of a column");
    }
  }

  // Outputs that only a fused pointwise step reads stay in registers, and need no ring.
  void drop_intermediates(const std::vector<ColumnStage<T>>& stages) {
    for (const auto& stage : stages)
      for (const auto& fused : stage) {
        const ColumnStep<T>* step = &fused.first;
        for (const auto& next : fused.pointwise) {
          const Use& use = uses_.at(step->output.data);
          if (use.readers == 1 && use.writers == 1 && !use.is_kept) dropped_.push_back(step->output.data);
          step = &next;
        }
      }
  }
  bool is_dropped(const T* data) const { return std::count(dropped_.begin(), dropped_.end(), data); }

  static bool is_in_memory(const Use& use) { return !use.is_written && !use.is_tap && use.depth == 0; }
  void allocate_rings() {
    for (const auto& [data, use] : uses_) {
      if (is_dropped(data) || (team_.is_cluster() && is_in_memory(use))) continue;
      // A ring needs one more column than the steps use, because the last warp loads or stores a column at the same
      // time.
      const bool is_loaded = !use.is_written, is_stored = use.is_written && use.is_kept;
      int size = 1;
      while (size < std::max<int64_t>(use.depth + 1 + is_loaded, 1 + is_stored)) size *= 2;
      const int channels = int(use.buffer.channels);
      rings_[data] = {ring_values, channels, size - 1};
      period_ = std::max(period_, size);
      const int64_t end = ring_values + int64_t(size) * channels;
      expect(end < 1 << 20, "expected a model that fits in the shared memory of a block");
      ring_values = int(end);
      if (is_loaded || use.depth > 0) loads_.push_back({data, channels, rings_[data].offset, size - 1, is_loaded});
    }
  }

  // The k-th draw of a round keeps the weights of its levels in the k-th of these parts of shared memory.
  void allocate_held(const std::vector<ColumnStage<T>>& stages) {
    held_ = int(align_up(ring_values, sizeof(double)));
    for (const auto& stage : stages)
      for (const auto& fused : stage)
        if (fused.first.kind == StepKind::kDraw)
          ring_values =
              std::max(ring_values, held_ + held_values(fused.first) * int(std::min<size_t>(kWarps, stage.size())));
  }
  static int held_values(const ColumnStep<T>& draw) {
    return held_weights(int(last_level(draw)) + 1) * int(sizeof(double) / sizeof(T));
  }
  static bool is_weighed_before(const ColumnStep<T>& s) {
    return s.kind == StepKind::kDraw && is_weighed_together(int(last_level(s)) + 1);
  }

  void add_stage(const ColumnStage<T>& stage) {
    const size_t begin = rounds_.size();
    int expected = 0;
    for (const auto& fused : stage) expected += pushed_bytes(fused);
    const size_t together = count_together(stage);
    for (size_t first = 0; first < stage.size(); first += together) {
      const std::vector<FusedStep<T>> steps{
          stage.begin() + first, stage.begin() + std::min(stage.size(), first + together)};
      const int rounds = count_rounds(steps);
      for (int i = 0; i < rounds; ++i) add_round(steps, i, rounds, rounds_.size() == begin, expected > 0);
    }
    rounds_[begin].expected = expected;
    rounds_.back().ends_stage = true;
  }
  void add_round(const std::vector<FusedStep<T>>& all, int i, int rounds, bool begins_stage, bool exchanges) {
    // In a cluster, this barrier frees the weights of earlier rounds. After a round that weighs levels, it shows them
    // to the warp that draws.
    const bool is_barrier = begins_stage || i > 0 || team_.is_cluster();
    rounds_.push_back({is_barrier, false, all, std::vector<Warp>(kWarps), exchanges});
    Round& round = rounds_.back();
    const int steps = int(all.size());
    for (int k = 0; k < steps; ++k) {
      Warp warp;
      const ColumnStep<T>& s = round.steps[k].first;
      warp.step = &round.steps[k], warp.first_warp = kWarps * k / steps;
      warp.warps = kWarps * (k + 1) / steps - warp.first_warp;
      warp.first_quad = share(s) * i / rounds, warp.end_quad = share(s) * (i + 1) / rounds;
      if (is_product(s) ? warp.first_quad == warp.end_quad : i > is_weighed_before(s)) continue;
      warp.is_weighing = is_weighed_before(s) && i == 0;
      if (s.kind == StepKind::kDraw) warp.held = held_ + k * held_values(s);
      place_weights(s, warp);
      for (int w = 0; w < warp.warps; ++w) round.warp[warp.first_warp + w] = warp;
    }
    round.stream_end = stream_values_;
  }
  int share(const ColumnStep<T>& s) const { return (count_quads(s) + team_.blocks - 1) / team_.blocks; }
  static int64_t quad_bytes(const ColumnStep<T>& s) {
    return is_product(s) ? std::max(count_channels(s), 1) * kQuad * int64_t(sizeof(T)) : 0;
  }
  // The steps of a column are divided into rounds. In a cluster, the weights of one round may take at most half of the
  // ring buffer of weights in shared memory.
  size_t count_together(const ColumnStage<T>& stage) const {
    size_t together = kWarps;
    if (team_.is_cluster())
      for (const auto& fused : stage)
        while (together > 1 && quad_bytes(fused.first) * int64_t(together) > team_.stream_bytes / 2) together /= 2;
    return together;
  }
  int count_rounds(const std::vector<FusedStep<T>>& steps) const {
    int64_t rounds = 1;
    for (const auto& fused : steps) {
      if (is_weighed_before(fused.first)) rounds = std::max<int64_t>(rounds, 2);
      if (const int64_t bytes = quad_bytes(fused.first); team_.is_cluster() && bytes) {
        const int64_t most = team_.stream_bytes / 2 / int64_t(steps.size()) / bytes;
        expect(most > 0, "expected a model whose weights of four outputs fit in shared memory");
        rounds = std::max(rounds, (share(fused.first) + most - 1) / most);
      }
    }
    return int(rounds);
  }
  // Returns the bytes of a step's results that a block receives from all blocks, including itself.
  int pushed_bytes(const FusedStep<T>& fused) const {
    if (!team_.is_cluster() || !is_product(fused.first)) return 0;
    std::set<const T*> results{fused.first.output.data};
    if (fused.first.kind == StepKind::kCell) results.insert({fused.first.c.data, fused.first.h.data});
    for (const auto& next : fused.pointwise) results.insert(next.output.data);
    const int64_t count = std::count_if(results.begin(), results.end(), [&](const T* r) { return !is_dropped(r); });
    return int(count * (fused.first.stop - fused.first.start) * int64_t(sizeof(T)));
  }
  static std::vector<ColumnTap<T>> taps(const ColumnStep<T>& s) {
    std::vector<ColumnTap<T>> with_channels;
    for (const auto& tap : s.taps)
      if (tap.channels) with_channels.push_back(tap);
    return with_channels;
  }
  void place_weights(const ColumnStep<T>& s, Warp& warp) {
    if (!is_product(s)) return;
    // A step without taps gets one tap of one channel, which is 0.
    const int channels = std::max(count_channels(s), 1), quads = warp.end_quad - warp.first_quad;
    const int64_t count = int64_t(quads) * channels * kQuad;
    if (team_.is_cluster()) {
      expect(stream_values_ + count < kMaxSize, "expected a model of fewer weights");
      warp.weights = int(stream_values_);
      for (int rank = 0; rank < team_.blocks && count_channels(s); ++rank) {
        const int64_t first = rank * share(s) + warp.first_quad,
                      used = std::clamp<int64_t>(count_quads(s) - first, 0, quads);
        if (used > 0)
          stream.push_back({rank, {s.packed + first * channels * kQuad, stream_values_, int(used * channels * kQuad)}});
      }
      stream_values_ += count;
    } else {
      expect(weight_values_ + count < 1 << 20, "expected a model whose weights fit in the shared memory of a block");
      warp.weights = weight_values_;
      if (count_channels(s)) weights_.push_back({s.packed, weight_values_, int(count)});
      weight_values_ += int(count);
    }
    // For each group of outputs that the lanes compute at the same time, the estimate assumes 60 cycles. It adds 8
    // cycles for each channel that a lane multiplies, and 30 for each level of shuffles.
    double least = INFINITY;
    for (int log_lanes = 2; log_lanes <= 5; ++log_lanes) {  // 4 lanes or more, because each finishes one output
      double in_turn = 0;
      for (const auto& tap : s.taps) in_turn += std::ceil(double(tap.channels) / (1 << log_lanes));
      const double passes = std::ceil(double(quads) / (32 * warp.warps >> log_lanes));
      const double cycles = passes * (60 + 8 * in_turn + 30 * log_lanes);
      if (cycles < least) least = cycles, warp.log_lanes = log_lanes;
    }
  }

  // Finds the stages of the stream that each round frees.
  void plan_stream() {
    const int64_t stage = team_.stream_bytes / kStreamStages / int64_t(sizeof(T));
    stream_stages_ = int((stream_values_ + stage - 1) / stage);
    const size_t rounds = rounds_.size();
    const auto done = [&](size_t n) {  // stages that the first n rounds of a column free
      return n == 0 ? 0 : n == rounds ? stream_stages_ : int(rounds_[n - 1].stream_end / stage);
    };
    for (size_t r = 0; r < rounds; ++r) {
      const size_t before = r == 0 ? rounds : r;
      rounds_[r].freed = done(before) - done(before - 1);
    }
  }

  struct Part {
    MoveKind kind;
    const T* data;
    int first;
  };
  // Divides the last warp's copies among the rounds. Loads come first, because they take long.
  void plan_moves() {
    for (const auto& s : program_.steps)
      if (s.kind == StepKind::kDraw && parts_.empty()) parts_.push_back({MoveKind::fetch, nullptr, 0});
    for (const bool is_load : {true, false})
      for (const auto& [data, use] : uses_)
        if (is_load != use.is_written && (is_load || use.is_kept) && rings_.count(data))
          for (int first = 0; first < rings_[data].channels; first += kMovedChannels)
            parts_.push_back({is_load ? MoveKind::load : MoveKind::store, data, first});
    while (!rounds_.empty() && moves_per_round_ * rounds_.size() < parts_.size()) ++moves_per_round_;
  }

  void write_records() {
    for (int column = 0; column < period_; ++column)
      for (size_t r = 0; r < rounds_.size(); ++r) {
        for (int w = 0; w < kWarps; ++w) {
          const Warp& warp = rounds_[r].warp[w];
          BlockRecord record{};
          if (warp.step) record = record_of(warp, w, column);
          set_round(record, r);
          records_.push_back(record);
        }
        BlockRecord mover{};
        mover.set(BlockKind::move, 0, 0), set_round(mover, r);
        mover.place[kExpected] = rounds_[r].expected, mover.place[kFreed] = rounds_[r].freed;
        mover.weights = int(moves_.size());
        records_.push_back(mover);
        for (int k = 0; k < moves_per_round_; ++k) {
          const size_t part = k * rounds_.size() + r;
          moves_.push_back(part < parts_.size() ? move_of(parts_[part], column) : BlockMove<T>{});
        }
      }
  }
  void set_round(BlockRecord& record, size_t r) const {
    const Round& round = rounds_[r];
    record.set_round(round.is_barrier, r == 0, round.ends_stage, round.exchanges);
  }
  BlockMove<T> move_of(const Part& part, int column) const {
    BlockMove<T> move{};
    move.kind = part.kind;
    if (part.kind == MoveKind::fetch) return move;
    const Ring& ring = rings_.at(part.data);
    column += part.kind == MoveKind::load ? 1 : -1;
    move.count = std::min(kMovedChannels, ring.channels - part.first), move.channels = ring.channels;
    move.place = ring.offset + (column & ring.mask) * ring.channels + part.first;
    move.row = const_cast<T*>(part.data) + part.first;
    return move;
  }

  BlockRecord record_of(const Warp& warp, int w, int column) {
    const ColumnStep<T>& s = warp.step->first;
    const auto at = [&](const Buffer& b, int64_t shift, int64_t channel) {
      if (!b.data) return kZeros;
      if (is_dropped(b.data)) return -1;
      if (!rings_.count(b.data)) return operand_place(b, channel);
      const Ring& ring = rings_.at(b.data);
      return ring.offset + int((column + shift) & ring.mask) * ring.channels + int(channel);
    };
    BlockRecord r{};
    r.first_thread = 32 * (w - warp.first_warp), r.threads = 32 * warp.warps;
    r.weights = warp.weights, r.first_quad = warp.first_quad, r.quads = warp.end_quad;
    r.channels = std::max(count_channels(s), 1);
    r.count = int(s.stop - s.start);
    if (s.relu) r.set_relu(0);
    r.base = at(s.base, 0, s.start), r.output = at(s.output, 0, s.start);
    const auto used = taps(s);
    const auto set_kind = [&](BlockKind kind) { r.set(kind, warp.log_lanes, std::max<size_t>(used.size(), 1)); };
    r.more_taps = int(more_taps_.size());
    if (used.empty()) r.x[0] = kZeros, r.width[0] = 1;
    for (size_t t = 0; t < used.size(); ++t) {
      const BlockTap tap{at(used[t].input, used[t].shift, 0), int(used[t].channels)};
      if (t < size_t(kRecordTaps)) r.x[t] = tap.x, r.width[t] = tap.width;
      else more_taps_.push_back(tap);
    }
    switch (s.kind) {
      case StepKind::kLinear:
        set_kind(BlockKind::linear);
        add_pointwise(r, *warp.step, at);
        keep_last({&r.output, &r.place[1], &r.place[3]});
        break;
      case StepKind::kCell:
        set_kind(BlockKind::cell);
        r.place[kGateStride] = int(s.h.channels), r.place[kCarried] = at(s.carried, s.shift, s.start);
        r.place[kAddend] = at(s.addend, 0, s.start), r.place[kC] = at(s.c, 0, s.start);
        r.place[kH] = at(s.h, 0, s.start);
        keep_last({&r.place[kC], &r.place[kH], &r.output});
        break;
      case StepKind::kPointwise: set_kind(BlockKind::pointwise), r.place[0] = at(s.addend, 0, s.start); break;
      default:
        // A draw may have several warps. All of them weigh levels, but only the first one draws.
        set_kind(warp.is_weighing ? BlockKind::weigh : w == warp.first_warp ? BlockKind::draw : BlockKind::idle);
        r.output = at(s.output, 0, s.colour), r.weights = place_scaled(s);
        r.place[kColour] = int(s.colour), r.place[kLastLevel] = int(last_level(s));
        r.place[kHeld] = warp.held, r.place[kIsWeighed] = is_weighed_before(s);
    }
    return r;
  }
  // If a step writes one place twice, a cluster stores only the last result, because its stores have no order.
  void keep_last(std::initializer_list<int*> results) const {
    if (!team_.is_cluster()) return;
    for (auto a = results.begin(); a != results.end(); ++a)
      for (auto b = a + 1; b != results.end(); ++b)
        if (**a == **b) **a = -1;
  }
  int operand_place(const Buffer& b, int64_t channel) {
    const auto [found, is_new] = operand_of_.try_emplace(b.data + channel, int(operands_.size()));
    if (is_new) operands_.push_back({b.data, int(b.channels), int(channel)});
    return -2 - found->second;
  }
  // All colours share a table of scaled values, which lies among the weights.
  int place_scaled(const ColumnStep<T>& s) {
    const auto [found, is_new] = scaled_.try_emplace(s.scaled, weight_values_);
    if (is_new) {
      const int count = int(last_level(s)) + 1;
      weights_.push_back({s.scaled, weight_values_, count});
      weight_values_ += (count + kQuad - 1) / kQuad * kQuad;
    }
    return found->second;
  }
  template <class At> void add_pointwise(BlockRecord& r, const FusedStep<T>& fused, const At& at) {
    const ColumnStep<T>* before = &fused.first;
    for (int f = 0; f < kMaxFused; ++f) r.place[2 * f] = kZeros, r.place[2 * f + 1] = -1;
    int i = 0;
    for (const auto& next : fused.pointwise) {
      const bool is_left = next.base.data == before->output.data;
      r.place[2 * i] = at(is_left ? next.addend : next.base, 0, next.start);
      r.place[2 * i + 1] = at(next.output, 0, next.start);
      ++i;
      if (next.relu) r.set_relu(i);
      before = &next;
    }
  }
  const ColumnProgram<T>& program_;
  const int64_t columns_;  // columns times images
  const Team team_;
  std::vector<WeightCopy<T>>& weights_;
  int& weight_values_;
  std::map<const T*, Use> uses_;
  std::vector<const T*> dropped_;
  std::map<const T*, Ring> rings_;
  int held_ = 0;
  static constexpr int kZeros = 0;  // place of the zeros for absent operands
  int period_ = 1;
  std::map<const T*, int> scaled_;
  int64_t stream_values_ = 0;  // weights of a column
  int stream_stages_ = 0;      // of a column
  std::vector<Round> rounds_;
  std::vector<Part> parts_;
  int moves_per_round_ = 1;
  std::vector<BlockRecord> records_;
  std::vector<BlockMove<T>> moves_;
  std::vector<BlockTap> more_taps_;
  std::vector<BlockLoad<T>> loads_;
  std::vector<BlockOperand<T>> operands_;
  std::map<const T*, int> operand_of_;
};

}  // namespace pixelrnn::cuda
