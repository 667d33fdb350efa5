// The operators of sampling and coding. run_columns runs a program (../cpu/column_program.h) on the pixels of a row.
#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "../cpu/column_program.h"
#include "../cpu/range_coder.h"
#include "operators.h"

namespace pixelrnn {
namespace {

cpu::View view(const Tensor& t) {
  cpu::View v{cpu::View::kOther, t.mutable_data_ptr(), std::vector<int64_t>(t.dim()), t.is_contiguous()};
  for (int64_t i = 0; i < t.dim(); ++i) v.sizes[i] = t.size(i);
  switch (t.scalar_type()) {
    case ScalarType::Float: v.type = cpu::View::kFloat; break;
    case ScalarType::Double: v.type = cpu::View::kDouble; break;
    case ScalarType::Bool: v.type = cpu::View::kBool; break;
    case ScalarType::Long: v.type = cpu::View::kInt64; break;
    default: break;
  }
  return v;
}

// A row of `streams` is a cpu::Stream: first, last, offset, range, position, end. Decoding changes offset, range and
// position.
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

void run_columns(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin, double temperature,
    bool on_grid, Optional streams, Optional bytes) {
  STD_TORCH_CHECK(!tensors.empty(), "run_columns: expected buffers");
  STD_TORCH_CHECK(streams.has_value() == bytes.has_value(), "run_columns: expected streams and their bytes, got one");
  STD_TORCH_CHECK(!bytes || (bytes->scalar_type() == ScalarType::Byte && bytes->is_contiguous()),
      "run_columns: expected contiguous bytes");
  std::vector<cpu::View> views;
  for (const Tensor& t : tensors) views.push_back(view(t));
  std::vector<cpu::Stream> opened;
  if (streams) opened = read_streams(*streams);
  const int level = instruction_set;  // read once: another thread may change it
  dispatch(tensors[0], [&](auto zero) {
    using T = decltype(zero);
    const cpu::ColumnProgram<T> program(views, code, margin, cpu::column_blocks<T>(level));
    cpu::run_columns<T>(program.steps,
        program.run(temperature, on_grid, streams ? &opened : nullptr, in<uint8_t>(bytes), bytes ? bytes->numel() : 0),
        team(), level);
  });
  if (streams) write_streams(opened, *streams);
}

// Returns how many outputs, each with `gates` gates, a block of packed weights has (../cpu/kernels.h).
int64_t column_block(int64_t gates, bool of_double) {
  const auto blocks = (of_double ? cpu::column_blocks<double> : cpu::column_blocks<float>)(instruction_set);
  return gates == 1 ? blocks.outputs : blocks.units;
}

int64_t column_step(std::string name) {
  const auto found = std::find(std::begin(cpu::kStepNames), std::end(cpu::kStepNames), name);
  STD_TORCH_CHECK(found != std::end(cpu::kStepNames), "column_step: expected the name of a step, got ", name);
  return found - cpu::kStepNames;
}

// Encodes intervals of cumulative frequencies, each as start << 32 | stop, to bytes.
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
  m.def(
      "run_columns(Tensor(a!)[] tensors, int[] code, int margin, float temperature, bool on_grid=False, "
      "Tensor(b!)? streams=None, Tensor? bytes=None) -> ()");
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
