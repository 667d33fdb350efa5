#include "block_plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "column_stages.h"

namespace pixelrnn::cuda {
namespace {

// The most images for each multiprocessor that this kernel draws. By estimate, a launch for each stage draws more
// images faster (docs/sampling.md).
constexpr int kMaxWaves = 2;
constexpr int kWarps = 4;               // warps that run steps: one for each scheduler of a multiprocessor
constexpr int kMovedChannels = 4 * 32;  // the most channels of one move of the last warp

struct Ring { int offset, channels, mask; };

// Collects arrays that the kernel reads in one piece of memory. Each array is aligned to 16 bytes.
class Blob {
 public:
  template <class U> int64_t add(const std::vector<U>& values) {
    bytes.resize((bytes.size() + 15) / 16 * 16);
    const int64_t offset = int64_t(bytes.size());
    bytes.resize(bytes.size() + values.size() * sizeof(U));
    if (!values.empty()) std::memcpy(bytes.data() + offset, values.data(), values.size() * sizeof(U));
    return offset;
  }
  std::vector<unsigned char> bytes;
};

// Returns whether the address lies in the memory of a buffer.
template <class T> bool contains(const RowBuffer<T>& buffer, int64_t columns, const T* address) {
  return buffer.data <= address && address < buffer.data + columns * buffer.channels;
}

// The addresses that row steps read and write.
template <class T> struct RowStepAccess {
  std::vector<const T*> reads, writes;
  void add(const RowProgram<T>& program) {
    for (const RowStep<T>& s : program.steps) {
      writes.push_back(s.output);
      for (const auto& tap : s.taps) reads.push_back(tap.source);
    }
  }
};

// Calls reads(buffer, shift, first channel, end) for each buffer that the step reads. Calls writes(buffer, first
// channel, end) for each buffer that it writes.
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

// Returns the largest number of channels that a step of the program may read of an absent operand.
template <class T> int most_channels(const ColumnProgram<T>& program) {
  int64_t most = 1;
  for (const auto& s : program.steps) most = std::max(most, s.stop);
  return int(most);
}

// Plans one of the two column programs of a row. The programs run one after the other, and each fills its rings at the
// start of a row, so the rings of both use the same memory. This memory begins with zeros for `channels` channels.
template <class T> class ProgramPlanner {
  using Buffer = RowBuffer<T>;

 public:
  // other: the other column program of the row. The constructor adds this program's weights to `weights`, and their
  // number to `weight_values`.
  ProgramPlanner(const ColumnProgram<T>& program, const ColumnProgram<T>& other, const RowStepAccess<T>& rows,
      int channels, std::vector<BlockWeights<T>>& weights, int& weight_values)
      : ring_values(channels),
        program_(program),
        columns_((program.margin() + program.width()) * program.images()),
        weights_(weights),
        weight_values_(weight_values) {
    const auto stages = column_stages(program.steps);
    collect_buffers(other, rows);
    drop_intermediates(stages);
    allocate_rings();
    for (const auto& stage : stages)
      for (size_t first = 0; first < stage.size(); first += kWarps)
        add_round(stage, first, std::min(stage.size(), first + kWarps));
    plan_moves();
    write_records();
  }

  int ring_values;

  BlockProgram<T> add_to(Blob& blob) const {
    BlockProgram<T> p{};
    p.rounds = int(rounds_.size()), p.period = period_, p.warps = kWarps, p.loads = int(loads_.size());
    p.moves_per_round = moves_per_round_, p.moves_per_column = moves_per_round_ * p.rounds;
    p.records = blob.add(records_), p.moves = blob.add(moves_), p.taps = blob.add(more_taps_),
    p.load = blob.add(loads_);
    return p;
  }

 private:
  struct Use {
    Buffer buffer;
    bool is_written = false;
    int64_t depth = 0;  // how many columns back steps read
    int readers = 0, writers = 0;
    bool is_kept = false;  // whether row steps read the buffer, or the other program uses it
    std::vector<bool> written = {};

    // Notes that a step writes channels of the current column. Until then, the ring holds no values of these channels.
    void add_written(int64_t first, int64_t end) {
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
  };
  struct Round {
    bool is_barrier;
    std::vector<FusedStep<T>> steps;
    std::vector<Warp> warp;
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

  // Drops the outputs that only a fused pointwise step reads. The kernel keeps them in registers, so they need no ring.
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

  void allocate_rings() {
    for (const auto& [data, use] : uses_) {
      if (is_dropped(data)) continue;
      // While the warps compute a column, the last warp loads the next one or stores the previous one. The ring has
      // room for it.
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

  void add_round(const ColumnStage<T>& stage, size_t first, size_t last) {
    rounds_.push_back({first == 0, {stage.begin() + first, stage.begin() + last}, std::vector<Warp>(kWarps)});
    Round& round = rounds_.back();
    const int steps = int(last - first);
    for (int i = 0; i < steps; ++i) {
      Warp warp;
      warp.step = &round.steps[i], warp.first_warp = kWarps * i / steps;
      warp.warps = kWarps * (i + 1) / steps - warp.first_warp;
      place_weights(round.steps[i].first, warp);
      for (int w = 0; w < warp.warps; ++w) round.warp[warp.first_warp + w] = warp;
    }
  }
  static int quads(const ColumnStep<T>& s) {
    return int(s.kind == StepKind::kCell ? s.stop - s.start : (s.stop - s.start + kQuad - 1) / kQuad);
  }
  static int channels(const ColumnStep<T>& s) {
    int all = 0;
    for (const auto& tap : s.taps) all += int(tap.channels);
    return all;
  }
  static std::vector<ColumnTap<T>> taps(const ColumnStep<T>& s) {
    std::vector<ColumnTap<T>> with_channels;
    for (const auto& tap : s.taps)
      if (tap.channels) with_channels.push_back(tap);
    return with_channels;
  }
  void place_weights(const ColumnStep<T>& s, Warp& warp) {
    if (s.kind != StepKind::kLinear && s.kind != StepKind::kCell) return;
    if (channels(s) == 0) {
      warp.weights = weight_values_, weight_values_ += kQuad;  // zeros
      return;
    }
    const int64_t count = int64_t(quads(s)) * channels(s) * kQuad;
    expect(weight_values_ + count < 1 << 20, "expected a model whose weights fit in the shared memory of a block");
    warp.weights = weight_values_;
    weights_.push_back({s.packed, weight_values_, int(count)});
    weight_values_ += int(count);
    // Cycles by estimate, not measured on a GPU: 8 for each channel that a lane multiplies, 30 for each level of
    // shuffles, 60 for each pass.
    double least = INFINITY;
    for (int log_lanes = 2; log_lanes <= 5; ++log_lanes) {  // 4 lanes or more, because each finishes one output
      double in_turn = 0;
      for (const auto& tap : s.taps) in_turn += std::ceil(double(tap.channels) / (1 << log_lanes));
      const double passes = std::ceil(double(quads(s)) / (32 * warp.warps >> log_lanes));
      const double cycles = passes * (60 + 8 * in_turn + 30 * log_lanes);
      if (cycles < least) least = cycles, warp.log_lanes = log_lanes;
    }
  }

  // Channels of a buffer that the last warp copies in one move.
  struct Part {
    MoveKind kind;
    const T* data;
    int first;
  };
  // Divides the last warp's moves among the rounds of a column. Loads take long. The plan assigns them first, so that
  // few loads share a round.
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
          record.set_round(rounds_[r].is_barrier, r == 0);
          records_.push_back(record);
        }
        BlockRecord mover{};
        mover.set(BlockKind::move, 0, 0), mover.set_round(rounds_[r].is_barrier, r == 0);
        mover.weights = int(moves_.size());
        records_.push_back(mover);
        for (int k = 0; k < moves_per_round_; ++k) {
          const size_t part = k * rounds_.size() + r;
          moves_.push_back(part < parts_.size() ? move_of(parts_[part], column) : BlockMove<T>{});
        }
      }
  }
  // Returns the last warp's move while other warps compute `column`. It loads the next column or stores the previous
  // one.
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
      const Ring& ring = rings_.at(b.data);
      return ring.offset + int((column + shift) & ring.mask) * ring.channels + int(channel);
    };
    BlockRecord r{};
    r.first_thread = 32 * (w - warp.first_warp), r.threads = 32 * warp.warps;
    r.weights = warp.weights, r.quads = quads(s), r.channels = channels(s);
    r.count = int(s.stop - s.start);
    if (s.relu) r.set_relu(0);
    r.base = at(s.base, 0, s.start), r.output = at(s.output, 0, s.start);
    const auto used = taps(s);
    const auto set_kind = [&](BlockKind kind) { r.set(kind, warp.log_lanes, std::max<size_t>(used.size(), 1)); };
    r.more_taps = int(more_taps_.size());
    if (used.empty()) r.x[0] = kZeros, r.width[0] = 1;  // zeros times the zero weights of place_weights()
    for (size_t t = 0; t < used.size(); ++t) {
      const BlockTap tap{at(used[t].input, used[t].shift, 0), int(used[t].channels)};
      if (t < size_t(kRecordTaps)) r.x[t] = tap.x, r.width[t] = tap.width;
      else more_taps_.push_back(tap);
    }
    switch (s.kind) {
      case StepKind::kLinear:
        set_kind(BlockKind::linear);
        add_pointwise(r, *warp.step, at);
        break;
      case StepKind::kCell:
        set_kind(BlockKind::cell);
        r.place[kGateStride] = int(s.h.channels), r.place[kCarried] = at(s.carried, s.shift, s.start);
        r.place[kAddend] = at(s.addend, 0, s.start), r.place[kC] = at(s.c, 0, s.start);
        r.place[kH] = at(s.h, 0, s.start);
        break;
      case StepKind::kPointwise: set_kind(BlockKind::pointwise), r.place[0] = at(s.addend, 0, s.start); break;
      default:
        // A draw may have several warps. Only the first one draws the value.
        set_kind(w == warp.first_warp ? BlockKind::draw : BlockKind::idle);
        r.output = at(s.output, 0, s.colour), r.weights = place_scaled(s);
        r.place[kColour] = int(s.colour), r.place[kLastLevel] = int(last_level(s));
    }
    return r;
  }
  // Puts the scaled values of all levels among the weights, and returns their index there. All colours share one table.
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
  const int64_t columns_;  // the number of columns times the number of images
  std::vector<BlockWeights<T>>& weights_;
  int& weight_values_;
  std::map<const T*, Use> uses_;
  std::vector<const T*> dropped_;
  std::map<const T*, Ring> rings_;
  static constexpr int kZeros = 0;  // zeros come first in the rings' memory
  int period_ = 1;
  std::map<const T*, int> scaled_;
  std::vector<Round> rounds_;
  std::vector<Part> parts_;
  int moves_per_round_ = 1;
  std::vector<BlockRecord> records_;
  std::vector<BlockMove<T>> moves_;
  std::vector<BlockTap> more_taps_;
  std::vector<BlockLoad<T>> loads_;
};

template <class T> void add_row_steps(const RowProgram<T>& program, int64_t images, std::vector<RowStepArgs<T>>& steps,
    std::vector<RowTapArgs<T>>& taps) {
  for (const RowStep<T>& s : program.steps) {
    expect(reinterpret_cast<uintptr_t>(s.packed) % 16 == 0, "expected weights aligned to 16 bytes");
    expect(s.columns * s.outputs < kMaxSize, "expected a row of fewer than 2^31 values");
    const int64_t values = s.columns * s.outputs * images;
    expect(!s.is_copy || s.output + values <= s.taps[0].source || s.taps[0].source + values <= s.output,
        "expected a copy to other memory");
    steps.push_back(
        {s.is_copy, s.is_mirrored, s.output, int(s.columns), int(s.outputs), int(s.taps.size()), int(s.channels),
            int(taps.size()), s.bias, s.map, s.packed, s.map_image, s.map_channel, s.map_row, s.map_column});
    for (const auto& tap : s.taps) taps.push_back({tap.source, int(tap.channels), 0});
  }
}

}  // namespace

