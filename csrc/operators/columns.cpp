// CPU operators of sampling and coding.
#include "columns.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "../cpu/columns.h"
#include "../cpu/range_coder.h"
#include "operators.h"

namespace pixelrnn {
namespace {

// A row of `streams` has the fields of cpu::Stream. Decoding updates offset, range and position.
constexpr int64_t kFields = 6;
std::vector<cpu::Stream> read_streams(const Tensor& streams) {
  check_axes("streams", streams, "[n, 6]");
  check_sizes("streams", streams, {streams.size(0), kFields}, ScalarType::Long);
  STD_TORCH_CHECK(streams.is_contiguous(), "run_columns: expected contiguous streams");
  std::vector<cpu::Stream> all;
  const int64_t* row = in<int64_t>(streams);
  for (int64_t i = 0; i < streams.size(0); ++i, row += kFields)
    all.push_back({row[0], row[1], uint64_t(row[2]), uint64_t(row[3]), row[4], row[5]});
  return all;
}
void write_streams(const std::vector<cpu::Stream>& all, const Tensor& streams) {
  int64_t* row = out<int64_t>(streams);
  for (const cpu::Stream& s : all)
    row[2] = int64_t(s.offset), row[3] = int64_t(s.range), row[4] = s.position, row += kFields;
}

template <class T> cpu::ColumnRun checked_run(const ColumnProgram<T>& program, double temperature, bool on_grid,
    std::vector<cpu::Stream>* streams, const uint8_t* data, int64_t bytes) {
  expect(!on_grid || kViewType<T> == TensorView::kDouble, "expected float64 on the grid");
  expect(!program.decodes() || program.images() == 0 || (streams && !streams->empty()), "expected streams to decode");
  int64_t covered = 0;
  if (streams)
    for (const cpu::Stream& s : *streams) {
      expect(covered == s.first && s.first <= s.last, "a stream has the images ", s.first, " to ", s.last, " behind ",
          covered);
      expect(0 <= s.position && s.position <= int64_t(1) << 62 && s.end <= bytes && s.range >= cpu::kMinRange,
          "a stream is not one that was opened in ", bytes, " bytes");
      covered = s.last;
    }
  expect(
      !streams || covered == program.images(), "there are streams of ", covered, " of ", program.images(), " images");
  return {program.margin(), program.width(), program.images(), temperature, on_grid,
      streams ? streams->data() : nullptr, streams ? int64_t(streams->size()) : 0, data};
}

void run_columns(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin, double temperature,
    bool on_grid, Optional streams, Optional bytes) {
  STD_TORCH_CHECK(streams.has_value() == bytes.has_value(), "run_columns: expected streams and their bytes, got one");
  STD_TORCH_CHECK(!bytes || (bytes->scalar_type() == ScalarType::Byte && bytes->is_contiguous()),
      "run_columns: expected contiguous bytes");
  const std::vector<TensorView> described = views(tensors);
  std::vector<cpu::Stream> opened;
  if (streams) opened = read_streams(*streams);
  const int level = instruction_set;  // read once, because another thread may change it
  dispatch_wide(tensors[0], [&](auto zero) {
    using T = decltype(zero);
    const ColumnProgram<T> program(described, code, margin, cpu::column_blocks<T>(level));
    program.check_values();
    const cpu::ColumnRun run = checked_run(
        program, temperature, on_grid, streams ? &opened : nullptr, in<uint8_t>(bytes), bytes ? bytes->numel() : 0);
    cpu::run_columns<T>(program.steps, run, team(), level);
  });
  if (streams) write_streams(opened, *streams);
}

int64_t column_block(int64_t gates, bool of_double) {
  const auto blocks = (of_double ? cpu::column_blocks<double> : cpu::column_blocks<float>)(instruction_set);
  return gates == 1 ? blocks.outputs : blocks.units;
}

int64_t column_step(std::string name) {
  const auto found = std::find(std::begin(kStepNames), std::end(kStepNames), name);
  STD_TORCH_CHECK(found != std::end(kStepNames), "column_step: expected the name of a step, got ", name);
  return found - kStepNames;
}

// Each interval of cumulative frequencies is start << 32 | stop.
Tensor range_encode(Tensor intervals) {
  STD_TORCH_CHECK(intervals.scalar_type() == ScalarType::Long && intervals.is_contiguous(),
      "range_encode: expected contiguous intervals of int64");
  cpu::Encoder encoder;
  const int64_t* interval = in<int64_t>(intervals);
  for (int64_t i = 0; i < intervals.numel(); ++i) {
    const uint64_t start = uint64_t(interval[i]) >> 32, stop = uint64_t(interval[i]) & 0xffffffff;
    STD_TORCH_CHECK(start < stop && stop <= cpu::Distribution::kTotal,
        "range_encode: expected 0 <= start < stop <= ", cpu::Distribution::kTotal, ", got ", start, " and ", stop);
    encoder.encode(start, stop);
  }
  encoder.finish();
  Tensor bytes = stable::new_empty(intervals, {int64_t(encoder.bytes.size())}, ScalarType::Byte);
  std::copy(encoder.bytes.begin(), encoder.bytes.end(), out<uint8_t>(bytes));
  return bytes;
}

void round_to_grid(Tensor x, int64_t bits, double limit) {
  STD_TORCH_CHECK(x.scalar_type() == ScalarType::Double && x.is_contiguous(),
      "round_to_grid: expected contiguous numbers of float64");
  STD_TORCH_CHECK(0 <= bits && bits <= 52 && limit >= 0, "round_to_grid: expected 0 to 52 bits and a limit >= 0, got ",
      bits, " and ", limit);
  cpu::round_to_grid(out<double>(x), x.numel(), int(bits), limit, team(), instruction_set);
}

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) {
  m.def(PIXELRNN_RUN_COLUMNS);
  m.def("range_encode(Tensor intervals) -> Tensor");
  m.def("round_to_grid(Tensor(a!) x, int bits, float limit) -> ()");
  m.def("column_block(int gates, bool of_double) -> int");
  m.def("column_step(str name) -> int");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CompositeExplicitAutograd, m) {
  m.impl("column_block", TORCH_BOX(&pixelrnn::column_block));
  m.impl("column_step", TORCH_BOX(&pixelrnn::column_step));
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CPU, m) {
  m.impl("run_columns", TORCH_BOX(&pixelrnn::run_columns));
  m.impl("range_encode", TORCH_BOX(&pixelrnn::range_encode));
  m.impl("round_to_grid", TORCH_BOX(&pixelrnn::round_to_grid));
}
