// A small network of the sampler's steps (csrc/columns/steps.h), which reads the pixel values that it draws or codes.
#pragma once
#include "check.h"

#include "../../csrc/cpu/columns.h"

namespace check {

using pixelrnn::ColumnBlocks;
using pixelrnn::ColumnStep;
using pixelrnn::ColumnTap;
using pixelrnn::RowBuffer;
using pixelrnn::StepKind;

struct Size {
  const char* name;
  int images, width, colours, levels, wide, hidden;
  bool in_short_list;
};

constexpr int kMargin = 2;

// Buffer of an image row, [kMargin + width][images][channels].
template <class U> struct Row {
  std::vector<U> values;
  int images, channels;
  Row(const Size& s, int n) : values(size_t(kMargin + s.width) * s.images * n), images(s.images), channels(n) {}
  U& at(int column, int image, int channel) { return values[(size_t(column) * images + image) * channels + channel]; }
  RowBuffer<U> buffer() { return {values.data(), channels}; }
};

// Packs weights [channels of all taps][gates][outputs] as csrc/cpu/kernels.h says.
template <class T> std::vector<T> packed(const std::vector<T>& weight, int channels, int gates, int outputs, int size) {
  const int blocks = (outputs + size - 1) / size;
  std::vector<T> p(size_t(blocks) * channels * gates * size);
  for (int b = 0; b < blocks; ++b)
    for (int j = 0; j < channels; ++j)
      for (int g = 0; g < gates; ++g)
        for (int u = b * size; u < std::min(outputs, (b + 1) * size); ++u)
          p[((size_t(b) * channels + j) * gates + g) * size + u % size] = weight[(size_t(j) * gates + g) * outputs + u];
  return p;
}

// The steps between the buffers: image -> wide (linear, ReLU) -> state (cell) and sum (pointwise) -> logits (linear) ->
// the next values of image.
template <class T> struct Network {
  Size s;
  ColumnBlocks blocks;
  bool on_grid;
  double scale;
  Row<T> image{s, s.colours}, wide{s, s.wide}, base{s, s.wide}, gates{s, 4 * s.hidden}, c{s, s.hidden}, h{s, s.hidden},
      addend{s, s.hidden}, state{s, s.hidden}, sum{s, s.wide}, logits_base{s, s.colours * s.levels},
      logits{s, s.colours * s.levels};
  Row<double> uniform{s, s.colours};
  Row<uint8_t> known{s, s.colours};
  Row<int64_t> values{s, s.colours};
  std::vector<T> scaled;
  std::vector<std::vector<T>> packs;
  std::vector<ColumnStep<T>> steps;

  // If on_grid, all numbers are on the grid, so that all sums are exact (csrc/cpu/grid.h). `scale` multiplies the
  // weights and c.
  Network(const Size& size, int level, bool on_grid_ = false, double scale_ = 1)
      : s(size), blocks(cpu::column_blocks<T>(level)), on_grid(on_grid_), scale(scale_) {
    for (Row<T>* row : {&base, &gates}) row->values = noise(row->values.size(), 1, 30);
    c.values = noise(c.values.size(), std::min(scale, 256.), 14);
    for (Row<T>* row : {&h, &addend}) row->values = noise(row->values.size(), 1, 14);
    logits_base.values = noise(logits_base.values.size(), 1, 30);
    uniform.values = random<double>(uniform.values.size(), 1);
    for (size_t i = 0; i < known.values.size(); ++i) {
      uniform.values[i] = std::abs(uniform.values[i]), known.values[i] = i % 3 == 0;
      values.values[i] = known.values[i] ? int64_t(i) % levels() : 0;
    }
    for (int i = 0; i < levels(); ++i) scaled.push_back(to_grid(T(2 * i) / T(levels() - 1) - 1, 14));
    for (int k = 0; k < s.colours; ++k) add_colour(k);
    for (size_t i = 0; i < steps.size(); ++i) steps[i].packed = packs[i].data();
  }
  int levels() const { return s.levels == 1 ? 2 : s.levels; }
  T to_grid(T x, int bits) const { return on_grid ? std::ldexp(std::nearbyint(std::ldexp(x, bits)), -bits) : x; }
  std::vector<T> noise(int64_t n, double amplitude, int bits) const {
    std::vector<T> all = random<T>(n, amplitude);
    for (T& x : all) x = to_grid(x, bits);
    return all;
  }
  // Splits channels as torch.tensor_split does.
  int first(int channels, int colour) const {
    return channels / s.colours * colour + std::min(colour, channels % s.colours);
  }

  void add(ColumnStep<T> step, int gates_) {
    int channels = 0;
    for (const auto& tap : step.taps) channels += tap.channels;
    const int outputs = step.stop - step.start;
    const auto weight = noise(int64_t(channels) * gates_ * outputs, scale / std::sqrt(channels + 1.), 16);
    packs.push_back(packed(weight, channels, gates_, outputs, gates_ == 1 ? blocks.outputs : blocks.units));
    steps.push_back(step);
  }
  void add_colour(int k) {
    ColumnStep<T> linear{}, cell{}, pointwise{}, last{}, draw{};
    linear.kind = last.kind = StepKind::kLinear, cell.kind = StepKind::kCell, pointwise.kind = StepKind::kPointwise,
    draw.kind = StepKind::kDraw;
    linear.start = pointwise.start = first(s.wide, k), linear.stop = pointwise.stop = first(s.wide, k + 1);
    linear.taps = {{image.buffer(), -2, s.colours}, {image.buffer(), -1, s.colours}, {image.buffer(), 0, k}};
    linear.base = base.buffer(), linear.output = wide.buffer(), linear.relu = true;
    add(linear, 1);
    cell.start = first(s.hidden, k), cell.stop = first(s.hidden, k + 1);
    cell.taps = {{wide.buffer(), 0, first(s.wide, k + 1)}, {h.buffer(), -1, s.hidden}};
    cell.base = gates.buffer(), cell.carried = c.buffer(), cell.shift = -1, cell.c = c.buffer(), cell.h = h.buffer(),
    cell.addend = addend.buffer(), cell.output = state.buffer();
    add(cell, 4);
    pointwise.base = wide.buffer(), pointwise.addend = k % 2 ? RowBuffer<T>{nullptr, 0} : base.buffer(),
    pointwise.output = sum.buffer(), pointwise.relu = k % 2 == 0;
    add(pointwise, 1);
    last.start = k * s.levels, last.stop = (k + 1) * s.levels;
    last.taps = {{sum.buffer(), 0, first(s.wide, k + 1)}, {state.buffer(), 0, first(s.hidden, k + 1)}};
    last.base = logits_base.buffer(), last.output = logits.buffer();
    add(last, 1);
    draw.start = last.start, draw.stop = last.stop, draw.colour = k;
    draw.base = logits.buffer(), draw.uniform = uniform.buffer(), draw.known = known.buffer(),
    draw.values = values.buffer(), draw.scaled = scaled.data(), draw.output = image.buffer();
    add(draw, 1);
  }
};

}  // namespace check
