#include "block_plan.h"

#include "program_planner.h"

namespace pixelrnn::cuda {
namespace {

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

template <class T> double cycles_of_rows(const RowProgram<T>& program, const Team& team) {
  const double threads = 32. * (kWarps + 1) * team.blocks;
  double cycles = 0;
  for (const RowStep<T>& s : program.steps) {
    const double items =
        s.is_copy ? double(s.columns * s.outputs) : double((s.columns + 3) / 4 * ((s.outputs + 3) / 4));
    cycles +=
        kRowBarrierCycles + std::ceil(items / threads) * (kRowLoadCycles + double(s.channels) * kRowChannelCycles);
  }
  return cycles;
}

template <class T> struct Programs {
  const ColumnProgram<T>&main, &mirrored;
  const RowProgram<T>&before_row, &after_row;
};

// Returns the estimated time of a pixel of all images with a launch for each stage (columns.h).
template <class T> double seconds_of_stages(const Programs<T>& programs) {
  double seconds = 0;
  for (const ColumnProgram<T>* program : {&programs.main, &programs.mirrored}) {
    seconds += kLaunchSeconds * double(count_launches(program->steps));
    for (const auto& s : program->steps)
      if (is_product(s)) seconds += double(count_quads(s)) * count_channels(s) * kQuad * sizeof(T) / kCacheBandwidth;
  }
  return seconds;
}

// Returns a plan that may need more shared memory than the GPU has, so the caller has to check this.
template <class T> BlockPlan<T> plan_for(const Programs<T>& programs, const Device& device, const Team& team) {
  const auto& [main, mirrored, before_row, after_row] = programs;
  RowStepAccess<T> rows;
  rows.add(before_row), rows.add(after_row);
  BlockPlan<T> plan;
  BlockArgs<T>& a = plan.args;
  std::vector<WeightCopy<T>> weights;
  const int channels = std::max(most_channels(main), most_channels(mirrored));
  const ProgramPlanner<T> main_plan(main, mirrored, rows, channels, team, weights, a.weight_values),
      mirrored_plan(mirrored, main, rows, channels, team, weights, a.weight_values);
  Blob blob;
  a.blocks = team.blocks;
  a.main = main_plan.add_to(blob), a.mirrored = mirrored_plan.add_to(blob);
  a.mirrored.first_stage = a.main.stages;
  const auto add_records = [&] {
    a.main.records = main_plan.add_records_to(blob), a.mirrored.records = mirrored_plan.add_records_to(blob);
  };
  if (!team.is_cluster()) add_records();
  a.bytes = align_up(blob.bytes.size(), 16);  // the lists so far are copied to shared memory
  if (team.is_cluster()) add_records();
  std::vector<RowStepArgs<T>> row_steps;
  std::vector<RowTapArgs<T>> row_taps;
  add_row_steps(before_row, main.images(), row_steps, row_taps);
  a.before_row = int(row_steps.size());
  add_row_steps(after_row, main.images(), row_steps, row_taps);
  a.after_row = int(row_steps.size()) - a.before_row;
  a.row_steps = blob.add(row_steps), a.row_taps = blob.add(row_taps), a.weights = blob.add(weights);
  a.weight_copies = int(weights.size());
  a.weight_values = int(align_up(a.weight_values, 4));
  a.ring_values = int(align_up(std::max(main_plan.ring_values, mirrored_plan.ring_values), 4));
  a.images = int(main.images()), a.width = int(main.width()), a.margin = int(main.margin());
  for (const auto& s : main.steps)
    if (s.kind == StepKind::kDraw) {
      expect(a.colours == 0 || (a.colours == s.output.channels && a.logits == s.stop - s.start),
          "expected draws of the same image and number of levels");
      a.colours = int(s.output.channels), a.logits = int(s.stop - s.start);
    }
  for (const auto& s : mirrored.steps) expect(s.kind != StepKind::kDraw, "expected no draw in the mirrored program");
  int64_t shared =
      a.bytes + (a.weight_values + a.ring_values) * int64_t(sizeof(T)) + 2 * a.colours * int64_t(sizeof(FetchedValue));
  if (team.is_cluster()) {
    while (int(kStreamStages * sizeof(T)) << a.log_stage < team.stream_bytes) ++a.log_stage;
    const int64_t rank_values = int64_t(a.main.stages + a.mirrored.stages) << a.log_stage;
    for (const auto* program : {&main_plan, &mirrored_plan})
      for (const auto& part : program->stream) {
        plan.stream.push_back(part.copy);
        plan.stream.back().to +=
            part.rank * rank_values + (program == &mirrored_plan ? int64_t(a.main.stages) << a.log_stage : 0);
      }
    plan.stream_values = team.blocks * rank_values;
    plan.stream_list = blob.add(plan.stream);
    shared = align_up(shared, 128);
    a.stream_offset = int(shared);
    shared += team.stream_bytes + 8 * (kStreamStages + 2);
  }
  const double bytes = double(main_plan.stream_bytes() + mirrored_plan.stream_bytes()) * team.blocks;
  const double row_cycles = cycles_of_rows(before_row, team) + cycles_of_rows(after_row, team);
  plan.wave = (main_plan.cycles() + mirrored_plan.cycles() + row_cycles / double(a.width)) / kClock;
  plan.cache = double(a.images) * bytes / kCacheBandwidth;
  plan.stages = seconds_of_stages(programs);
  plan.set_teams(std::max(1, device.multiprocessors / team.blocks));
  for (const BlockProgram<T>* p : {&a.main, &a.mirrored})
    expect(int64_t(std::max(p->rounds, p->stages)) * a.width < kMaxSize, "expected a narrower image");
  plan.memory = std::move(blob.bytes);
  plan.threads = 32 * (kWarps + 1);
  plan.shared_memory = shared;
  return plan;
}

// Returns two numbers of bytes: the largest amount of weights that a block reads for one column, and the largest amount
// of weights that one group of four outputs has.
template <class T> std::pair<int64_t, int64_t> stream_sizes(const Programs<T>& programs, int blocks) {
  int64_t most = 0, most_of_quad = 0;
  for (const ColumnProgram<T>* program : {&programs.main, &programs.mirrored}) {
    int64_t all = 0;
    for (const auto& s : program->steps)
      if (is_product(s)) {
        const int64_t bytes = count_channels(s) * kQuad * int64_t(sizeof(T));
        all += (count_quads(s) + blocks - 1) / blocks * bytes, most_of_quad = std::max(most_of_quad, bytes);
      }
    most = std::max(most, all);
  }
  return {most, most_of_quad};
}

// Returns a plan for clusters. The blocks of a cluster load their weights for each column through a ring buffer in
// shared memory. The size of the buffer in bytes is half of a block's weights for a column, rounded up to a power of
// two, and at most kMaxStreamBytes. The size is halved until the buffer fits in shared memory, but the buffer holds at
// least the weights of two groups of four outputs.
template <class T> BlockPlan<T> plan_cluster(const Programs<T>& programs, const Device& device, int blocks) {
  const auto [all, quad] = stream_sizes(programs, blocks);
  int64_t bytes = kMinStreamBytes, least = kMinStreamBytes;
  while (least < 2 * quad) least *= 2;
  while (bytes < kMaxStreamBytes && bytes < all / 2) bytes *= 2;
  for (bytes = std::max(bytes, least);; bytes /= 2) {
    BlockPlan<T> plan = plan_for(programs, device, {blocks, int(bytes)});
    if (plan.shared_memory <= device.shared_memory || bytes == least) return plan;
  }
}

int64_t microseconds(double seconds) { return std::lround(seconds * 1e6); }

}  // namespace

template <class T> BlockPlan<T> plan_block(const ColumnProgram<T>& main, const ColumnProgram<T>& mirrored,
    const RowProgram<T>& before_row, const RowProgram<T>& after_row, const Device& device, int blocks) {
  const Programs<T> programs{main, mirrored, before_row, after_row};
  expect(main.images() > 0, "expected images");
  expect(device.capability >= 80, "expected a GPU of compute capability 8.0 or more to draw whole images, got ",
      device.capability / 10, ".", device.capability % 10);
  const bool has_clusters = device.capability >= 90;
  expect(blocks <= 1 || has_clusters, "expected a GPU with clusters, got one of compute capability ",
      device.capability / 10, ".", device.capability % 10);
  const auto checked = [&](BlockPlan<T> plan) {
    expect(plan.shared_memory <= device.shared_memory, "expected a model that fits in ", device.shared_memory,
        " bytes of shared memory, got one that needs ", plan.shared_memory);
    return plan;
  };
  const auto make = [&] {
    if (blocks > 1) return checked(plan_cluster(programs, device, blocks));
    try {
      return checked(plan_for(programs, device, {1, 0}));
    } catch (const std::runtime_error&) {
      if (blocks == 1 || !has_clusters) throw;
    }
    return checked(plan_cluster(programs, device, kClusterBlocks));
  };
  BlockPlan<T> plan = make();
  if (!blocks) plan.expect_fastest();
  return plan;
}
template <class T> void BlockPlan<T>::expect_fastest() const {
  expect(seconds <= stages,
      "expected fewer images or weights, because a launch for each stage takes less time by estimate (",
      microseconds(stages), " against ", microseconds(seconds), " us for a pixel)");
}
template struct BlockPlan<float>;
template struct BlockPlan<double>;
template BlockPlan<float> plan_block(const ColumnProgram<float>&, const ColumnProgram<float>&, const RowProgram<float>&,
    const RowProgram<float>&, const Device&, int);
template BlockPlan<double> plan_block(const ColumnProgram<double>&, const ColumnProgram<double>&,
    const RowProgram<double>&, const RowProgram<double>&, const Device&, int);

}  // namespace pixelrnn::cuda
