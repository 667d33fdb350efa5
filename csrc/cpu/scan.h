// The scan of the Row LSTM, the Diagonal LSTM and LSTM2d on a CPU, without torch. Feature maps are contiguous.
//   h is [images][height][width][directions][hidden].
//   merged, which is h of all directions merged, is [images][height][width][hidden].
//   dh has the shape of merged if the directions are merged, and otherwise of h.
//   c is [directions][images][height][width][hidden].
//   x, gates and dx are [directions][images][height][width][gates * hidden], in the order of kernels.h.
// An image may be smaller than its map, and lies in the map's top left corner. Outside the image, no input is read, and
// h, merged, dx and dinput are zero. No output overlaps another tensor. The same data, instruction set and number of
// shares (Team::threads) give the same bits.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../geometry.h"
#include "kernels.h"
#include "team.h"

namespace pixelrnn::cpu {

struct ImageSize { int height, width; };

struct Shape {
  int directions, images, height, width, hidden;
  bool diagonal;
  Corner corner[kMaxDirections];
  int taps;  // number of neighbours whose h a cell reads
  // input_channels is the number of channels of the input. input_taps is the number of input pixels that a cell reads.
  int input_channels = 0, input_taps = 0;
  // Width of the input-to-state kernel, of which the mask keeps the first input_taps positions.
  int input_kernel = input_taps;
  int gates = 4;
  const ImageSize* sizes = nullptr;  // null if all images fill their maps

  int columns() const { return gates * hidden; }
  int64_t pixels() const { return int64_t(height) * width; }

  ImageSize image_size(int64_t image) const { return sizes ? sizes[image] : ImageSize{height, width}; }
  Geometry geometry(int direction, ImageSize size) const {
    return diagonal ? Geometry::diagonal(size.height, size.width, corner[direction], width)
                    : row_geometry(direction, size);
  }
  Geometry geometry(int direction) const { return geometry(direction, {height, width}); }
  Geometry row_geometry(int direction, ImageSize size) const {
    return Geometry::row(size.height, size.width, corner[direction], width);
  }

  // Returns how many threads shorten a scan. More threads than scans share lines. Unless they have columns of their own
  // (sweep.h), they wait for each other at the end of each line, which takes about as long as kLineWork multiply-adds.
  int useful_threads(ThreadLimit limit) const {
    constexpr int64_t kCellWork = 2048, kLineWork = 1 << 14;  // kCellWork: a cell's work besides its products
    const int64_t scans = int64_t(directions) * images;
    const int64_t cell_work = kCellWork + int64_t(columns()) * (taps * hidden + input_taps * input_channels);
    const int64_t work = scans * pixels() * cell_work;
    const int useful = limit.useful(work);
    if (useful <= scans) return useful;
    const int64_t line_work = work / std::max(1, geometry(0).lines);
    return int(std::clamp<int64_t>(line_work / kLineWork, std::max<int64_t>(scans, 1), useful));
  }

  int h_stride() const { return directions * hidden; }
  int64_t h_offset(int direction, int64_t image) const { return image * pixels() * h_stride() + direction * hidden; }
};

// kSum adds h of all directions. kShift first moves h of the second direction down by a row.
enum class Merge { kNone, kShift, kSum };

// Pre-activations are x + weight * h of the neighbours + weight_ih * input + bias. All terms except the one with h may
// be absent.
template <class T> struct Forward {
  const T* x;
  Weights<const T> weight;
  // [directions][hidden] states outside the image; null means zero.
  const T* h0;
  const Sum<T>* c0;
  const T* input;  // [images][height][width][input_channels], or null
  Weights<const T> weight_ih;
  Weights<const T> bias;  // weights of a constant input 1; may be absent
  // Outputs; `gates` are activated.
  T* h;
  Sum<T>* c;
  Gate<T>* gates;
  Merge merge = Merge::kNone;
  T* merged = nullptr;
  // Only for five gates. Peephole weights are [directions][4][hidden].
  CellParameters<Sum<T>> cell = {};
};
template <class T> void forward(const Shape&, const Forward<T>&, const Team&, int instruction_set);

// A gradient whose data is null is not computed.
template <class T> struct WeightGradients { Weights<T> weight, weight_ih, bias; };

template <class T> struct Backward {
  const T* dh;  // gradient of `merged` if forward() merged, else of h
  Weights<const T> weight;
  const T* h0;
  const Sum<T>* c0;
  // Outputs of forward(). h is needed only for dweights.weight.
  const T* h;
  const Sum<T>* c;
  const Gate<T>* gates;
  const T* input;              // needed only for dweights.weight_ih
  Weights<const T> weight_ih;  // needed only for dinput
  // Outputs, null if not wanted.
  T* dx;  // gradient of the pre-activations
  // [directions][images][hidden]
  Sum<T>* dh0;
  Sum<T>* dc0;
  T* dinput;
  WeightGradients<T> dweights;
  Merge merge = Merge::kNone;
  CellParameters<Sum<T>> cell = {};
  Sum<T>* dpeephole = nullptr;  // [directions][images][4][hidden]
};
template <class T> void backward(const Shape&, const Backward<T>&, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
