// Parses and checks a program: a list of integers in which pixelrnn_ext/incremental/program.py describes the steps that
// compute one column (one pixel position of all images). The parsed steps access only the tensors that the constructor
// receives, whatever the integers are. An invalid program throws std::runtime_error.
//
// `code` holds one step after another: its kind (StepKind), then its operands in the order in which step() reads them.
// A tensor is given by its index, an absent tensor by -1.
#pragma once
#include <initializer_list>
#include <vector>

#include "../cpu/range_coder.h"
#include "steps.h"
#include "tensor_view.h"

namespace pixelrnn {

template <class T> class ColumnProgram {
 public:
  // The parsed steps point to the memory of the tensors, so the tensors must outlive the steps. `code` may be freed
  // after the constructor, because the steps do not point to it.
  ColumnProgram(
      const std::vector<TensorView>& tensors, const std::vector<int64_t>& code, int64_t margin, ColumnBlocks blocks)
      : tensors_(tensors), code_(code), margin_(margin), blocks_(blocks) {
    expect(!tensors.empty() && tensors[0].sizes.size() == 3, "expected buffers");
    columns_ = tensors[0].sizes[0], images_ = tensors[0].sizes[1];
    expect(columns_ < kMaxSize && images_ < kMaxSize, "expected fewer than 2^31 columns and images, got ", columns_,
        " and ", images_);
    expect(margin >= 0 && columns_ > margin, "expected 0 <= margin < columns, got ", margin, " and ", columns_);
    while (position_ < code_.size()) steps.push_back(step());
  }

  std::vector<ColumnStep<T>> steps;

  int64_t margin() const { return margin_; }
  int64_t width() const { return columns_ - margin_; }
  int64_t images() const { return images_; }
  bool decodes() const { return decodes_; }

  // Reads the tensors' values, so the tensors must be in the CPU's memory.
  void check_values() const {
    for (const ColumnStep<T>& s : steps) {
      if (!s.values.data) continue;
      const int64_t last = last_level(s), colours = s.output.channels;
      for (int64_t i = s.colour; i < columns_ * images_ * colours; i += colours)
        expect((s.known.data && !s.known.data[i]) || (0 <= s.values.data[i] && s.values.data[i] <= last),
            "expected known values in [0, ", last + 1, "), got ", s.values.data[i]);
    }
  }

 private:
  int64_t read() {
    expect(position_ < code_.size(), "the program ends within a step");
    return code_[position_++];
  }
  const TensorView& tensor(TensorView::Type type) {
    const int64_t index = read();
    expect(index >= 0 && index < int64_t(tensors_.size()), "there is no tensor ", index);
    const TensorView& t = tensors_[index];
    expect(t.type == type && t.contiguous, "tensor ", index, " has a wrong dtype or is not contiguous");
    return t;
  }
  template <class U = T> RowBuffer<U> buffer() {
    const TensorView& t = tensor(kViewType<U>);
    expect(t.sizes.size() == 3 && t.sizes[0] == columns_ && t.sizes[1] == images_, "expected a buffer [", columns_,
        ", ", images_, ", channels]");
    expect(t.sizes[2] < kMaxSize, "expected fewer than 2^31 channels, got ", t.sizes[2]);
    return {static_cast<U*>(t.data), t.sizes[2]};
  }
  RowBuffer<T> optional_buffer() {
    if (position_ < code_.size() && code_[position_] == -1)
      return ++position_, RowBuffer<T>{nullptr, kMaxSize};  // kMaxSize, so that read_range() accepts any range
    return buffer();
  }
  int64_t read_shift() {
    const int64_t shift = read();
    expect(shift <= 0 && shift >= -margin_, "expected a shift from ", -margin_, " to 0, got ", shift);
    return shift;
  }
  void read_range(ColumnStep<T>& s, std::initializer_list<RowBuffer<T>> buffers) {
    s.start = read(), s.stop = read();
    for (const auto& b : buffers)
      expect(0 <= s.start && s.start <= s.stop && s.stop <= b.channels, "channels ", s.start, " to ", s.stop,
          " are not in a buffer");
  }
  void read_taps(ColumnStep<T>& s, int gates, int size) {
    const TensorView& packed = tensor(kViewType<T>);
    const int64_t block = read();
    expect(block == size, "the weights are packed in blocks of ", block, ", and the kernels read blocks of ", size);
    int64_t all = 0;
    for (int64_t n = read(); n > 0; --n) {
      const auto input = buffer();
      const int64_t shift = read_shift(), channels = read();
      expect(
          channels >= 0 && channels <= input.channels, "a tap reads ", channels, " of ", input.channels, " channels");
      s.taps.push_back({input, shift, channels});
      all += channels;
      expect(all < kMaxSize, "expected taps of fewer than 2^31 channels, got ", all);
    }
    const int64_t weights = (s.stop - s.start + size - 1) / size * all * gates * size;
    expect(packed.numel() == weights, "expected ", weights, " packed weights, got ", packed.numel());
    s.packed = static_cast<const T*>(packed.data);
  }

  void read_value(ColumnStep<T>& s, std::initializer_list<int64_t> counts) {
    const TensorView& scaled = tensor(kViewType<T>);
    s.scaled = static_cast<const T*>(scaled.data);
    s.output = buffer(), s.colour = read();
    const int64_t colours = s.output.channels;
    expect(0 <= s.colour && s.colour < colours && s.base.channels % colours == 0 && s.base.channels > 0, "colour ",
        s.colour, " has no logits");
    const int64_t logits = s.base.channels / colours, levels = logits == 1 ? 2 : logits;
    for (int64_t channels : counts)
      expect(channels == colours && scaled.numel() == levels, "expected ", colours, " colours of ", levels, " levels");
    expect(s.kind == StepKind::kDraw || levels <= cpu::Distribution::kMaxSymbols, "expected at most ",
        int64_t(cpu::Distribution::kMaxSymbols), " levels to code, got ", levels);
    s.start = s.colour * logits, s.stop = s.start + logits;
  }

  ColumnStep<T> step() {
    ColumnStep<T> s{};
    s.kind = StepKind(read());
    switch (s.kind) {
      case StepKind::kLinear:
        s.base = buffer(), s.output = buffer();
        read_range(s, {s.base, s.output});
        s.relu = read();
        read_taps(s, 1, blocks_.outputs);
        break;
      case StepKind::kCell:
        s.base = buffer(), s.carried = buffer(), s.shift = read_shift(), s.c = buffer(), s.h = buffer(),
        s.addend = buffer(), s.output = buffer();
        read_range(s, {s.carried, s.c, s.h, s.addend, s.output});
        expect(s.base.channels == 4 * s.h.channels, "expected ", 4 * s.h.channels, " channels of gates, got ",
            s.base.channels);
        read_taps(s, 4, blocks_.units);
        break;
      case StepKind::kPointwise:
        s.base = buffer(), s.addend = optional_buffer(), s.output = buffer();
        read_range(s, {s.base, s.addend, s.output});
        s.relu = read();
        break;
      case StepKind::kDraw:
        s.base = buffer(), s.uniform = buffer<double>(), s.known = buffer<uint8_t>(), s.values = buffer<int64_t>();
        read_value(s, {s.uniform.channels, s.known.channels, s.values.channels});
        break;
      case StepKind::kEncode:
        s.base = buffer(), s.values = buffer<int64_t>(), s.intervals = buffer<int64_t>();
        read_value(s, {s.values.channels, s.intervals.channels});
        break;
      case StepKind::kDecode:
        decodes_ = true;
        s.base = buffer(), s.known = buffer<uint8_t>(), s.values = buffer<int64_t>();
        read_value(s, {s.known.channels, s.values.channels});
        break;
      default: expect(false, "there is no step ", int64_t(s.kind));
    }
    return s;
  }

  const std::vector<TensorView>& tensors_;
  const std::vector<int64_t>& code_;
  const int64_t margin_;
  const ColumnBlocks blocks_;
  int64_t columns_, images_;
  size_t position_ = 0;
  bool decodes_ = false;
};

}  // namespace pixelrnn
