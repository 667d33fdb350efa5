#include "columns.h"

#include <climits>

#include "../driver/launch.h"
#include "column_stages.h"

namespace pixelrnn::cuda {
namespace {

// Number of images for which a group of lanes loads each weight once, if there are enough images.
constexpr int kLargeTile = 4;

template <class T> class ColumnRecords {
 public:
  ColumnRecords(const ColumnProgram<T>& program, int64_t column)
      : images_(program.images()), column_(column), tile_(image_tile(program.images())) {}

  // Returns the bytes of shared memory for the weights of a block's draws.
  static unsigned shared_memory(const ColumnStageArgs<T>& args) {
    int weights = 0;
    for (int i = 0; i < args.steps; ++i)
      if (const int levels = args.step[i].last_level + 1; args.step[i].kind == StageKind::draw)
        weights = std::max(weights, held_weights(levels) * (kStageThreads / stage_draw_threads(levels)));
    return unsigned(weights * sizeof(double));
  }
  static int image_tile(int64_t images) { return images < kLargeTile ? 1 : kLargeTile; }

  // Adds a step to a launch that has `blocks` thread blocks so far. Returns the new number of thread blocks.
  int64_t add(const FusedStep<T>& fused, int64_t blocks, ColumnStageArgs<T>& args) const {
    StageStep<T>& record = args.step[args.steps];
    record = {};
    const ColumnStep<T>& s = fused.first;
    args.first_block[args.steps++] = int(blocks);
    record.count = int(s.stop - s.start), record.relu = s.relu;
    record.base = input(s.base, 0, s.start), record.output = output(s.output, s.start);
    int64_t threads = 0;
    switch (s.kind) {
      case StepKind::kLinear:
        record.kind = StageKind::linear;
        for (const auto& next : fused.pointwise) add_pointwise(record, next);
        threads = add_taps(record, s, (record.count + kQuad - 1) / kQuad);
        break;
      case StepKind::kCell:
        record.kind = StageKind::cell, record.gate_stride = int(s.h.channels);
        record.carried = input(s.carried, s.shift, s.start), record.addend = input(s.addend, 0, s.start);
        record.c = output(s.c, s.start), record.h = output(s.h, s.start);
        threads = add_taps(record, s, record.count);
        break;
      case StepKind::kPointwise:
        record.kind = StageKind::pointwise, record.addend = input(s.addend, 0, s.start);
        threads = images_ * record.count;
        break;
      default:
        record.kind = StageKind::draw, record.output = output(s.output, s.colour);
        record.colours = int(s.output.channels), record.last_level = int(last_level(s));
        record.uniform = output(s.uniform, s.colour).data, record.known = output(s.known, s.colour).data;
        record.values = output(s.values, s.colour).data, record.scaled = s.scaled;
        threads = stage_draw_threads(record.last_level + 1) * images_;
    }
    blocks += (threads + kStageThreads - 1) / kStageThreads;
    expect(blocks <= INT_MAX, "expected fewer images, got ", images_);
    return blocks;
  }

 private:
  template <class U> StageColumn<U> output(const RowBuffer<U>& b, int64_t channel, int64_t shift = 0) const {
    if (!b.data) return {nullptr, 0};
    return {b.data + (column_ + shift) * images_ * b.channels + channel, int(b.channels)};
  }
  StageColumn<const T> input(const RowBuffer<T>& b, int64_t shift, int64_t channel) const {
    const StageColumn<T> column = output(b, channel, shift);
    return {column.data, column.stride};
  }
  void add_pointwise(StageStep<T>& record, const ColumnStep<T>& s) const {
    const StageColumn<T> before = record.fused ? record.pointwise[record.fused - 1].output : record.output;
    const StageColumn<const T> left = input(s.base, 0, s.start), right = input(s.addend, 0, s.start);
    record.pointwise[record.fused++] = {left.data == before.data ? right : left, output(s.output, s.start), s.relu};
  }
  int64_t add_taps(StageStep<T>& record, const ColumnStep<T>& s, int64_t quads) const {
    record.packed = s.packed;
    expect(reinterpret_cast<uintptr_t>(s.packed) % 16 == 0, "expected weights aligned to 16 bytes");
    for (const auto& tap : s.taps) {
      const StageColumn<const T> column = input(tap.input, tap.shift, 0);
      record.tap[record.taps++] = {column.data, column.stride, int(tap.channels)};
      record.channels += int(tap.channels);
    }
    // If more lanes share a product, each lane loads fewer channels, but the sum needs more shuffles. At most eight
    // channels a lane are assumed to be the best choice, which was not measured.
    record.log_lanes = 2;
    while (record.log_lanes < 5 && record.channels > 8 << record.log_lanes) ++record.log_lanes;
    return quads * ((images_ + tile_ - 1) / tile_) << record.log_lanes;
  }

  const int64_t images_, column_;
  const int tile_;
};

template <class T> constexpr const char* kTypeName = "float32";
template <> inline constexpr const char* kTypeName<double> = "float64";

}  // namespace

template <class T> CUresult run_columns(const ColumnProgram<T>& program, double temperature, CUstream stream) {
  if (program.images() == 0) return CUDA_SUCCESS;
  const auto stages = column_stages(program.steps);
  const int tile = ColumnRecords<T>::image_tile(program.images());
  CUfunction kernel = nullptr;
  CUresult error = load_kernel(std::string("column_stage_") + kTypeName<T> + "_" + std::to_string(tile), kernel);
  for (int64_t column = program.margin(); column < program.margin() + program.width(); ++column) {
    const ColumnRecords<T> records(program, column);
    for (const auto& stage : stages)
      for (size_t first = 0; first < stage.size() && !error; first += kMaxStageSteps) {
        ColumnStageArgs<T> args{0, int(program.images()), temperature, {}, {}};
        int64_t blocks = 0;
        for (size_t i = first; i < std::min(stage.size(), first + kMaxStageSteps); ++i)
          blocks = records.add(stage[i], blocks, args);
        error = launch(kernel, {unsigned(blocks), 1, kStageThreads, records.shared_memory(args)}, args, stream);
      }
  }
  return error;
}
template CUresult run_columns(const ColumnProgram<float>&, double, CUstream);
template CUresult run_columns(const ColumnProgram<double>&, double, CUstream);

template <class T> static LaunchShape shape_of(const BlockPlan<T>& plan) {
  const unsigned blocks = unsigned(plan.args.blocks);
  return {unsigned(plan.args.images) * blocks, 1, plan.threads, unsigned(plan.shared_memory), blocks};
}
template <class T> static std::string kernel_of(const BlockPlan<T>& plan) {
  return std::string(plan.args.blocks > 1 ? "cluster" : "block") + "_sampler_" + kTypeName<T>;
}

template <class T> CUresult draw_rows(const BlockPlan<T>& plan, const BlockArgs<T>& args, CUstream stream) {
  if (args.row0 >= args.row1) return CUDA_SUCCESS;
  return launch(kernel_of(plan), shape_of(plan), args, stream);
}
template CUresult draw_rows(const BlockPlan<float>&, const BlockArgs<float>&, CUstream);
template CUresult draw_rows(const BlockPlan<double>&, const BlockArgs<double>&, CUstream);

// Tells whether code of a kernel for at least the compute capability `lowest` runs on the current GPU.
static CUresult has_code(const std::string& name, int lowest, bool& has) {
  int capability = 0;
  CUfunction kernel = nullptr;
  CUresult error = kernel_capability(name, capability);
  has = !error && capability >= lowest;
  if (has) error = load_kernel(name, kernel);
  if (!is_without_code(error)) return error;
  has = false;
  return CUDA_SUCCESS;
}

template <class T> CUresult why_not_run(BlockPlan<T>& plan, std::string& why) {
  int count = 0;
  bool has = false;
  CUfunction kernel = nullptr;
  const unsigned blocks = unsigned(plan.args.blocks);
  CUresult error = has_code(kernel_of(plan), blocks == 1 ? kResidentCapability : kClusterCapability, has);
  if (!error && !has) why = "expected code of the kernel that draws whole images on this GPU, got none";
  if (error || !has || blocks == 1) return error;
  const LaunchConfig config(shape_of(plan), nullptr);
  error = load_kernel(kernel_of(plan), kernel);
  if (!error) error = active_clusters(kernel, config, count);
  if (error || count == 0)
    why = "expected a GPU that runs clusters of " + std::to_string(blocks) + " blocks with " +
          std::to_string(plan.shared_memory) + " bytes of shared memory each, got one that does not";
  else plan.set_teams(count);
  return is_refusal(error) ? CUDA_SUCCESS : error;
}
template CUresult why_not_run(BlockPlan<float>&, std::string&);
template CUresult why_not_run(BlockPlan<double>&, std::string&);

CUresult has_column_kernels(bool& has) { return has_code("column_stage_float32_1", 0, has); }

template <class T> CUresult pack_stream(const BlockPlan<T>& plan, const unsigned char* memory, T* to, CUstream stream) {
  if (plan.stream.empty()) return CUDA_SUCCESS;
  const PackStreamArgs<T> args{reinterpret_cast<const WeightCopy<T>*>(memory + plan.stream_list), to};
  return launch(std::string("pack_stream_") + kTypeName<T>, {unsigned(plan.stream.size()), 1, 256}, args, stream);
}
template CUresult pack_stream(const BlockPlan<float>&, const unsigned char*, float*, CUstream);
template CUresult pack_stream(const BlockPlan<double>&, const unsigned char*, double*, CUstream);

}  // namespace pixelrnn::cuda
