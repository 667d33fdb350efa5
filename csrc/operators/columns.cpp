// The operator run_columns: a program of pixelrnn_ext/incremental/native.py at the columns of one image row, in place.
//
// code is one list of integers, a step after the other. Buffers, packed and scaled are indices into tensors, -1 where
// there is none:
//   0 base output start stop relu packed taps (input shift channels)*                                   linear
//   1 base carried shift c h addend output start stop packed taps (input shift channels)*               cell
//   2 left right output start stop relu                                                                 pointwise
//   3 logits uniform known values scaled image colour                                                   draw
// Buffers are [margin + width, N, channels], contiguous: uniform of float64, known of bool, values of int64, the others
// of one dtype.
#include <string>
#include <vector>

#include "../cpu/column_kernels.h"
#include "../cpu/columns.h"
#include "operators.h"

namespace pixelrnn {
namespace {

template <class T> constexpr ScalarType kScalarType = ScalarType::Float;
template <> constexpr ScalarType kScalarType<double> = ScalarType::Double;
template <> constexpr ScalarType kScalarType<bool> = ScalarType::Bool;
template <> constexpr ScalarType kScalarType<int64_t> = ScalarType::Long;

template <class T> class Program {
 public:
  Program(const std::vector<Tensor>& tensors, const std::vector<int64_t>& code, int64_t margin)
      : tensors_(tensors), code_(code), margin_(margin) {
    const Tensor& first = tensors[0];
    columns_ = first.size(0), images_ = first.size(1);
    STD_TORCH_CHECK(margin >= 0 && columns_ > margin, "run_columns: expected 0 <= margin < columns, got ", margin,
        " and ", columns_);
    while (at_ < code_.size()) steps_.push_back(step());
  }
  void run(double temperature) const {
    cpu::run_columns<T>(steps_, margin_, columns_ - margin_, images_, temperature, team(), instruction_set);
  }

 private:
  int64_t next() {
    STD_TORCH_CHECK(at_ < code_.size(), "run_columns: the program ends within a step");
    return code_[at_++];
  }
  const Tensor& tensor(ScalarType type) {
    const int64_t index = next();
    STD_TORCH_CHECK(index >= 0 && index < int64_t(tensors_.size()), "run_columns: there is no tensor ", index);
    const Tensor& t = tensors_[index];
    STD_TORCH_CHECK(t.scalar_type() == type && t.is_contiguous(), "run_columns: tensor ", index,
        " has a wrong dtype or is not contiguous");
    return t;
  }
  template <class U = T> cpu::RowBuffer<U> buffer() {
    const Tensor& t = tensor(kScalarType<U>);
    STD_TORCH_CHECK(t.dim() == 3 && t.size(0) == columns_ && t.size(1) == images_, "run_columns: expected a buffer [",
        columns_, ", ", images_, ", channels]");
    return {out<U>(t), t.size(2)};
  }
  cpu::RowBuffer<T> optional_buffer() {
    if (at_ < code_.size() && code_[at_] == -1) return ++at_, cpu::RowBuffer<T>{nullptr, 0};
    return buffer();
  }
  int64_t column_shift() {
    const int64_t shift = next();
    STD_TORCH_CHECK(
        shift <= 0 && shift >= -margin_, "run_columns: expected a shift from ", -margin_, " to 0, got ", shift);
    return shift;
  }
  void range(cpu::ColumnStep<T>& s, std::initializer_list<cpu::RowBuffer<T>> buffers) {
    s.start = next(), s.stop = next();
    for (const auto& b : buffers)
      STD_TORCH_CHECK(0 <= s.start && s.start <= s.stop && (!b.data || s.stop <= b.channels), "run_columns: channels ",
          s.start, " to ", s.stop, " are not in a buffer");
  }
  void taps(cpu::ColumnStep<T>& s, int64_t outputs_of_block) {
    const Tensor& packed = tensor(kScalarType<T>);
    int64_t all = 0;
    for (int64_t n = next(); n > 0; --n) {
      const cpu::RowBuffer<T> input = buffer();
      const int64_t shift = column_shift(), channels = next();
      STD_TORCH_CHECK(channels >= 0 && channels <= input.channels, "run_columns: a tap reads ", channels, " of ",
          input.channels, " channels");
      s.taps.push_back({input, shift, channels});
      all += channels;
    }
    const int64_t blocks = (s.stop - s.start + outputs_of_block - 1) / outputs_of_block;
    STD_TORCH_CHECK(packed.numel() == blocks * all * cpu::kBlock, "run_columns: expected ", blocks * all * cpu::kBlock,
        " packed weights, got ", packed.numel());
    s.packed = in<T>(packed);
  }

  cpu::ColumnStep<T> step() {
    cpu::ColumnStep<T> s{};
    const int64_t kind = next();
    switch (kind) {
      case 0:
        s.kind = cpu::StepKind::kLinear;
        s.base = buffer(), s.output = buffer();
        range(s, {s.base, s.output});
        s.relu = next();
        taps(s, cpu::kBlock);
        break;
      case 1:
        s.kind = cpu::StepKind::kCell;
        s.base = buffer(), s.carried = buffer(), s.shift = column_shift(), s.c = buffer(), s.h = buffer(),
        s.addend = buffer(), s.output = buffer();
        range(s, {s.carried, s.c, s.h, s.addend, s.output});
        STD_TORCH_CHECK(s.base.channels == 4 * s.h.channels, "run_columns: expected ", 4 * s.h.channels,
            " channels of gates, got ", s.base.channels);
        taps(s, cpu::kBlock / 4);
        break;
      case 2:
        s.kind = cpu::StepKind::kPointwise;
        s.base = buffer(), s.addend = optional_buffer(), s.output = buffer();
        range(s, {s.base, s.addend, s.output});
        s.relu = next();
        break;
      case 3: {
        s.kind = cpu::StepKind::kDraw;
        s.base = buffer(), s.uniform = buffer<double>(), s.known = buffer<bool>(), s.values = buffer<int64_t>();
        const Tensor& scaled = tensor(kScalarType<T>);
        s.scaled = in<T>(scaled);
        s.output = buffer(), s.colour = next();
        const int64_t colours = s.output.channels;
        STD_TORCH_CHECK(0 <= s.colour && s.colour < colours && s.base.channels % colours == 0 && s.base.channels > 0,
            "run_columns: colour ", s.colour, " has no logits");
        const int64_t logits = s.base.channels / colours, levels = logits == 1 ? 2 : logits;
        STD_TORCH_CHECK(s.uniform.channels == colours && s.known.channels == colours && s.values.channels == colours &&
                            scaled.numel() == levels,
            "run_columns: expected ", colours, " colours of ", levels, " levels to draw");
        for (int64_t i = s.colour; i < columns_ * images_ * colours; i += colours)
          STD_TORCH_CHECK(!s.known.data[i] || (0 <= s.values.data[i] && s.values.data[i] < levels),
              "run_columns: expected known values in [0, ", levels, "), got ", s.values.data[i]);
        s.start = s.colour * logits, s.stop = s.start + logits;
        break;
      }
      default: STD_TORCH_CHECK(false, "run_columns: there is no step ", kind);
    }
    return s;
  }

  const std::vector<Tensor>& tensors_;
  const std::vector<int64_t>& code_;
  const int64_t margin_;
  int64_t columns_, images_;
  size_t at_ = 0;
  std::vector<cpu::ColumnStep<T>> steps_;
};

void run_columns(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin, double temperature) {
  STD_TORCH_CHECK(!tensors.empty() && tensors[0].dim() == 3, "run_columns: expected buffers");
  dispatch(tensors[0], [&](auto zero) { Program<decltype(zero)>(tensors, code, margin).run(temperature); });
}

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) {
  m.def("run_columns(Tensor(a!)[] tensors, int[] code, int margin, float temperature) -> ()");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CPU, m) { m.impl("run_columns", TORCH_BOX(&pixelrnn::run_columns)); }
