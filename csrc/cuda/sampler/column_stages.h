// Divides the steps of a column (../../columns/steps.h) into stages. The steps of a stage do not depend on each other,
// so one launch runs them. Different buffers must share no memory.
#pragma once
#include <algorithm>
#include <vector>

#include "../../columns/steps.h"
#include "../../columns/tensor_view.h"
#include "column_kernel.h"

namespace pixelrnn::cuda {

// A step, and the pointwise steps that the same thread runs on each output.
template <class T> struct FusedStep {
  ColumnStep<T> first;
  std::vector<ColumnStep<T>> pointwise;
};
template <class T> using ColumnStage = std::vector<FusedStep<T>>;

// A range of a buffer's channels at the current column, which a step reads or writes. Columns to the left of the
// current one need no range, because they are complete before any step of the current column runs.
struct ChannelRange {
  const void* data;
  int64_t start, stop;
  bool overlaps(const ChannelRange& other) const {
    return data && data == other.data && start < other.stop && other.start < stop;
  }
};
struct ChannelAccess {
  std::vector<ChannelRange> reads, writes;

  static bool overlap(const std::vector<ChannelRange>& a, const std::vector<ChannelRange>& b) {
    return std::any_of(a.begin(), a.end(), [&](const ChannelRange& x) {
      return std::any_of(b.begin(), b.end(), [&](const ChannelRange& y) { return x.overlaps(y); });
    });
  }
  bool precedes(const ChannelAccess& later) const {
    return overlap(writes, later.reads) || overlap(reads, later.writes) || overlap(writes, later.writes);
  }
  void add(const ChannelAccess& other) {
    reads.insert(reads.end(), other.reads.begin(), other.reads.end());
    writes.insert(writes.end(), other.writes.begin(), other.writes.end());
  }
};

template <class T> std::vector<ChannelRange> tap_reads(const ColumnStep<T>& s) {
  std::vector<ChannelRange> reads;
  for (const auto& tap : s.taps)
    if (tap.shift == 0) reads.push_back({tap.input.data, 0, tap.channels});
  return reads;
}

template <class T> ChannelAccess access_of(const ColumnStep<T>& s) {
  ChannelAccess access{tap_reads(s), {}};
  const auto range = [&](const auto& buffer) { return ChannelRange{buffer.data, s.start, s.stop}; };
  if (s.kind == StepKind::kDraw) {
    const ChannelRange value{s.values.data, s.colour, s.colour + 1}, known{s.known.data, s.colour, s.colour + 1};
    access.reads = {range(s.base), value, known};
    access.writes = {value, {s.output.data, s.colour, s.colour + 1}};
  } else if (s.kind == StepKind::kCell) {
    access.reads.push_back({s.base.data, 0, s.base.channels});
    access.reads.push_back(range(s.addend));
    if (s.shift == 0) access.reads.push_back(range(s.carried));
    access.writes = {range(s.c), range(s.h), range(s.output)};
  } else {
    access.reads.push_back(range(s.base));
    if (s.kind == StepKind::kPointwise) access.reads.push_back(range(s.addend));
    access.writes = {range(s.output)};
  }
  return access;
}

// A pointwise step can be fused if it reads exactly the output of the last step in `before`, and no other output of
// `before`. It must not write channels that other threads of `before` read.
template <class T> bool can_fuse(const FusedStep<T>& before, const ColumnStep<T>& s) {
  if (before.first.kind != StepKind::kLinear || s.kind != StepKind::kPointwise ||
      before.pointwise.size() == size_t(kMaxFused))
    return false;
  const ColumnStep<T>& last = before.pointwise.empty() ? before.first : before.pointwise.back();
  const bool is_left = s.base.data == last.output.data, is_right = s.addend.data == last.output.data;
  const T* const other = is_left ? s.addend.data : s.base.data;
  const auto writes_other = [&](const ColumnStep<T>& step) { return other && step.output.data == other; };
  return is_left != is_right && s.start == last.start && s.stop == last.stop && !writes_other(before.first) &&
         std::none_of(before.pointwise.begin(), before.pointwise.end(), writes_other) &&
         !ChannelAccess::overlap(tap_reads(before.first), access_of(s).writes);
}

// Puts each step into the earliest stage after the steps on which it depends. Throws std::runtime_error if a GPU cannot
// run a step.
template <class T> std::vector<ColumnStage<T>> column_stages(const std::vector<ColumnStep<T>>& steps) {
  std::vector<FusedStep<T>> fused;
  std::vector<ChannelAccess> accesses;
  for (const ColumnStep<T>& s : steps) {
    expect(s.kind != StepKind::kEncode && s.kind != StepKind::kDecode, "expected a CPU to encode or decode, got a GPU");
    expect(s.taps.size() <= size_t(kMaxTaps), "expected a step of at most 8 taps on a GPU, got more");
    if (s.start == s.stop) continue;
    const ChannelAccess access = access_of(s);
    expect(!ChannelAccess::overlap(tap_reads(s), access.writes),
        "expected a step that reads other channels than it writes");
    if (!fused.empty() && can_fuse(fused.back(), s)) {
      fused.back().pointwise.push_back(s);
      accesses.back().add(access);
    } else {
      fused.push_back({s, {}});
      accesses.push_back(access);
    }
  }
  std::vector<ColumnStage<T>> stages;
  std::vector<size_t> stage_of;
  for (size_t i = 0; i < fused.size(); ++i) {
    size_t stage = 0;
    for (size_t j = 0; j < i; ++j)
      if (accesses[j].precedes(accesses[i])) stage = std::max(stage, stage_of[j] + 1);
    stage_of.push_back(stage);
    if (stage == stages.size()) stages.emplace_back();
    stages[stage].push_back(fused[i]);
  }
  return stages;
}

// Returns the launches for one column. Throws std::runtime_error if a GPU cannot run a step.
template <class T> int64_t count_launches(const std::vector<ColumnStep<T>>& steps) {
  int64_t launches = 0;
  for (const auto& stage : column_stages(steps)) launches += (stage.size() + kMaxStageSteps - 1) / kMaxStageSteps;
  return launches;
}

}  // namespace pixelrnn::cuda