template <class T> BlockPlan<T> plan_block(const ColumnProgram<T>& main, const ColumnProgram<T>& mirrored,
    const RowProgram<T>& before_row, const RowProgram<T>& after_row, const Device& device) {
  expect(main.images() > 0, "expected images");
  expect(main.images() <= kMaxWaves * device.multiprocessors, "expected at most ", kMaxWaves * device.multiprocessors,
      " images, two for each multiprocessor, got ", main.images());
  RowStepAccess<T> rows;
  rows.add(before_row), rows.add(after_row);
  BlockPlan<T> plan;
  BlockArgs<T>& a = plan.args;
  std::vector<BlockWeights<T>> weights;
  const int channels = std::max(most_channels(main), most_channels(mirrored));
  const ProgramPlanner<T> main_plan(main, mirrored, rows, channels, weights, a.weight_values),
      mirrored_plan(mirrored, main, rows, channels, weights, a.weight_values);
  Blob blob;
  a.main = main_plan.add_to(blob), a.mirrored = mirrored_plan.add_to(blob);
  a.bytes = int64_t(blob.bytes.size() + 15) / 16 * 16;  // so far, the list holds only the column programs
  std::vector<RowStepArgs<T>> row_steps;
  std::vector<RowTapArgs<T>> row_taps;
  add_row_steps(before_row, main.images(), row_steps, row_taps);
  a.before_row = int(row_steps.size());
  add_row_steps(after_row, main.images(), row_steps, row_taps);
  a.after_row = int(row_steps.size()) - a.before_row;
  a.row_steps = blob.add(row_steps), a.row_taps = blob.add(row_taps), a.weights = blob.add(weights);
  a.weight_copies = int(weights.size());
  a.weight_values = (a.weight_values + 3) / 4 * 4;
  a.ring_values = (std::max(main_plan.ring_values, mirrored_plan.ring_values) + 3) / 4 * 4;
  a.images = int(main.images()), a.width = int(main.width()), a.margin = int(main.margin());
  for (const auto& s : main.steps)
    if (s.kind == StepKind::kDraw) {
      expect(a.colours == 0 || (a.colours == s.output.channels && a.logits == s.stop - s.start),
          "expected draws of the same image and number of levels");
      a.colours = int(s.output.channels), a.logits = int(s.stop - s.start);
    }
  for (const auto& s : mirrored.steps) expect(s.kind != StepKind::kDraw, "expected no draw in the mirrored program");
  plan.memory = std::move(blob.bytes);
  plan.threads = 32 * (kWarps + 1);
  const int64_t fetched = 2 * a.colours * int64_t(sizeof(FetchedValue));
  const int64_t needed = a.bytes + (a.weight_values + a.ring_values) * int64_t(sizeof(T)) + fetched;
  expect(needed <= device.shared_memory, "expected a model that fits in ", device.shared_memory,
      " bytes of shared memory, got one that needs ", needed);
  plan.shared_memory = unsigned(needed);
  return plan;
}
template BlockPlan<float> plan_block(const ColumnProgram<float>&, const ColumnProgram<float>&, const RowProgram<float>&,
    const RowProgram<float>&, const Device&);
template BlockPlan<double> plan_block(const ColumnProgram<double>&, const ColumnProgram<double>&,
    const RowProgram<double>&, const RowProgram<double>&, const Device&);

}  // namespace pixelrnn::cuda
