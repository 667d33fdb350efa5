// Parses and checks a program of pixelrnn_ext/incremental/native.py: its steps access only the given buffers, whatever
// the program's integers are. An invalid program throws std::runtime_error with one sentence.
//
// `code` is a list of integers, step by step. A step begins with its kind (StepKind). Buffers, packed and scaled are
// indices of tensors, or -1 for none:
//   linear base output start stop relu packed block taps (input shift channels)*
//   cell base carried shift c h addend output start stop packed block taps (input shift channels)*
//   pointwise left right output start stop relu
//   draw logits uniform known values scaled image colour
//   encode logits values intervals scaled image colour
//   decode logits known values scaled image colour
// Buffers are contiguous, [margin + width, N, channels]. uniform is float64, known bool, values and intervals int64,
// all others of one dtype. block is the result of column_block for the packed weights.
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
template <> constexpr View::Type kViewType<uint8_t> = View::kBool;  // a bool tensor may hold any byte
template <> constexpr View::Type kViewType<int64_t> = View::kInt64;

template <class... Words> void expect(bool right, const Words&... words) {
  if (right) return;
  std::ostringstream sentence;
  sentence << "run_columns: ";
  (sentence << ... << words);
  throw std::runtime_error(sentence.str());
}

template <class T> class ColumnProgram {
 public:
  // The steps keep the tensors' data pointers, but not `code`.
  ColumnProgram(const std::vector<View>& tensors, const std::vector<int64_t>& code, int64_t margin, ColumnBlocks blocks)
      : tensors_(tensors), code_(code), margin_(margin), blocks_(blocks) {
    expect(!tensors.empty() && tensors[0].sizes.size() == 3, "expected buffers");
    columns_ = tensors[0].sizes[0], images_ = tensors[0].sizes[1];
    expect(columns_ < kMost && images_ < kMost, "expected fewer than 2^31 columns and images, got ", columns_, " and ",
        images_);
    expect(margin >= 0 && columns_ > margin, "expected 0 <= margin < columns, got ", margin, " and ", columns_);
    while (at_ < code_.size()) steps.push_back(step());
  }

  std::vector<ColumnStep<T>> steps;

  // Checks the streams and returns the settings of a run. `streams` cover all images in order; `data` has `bytes`
  // bytes.
  ColumnRun run(
      double temperature, bool on_grid, std::vector<Stream>* streams, const uint8_t* data, int64_t bytes) const {
    expect(!on_grid || kViewType<T> == View::kDouble, "expected float64 on the grid");
    expect(!decodes_ || images_ == 0 || (streams && !streams->empty()), "expected streams to decode");
    int64_t before = 0;
    if (streams)
      for (const Stream& s : *streams) {
        expect(before == s.first && s.first <= s.last, "a stream has the images ", s.first, " to ", s.last, " behind ",
            before);
        expect(0 <= s.at && s.at <= int64_t(1) << 62 && s.end <= bytes && s.range >= kLeastRange,
            "a stream is not one that was opened in ", bytes, " bytes");
        before = s.last;
      }
    expect(!streams || before == images_, "there are streams of ", before, " of ", images_, " images");
    return {margin_, columns_ - margin_, images_, temperature, on_grid, streams ? streams->data() : nullptr,
        streams ? int64_t(streams->size()) : 0, data};
  }

 private:
  // The limit of columns, images and channels: 64 bits hold a product of two.
  static constexpr int64_t kMost = int64_t(1) << 31;

  int64_t next() {
    expect(at_ < code_.size(), "the program ends within a step");
    return code_[at_++];
  }
  const View& tensor(View::Type type) {
    const int64_t index = next();
    expect(index >= 0 && index < int64_t(tensors_.size()), "there is no tensor ", index);
    const View& t = tensors_[index];
    expect(t.type == type && t.contiguous, "tensor ", index, " has a wrong dtype or is not contiguous");
    return t;
  }
  template <class U = T> RowBuffer<U> buffer() {
    const View& t = tensor(kViewType<U>);
    expect(t.sizes.size() == 3 && t.sizes[0] == columns_ && t.sizes[1] == images_, "expected a buffer [", columns_,
        ", ", images_, ", channels]");
    expect(t.sizes[2] < kMost, "expected fewer than 2^31 channels, got ", t.sizes[2]);
    return {static_cast<U*>(t.data), t.sizes[2]};
  }
  RowBuffer<T> optional_buffer() {
    if (at_ < code_.size() && code_[at_] == -1) return ++at_, RowBuffer<T>{nullptr, kMost};  // fits any range
    return buffer();
  }
  int64_t column_shift() {
    const int64_t shift = next();
    expect(shift <= 0 && shift >= -margin_, "expected a shift from ", -margin_, " to 0, got ", shift);
    return shift;
  }
  void range(ColumnStep<T>& s, std::initializer_list<RowBuffer<T>> buffers) {
    s.start = next(), s.stop = next();
    for (const auto& b : buffers)
      expect(0 <= s.start && s.start <= s.stop && s.stop <= b.channels, "channels ", s.start, " to ", s.stop,
          " are not in a buffer");
  }
  // Reads the weights and taps of a step with `gates` gates, whose blocks have `size` outputs.
  void taps(ColumnStep<T>& s, int gates, int size) {
    const View& packed = tensor(kViewType<T>);
    const int64_t block = next();
    expect(block == size, "the weights are packed in blocks of ", block, ", and the kernels read blocks of ", size);
    int64_t all = 0;
    for (int64_t n = next(); n > 0; --n) {
      const RowBuffer<T> input = buffer();
      const int64_t shift = column_shift(), channels = next();
      expect(
          channels >= 0 && channels <= input.channels, "a tap reads ", channels, " of ", input.channels, " channels");
      s.taps.push_back({input, shift, channels});
      all += channels;
      expect(all < kMost, "expected taps of fewer than 2^31 channels, got ", all);
    }
    const int64_t weights = (s.stop - s.start + size - 1) / size * all * gates * size;
    expect(packed.numel() == weights, "expected ", weights, " packed weights, got ", packed.numel());
    s.packed = static_cast<const T*>(packed.data);
  }

  // Reads the rest of a draw, encode or decode step. `whole`: channels of buffers that must have one for each colour.
  void value(ColumnStep<T>& s, std::initializer_list<int64_t> whole) {
    const View& scaled = tensor(kViewType<T>);
    s.scaled = static_cast<const T*>(scaled.data);
    s.output = buffer(), s.colour = next();
    const int64_t colours = s.output.channels;
    expect(0 <= s.colour && s.colour < colours && s.base.channels % colours == 0 && s.base.channels > 0, "colour ",
        s.colour, " has no logits");
    const int64_t logits = s.base.channels / colours, levels = logits == 1 ? 2 : logits;
    for (int64_t channels : whole)
      expect(channels == colours && scaled.numel() == levels, "expected ", colours, " colours of ", levels, " levels");
    expect(s.kind == StepKind::kDraw || levels <= Distribution::kMostSymbols, "expected at most ",
        int64_t(Distribution::kMostSymbols), " levels to code, got ", levels);
    for (int64_t i = s.colour; i < columns_ * images_ * colours; i += colours)
      expect((s.known.data && !s.known.data[i]) || (0 <= s.values.data[i] && s.values.data[i] < levels),
          "expected known values in [0, ", levels, "), got ", s.values.data[i]);
    s.start = s.colour * logits, s.stop = s.start + logits;
  }

  ColumnStep<T> step() {
    ColumnStep<T> s{};
    s.kind = StepKind(next());
    switch (s.kind) {
      case StepKind::kLinear:
        s.base = buffer(), s.output = buffer();
        range(s, {s.base, s.output});
        s.relu = next();
        taps(s, 1, blocks_.outputs);
        break;
      case StepKind::kCell:
        s.base = buffer(), s.carried = buffer(), s.shift = column_shift(), s.c = buffer(), s.h = buffer(),
        s.addend = buffer(), s.output = buffer();
        range(s, {s.carried, s.c, s.h, s.addend, s.output});
        expect(s.base.channels == 4 * s.h.channels, "expected ", 4 * s.h.channels, " channels of gates, got ",
            s.base.channels);
        taps(s, 4, blocks_.units);
        break;
      case StepKind::kPointwise:
        s.base = buffer(), s.addend = optional_buffer(), s.output = buffer();
        range(s, {s.base, s.addend, s.output});
        s.relu = next();
        break;
      case StepKind::kDraw:
        s.base = buffer(), s.uniform = buffer<double>(), s.known = buffer<uint8_t>(), s.values = buffer<int64_t>();
        value(s, {s.uniform.channels, s.known.channels, s.values.channels});
        break;
      case StepKind::kEncode:
        s.base = buffer(), s.values = buffer<int64_t>(), s.intervals = buffer<int64_t>();
        value(s, {s.values.channels, s.intervals.channels});
        break;
      case StepKind::kDecode:
        decodes_ = true;
        s.base = buffer(), s.known = buffer<uint8_t>(), s.values = buffer<int64_t>();
        value(s, {s.known.channels, s.values.channels});
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
  size_t at_ = 0;
  bool decodes_ = false;
};

}  // namespace pixelrnn::cpu
