// Parses and checks row steps (pixelrnn_ext/incremental/row_steps.py), which compute all columns of an image row
// together.
//
// `code` holds the integers of one step after another. A RowSum adds up products, a bias and a feature map (`map`). The
// integers of a RowSum are 0, its output, its bias, its map, its packed weights, the number of its taps (inputs to
// multiply), and the source of each tap. The integers of a RowCopy are 1, its output, its source, and whether it
// reverses the order of the columns. A tensor is given by its index, an absent tensor by -1.
#pragma once
#include <vector>

#include "tensor_view.h"

namespace pixelrnn {

template <class T> struct RowStep {
  bool is_copy, is_mirrored;
  T* output;
  int64_t columns, outputs;
  struct Tap {
    const T* source;
    int64_t channels;
  };
  std::vector<Tap> taps;
  // A step multiplies several inputs, called taps. `channels` is the number of channels of all taps together.
  int64_t channels;
  const T *bias, *map, *packed;
  int64_t map_image, map_channel, map_row, map_column;  // strides in `map`, 0 along an axis of size 1
};

template <class T> class RowProgram {
 public:
  RowProgram(const std::vector<TensorView>& tensors, const std::vector<int64_t>& code, int64_t images, int64_t height)
      : tensors_(tensors), code_(code), images_(images), height_(height) {
    while (position_ < code_.size()) steps.push_back(step());
  }

  std::vector<RowStep<T>> steps;

 private:
  int64_t read() {
    expect(position_ < code_.size(), "the program ends within a row step");
    return code_[position_++];
  }
  const TensorView* optional_tensor(size_t dimensions) {
    const int64_t index = read();
    if (index == -1) return nullptr;
    expect(index >= 0 && index < int64_t(tensors_.size()), "there is no tensor ", index);
    const TensorView& t = tensors_[index];
    expect(t.type == kViewType<T> && t.contiguous && t.sizes.size() == dimensions, "tensor ", index,
        " has a wrong dtype or shape, or is not contiguous");
    return &t;
  }
  const TensorView& row(int64_t columns = -1) {
    const TensorView* t = optional_tensor(3);
    expect(t && t->sizes[1] == images_ && t->sizes[0] < kMaxSize && t->sizes[2] < kMaxSize, "expected a row [columns, ",
        images_, ", channels]");
    expect(columns < 0 || t->sizes[0] == columns, "expected a row of ", columns, " columns, got ", t->sizes[0]);
    return *t;
  }
  const T* read_map(RowStep<T>& s) {
    const TensorView* t = optional_tensor(4);
    if (!t) return nullptr;
    const int64_t sizes[] = {images_, s.outputs, height_, s.columns};
    int64_t* const strides[] = {&s.map_image, &s.map_channel, &s.map_row, &s.map_column};
    int64_t stride = 1;
    for (int i = 3; i >= 0; --i) {
      expect(t->sizes[i] == sizes[i] || (i != 1 && t->sizes[i] == 1), "a map has the wrong size ", t->sizes[i]);
      *strides[i] = t->sizes[i] == 1 ? 0 : stride;
      stride *= t->sizes[i];
    }
    return static_cast<const T*>(t->data);
  }

  RowStep<T> step() {
    RowStep<T> s{};
    const int64_t kind = read();
    expect(kind == 0 || kind == 1, "there is no row step ", kind);
    s.is_copy = kind == 1;
    const TensorView& output = row();
    s.output = static_cast<T*>(output.data), s.columns = output.sizes[0], s.outputs = output.sizes[2];
    if (s.is_copy) {
      const TensorView& source = row(s.columns);
      expect(source.sizes[2] == s.outputs, "expected ", s.outputs, " channels to copy, got ", source.sizes[2]);
      s.taps.push_back({static_cast<const T*>(source.data), s.outputs});
      s.is_mirrored = read();
      return s;
    }
    const TensorView* bias = optional_tensor(1);
    expect(!bias || bias->sizes[0] == s.outputs, "expected a bias of ", s.outputs, " channels");
    s.bias = bias ? static_cast<const T*>(bias->data) : nullptr;
    s.map = read_map(s);
    const TensorView* packed = optional_tensor(3);
    for (int64_t n = read(); n > 0; --n) {
      const TensorView& source = row(s.columns);
      s.taps.push_back({static_cast<const T*>(source.data), source.sizes[2]});
      s.channels += source.sizes[2];
      expect(s.channels < kMaxSize, "expected taps of fewer than 2^31 channels");
    }
    const int64_t quads = (s.outputs + 3) / 4;
    expect(s.taps.empty() ||
               (packed && packed->sizes[0] == s.channels && packed->sizes[1] == quads && packed->sizes[2] == 4),
        "expected packed weights [", s.channels, ", ", quads, ", 4]");
    s.packed = packed ? static_cast<const T*>(packed->data) : nullptr;
    return s;
  }

  const std::vector<TensorView>& tensors_;
  const std::vector<int64_t>& code_;
  const int64_t images_, height_;
  size_t position_ = 0;
};

}  // namespace pixelrnn
