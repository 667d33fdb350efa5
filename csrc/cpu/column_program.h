// Parses and checks a program of pixelrnn_ext/incremental/native.py. Whatever integers the program has, its steps
// access only the given tensors. An invalid program throws std::runtime_error with one sentence.
//
// `code` is a list of integers, step by step. A step is its kind (StepKind), then integers:
//   (linear, base, output, start, stop, relu, packed, block, taps, for each tap: input, shift, channels),
//   (cell, base, carried, shift, c, h, addend, output, start, stop, packed, block, taps, then taps as above),
//   (pointwise, left, right, output, start, stop, relu),
//   (draw, logits, uniform, known, values, scaled, image, colour),
//   (encode, logits, values, intervals, scaled, image, colour),
//   (decode, logits, known, values, scaled, image, colour).
// Buffers (columns.h, contiguous), packed and scaled are indices of tensors. right is -1 if absent. uniform is float64,
// known bool, values and intervals int64, all others of one dtype. block is the operator column_block's result when the
// weights were packed.
#pragma once
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "columns.h"

namespace pixelrnn::cpu {

// A tensor, described without torch.
struct View {
  enum Type { kOther, kFloat, kDouble, kBool, kInt64 } type;
  void* data;
  std::vector<int64_t> sizes;
  bool contiguous;

  int64_t numel() const {
    uint64_t n = 1;  // unsigned: the product may wrap before it meets a size of 0
    for (int64_t size : sizes) n *= uint64_t(size);
    return int64_t(n);
  }
};
template <class T> constexpr View::Type kViewType = View::kOther;
template <> constexpr View::Type kViewType<float> = View::kFloat;
template <> constexpr View::Type kViewType<double> = View::kDouble;
template <> constexpr View::Type kViewType<uint8_t> = View::kBool;  // read as bytes, which may have any value
template <> constexpr View::Type kViewType<int64_t> = View::kInt64;

template <class... Words> void expect(bool condition, const Words&... words) {
  if (condition) return;
  std::ostringstream message;
  message << "run_columns: ";
  (message << ... << words);
  throw std::runtime_error(message.str());
}

template <class T> class ColumnProgram {
 public:
  // The steps keep the tensors' data pointers, but not `code`.
  ColumnProgram(const std::vector<View>& tensors, const std::vector<int64_t>& code, int64_t margin, ColumnBlocks blocks)
      : tensors_(tensors), code_(code), margin_(margin), blocks_(blocks) {
    expect(!tensors.empty() && tensors[0].sizes.size() == 3, "expected buffers");
    columns_ = tensors[0].sizes[0], images_ = tensors[0].sizes[1];
    expect(columns_ < kLimit && images_ < kLimit, "expected fewer than 2^31 columns and images, got ", columns_,
        " and ", images_);
    expect(margin >= 0 && columns_ > margin, "expected 0 <= margin < columns, got ", margin, " and ", columns_);
    while (position_ < code_.size()) steps.push_back(step());
  }

  std::vector<ColumnStep<T>> steps;

  // Checks the streams, which must cover all images in order, and returns the settings of a run.
  ColumnRun run(
      double temperature, bool on_grid, std::vector<Stream>* streams, const uint8_t* data, int64_t bytes) const {
    expect(!on_grid || kViewType<T> == View::kDouble, "expected float64 on the grid");
    expect(!decodes_ || images_ == 0 || (streams && !streams->empty()), "expected streams to decode");
    int64_t covered = 0;
    if (streams)
      for (const Stream& s : *streams) {
        expect(covered == s.first && s.first <= s.last, "a stream has the images ", s.first, " to ", s.last, " behind ",
            covered);
        expect(0 <= s.position && s.position <= int64_t(1) << 62 && s.end <= bytes && s.range >= kMinRange,
            "a stream is not one that was opened in ", bytes, " bytes");
        covered = s.last;
      }
    expect(!streams || covered == images_, "there are streams of ", covered, " of ", images_, " images");
    return {margin_, columns_ - margin_, images_, temperature, on_grid, streams ? streams->data() : nullptr,
        streams ? int64_t(streams->size()) : 0, data};
  }

 private:
  // The limit of columns, images and channels, so that a product of two such sizes fits 64 bits.
  static constexpr int64_t kLimit = int64_t(1) << 31;

  int64_t read() {
    expect(position_ < code_.size(), "the program ends within a step");
    return code_[position_++];
  }
  const View& tensor(View::Type type) {
    const int64_t index = read();
    expect(index >= 0 && index < int64_t(tensors_.size()), "there is no tensor ", index);
    const View& t = tensors_[index];
    expect(t.type == type && t.contiguous, "tensor ", index, " has a wrong dtype or is not contiguous");
    return t;
  }
  template <class U = T> RowBuffer<U> buffer() {
    const View& t = tensor(kViewType<U>);
    expect(t.sizes.size() == 3 && t.sizes[0] == columns_ && t.sizes[1] == images_, "expected a buffer [", columns_,
        ", ", images_, ", channels]");
    expect(t.sizes[2] < kLimit, "expected fewer than 2^31 channels, got ", t.sizes[2]);
    return {static_cast<U*>(t.data), t.sizes[2]};
  }
  RowBuffer<T> optional_buffer() {
    if (position_ < code_.size() && code_[position_] == -1)
      return ++position_, RowBuffer<T>{nullptr, kLimit};  // enough channels for read_range()
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
  // Reads the weights and taps of a step with `gates` gates, whose blocks have `size` outputs.
  void read_taps(ColumnStep<T>& s, int gates, int size) {
    const View& packed = tensor(kViewType<T>);
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
      expect(all < kLimit, "expected taps of fewer than 2^31 channels, got ", all);
    }
    const int64_t weights = (s.stop - s.start + size - 1) / size * all * gates * size;
    expect(packed.numel() == weights, "expected ", weights, " packed weights, got ", packed.numel());
    s.packed = static_cast<const T*>(packed.data);
  }

  // Reads the operands of a draw, encode or decode step from `scaled` on. counts: channels of the buffers that need one
  // channel for each colour.
  void read_value(ColumnStep<T>& s, std::initializer_list<int64_t> counts) {
    const View& scaled = tensor(kViewType<T>);
    s.scaled = static_cast<const T*>(scaled.data);
    s.output = buffer(), s.colour = read();
    const int64_t colours = s.output.channels;
    expect(0 <= s.colour && s.colour < colours && s.base.channels % colours == 0 && s.base.channels > 0, "colour ",
        s.colour, " has no logits");
    const int64_t logits = s.base.channels / colours, levels = logits == 1 ? 2 : logits;
    for (int64_t channels : counts)
      expect(channels == colours && scaled.numel() == levels, "expected ", colours, " colours of ", levels, " levels");
    expect(s.kind == StepKind::kDraw || levels <= Distribution::kMaxSymbols, "expected at most ",
        int64_t(Distribution::kMaxSymbols), " levels to code, got ", levels);
    for (int64_t i = s.colour; i < columns_ * images_ * colours; i += colours)
      expect((s.known.data && !s.known.data[i]) || (0 <= s.values.data[i] && s.values.data[i] < levels),
          "expected known values in [0, ", levels, "), got ", s.values.data[i]);
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

  const std::vector<View>& tensors_;
  const std::vector<int64_t>& code_;
  const int64_t margin_;
  const ColumnBlocks blocks_;
  int64_t columns_, images_;
  size_t position_ = 0;
  bool decodes_ = false;
};

}  // namespace pixelrnn::cpu
