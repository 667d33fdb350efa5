// The arguments of the operators `scan` and `scan_gradients` on all devices, and of the operator `recurrence` on a GPU.
//
// In shapes, D is the number of directions, B of images, h of hidden units, and G of gates (4 or 5). H and W are height
// and width. A tap is a pixel whose hidden state or input a cell reads. An axis of length G h holds the first four
// gates of each unit, and then the fifth gates of all units. The operators make operands contiguous unless the list
// says "any strides". scan.cpp documents the outputs, and all other arguments of scan_gradients.
//
//   input: [B, H, W, channels].
//   weight_ih: [D, taps, h, G, channels], the input-to-state weights. The taps are the first pixels of a window in the
//     cell's row. The window has input_kernel pixels, and its centre is the cell. Any strides.
//   bias: [D, h, G]. Any strides.
//   x: [D, B, H, W, G h], which is added to the pre-activations.
//   weight_hh: [D, taps, h, G, h], the state-to-state weights. Any strides.
//   h0, c0: [D, h], the states outside the image. None means zero.
//   peephole: [D, 4, h], the peephole weights of i, f_left, f_up and o.
//   sizes: [B, 2] of int64, the height and width of each image in the top left corner of its map. Larger sizes are
//     clamped.
//   corners: the corner where each direction starts, as 2 for the bottom plus 1 for the right.
//   diagonal: true if a cell reads the states above and to the left (Diagonal LSTM). False if a cell reads an odd
//     number of states in the row above (Row LSTM).
//   cell: the name of a NamedCell.
//   merge: "none", "sum" (adds h of all directions), or "shift" (moves h of the second direction down by one row, then
//     adds h of both directions).
//   path: which CUDA kernels run (../cuda/scan/path.h).
//   tf32: whether the CUDA kernels may use TF32 for products of float32 numbers.
#pragma once
#include <array>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "../formula.h"
#include "../geometry.h"
#include "checks.h"

#define PIXELRNN_SCAN                                                                                             \
  "Tensor? input, Tensor? weight_ih, Tensor? bias, Tensor? x, Tensor weight_hh, Tensor? h0, Tensor? c0, Tensor? " \
  "peephole, Tensor? sizes, int[] corners, bool diagonal, int input_kernel, str cell, str merge, str "            \
  "path=\"auto\", bool tf32=False"

namespace pixelrnn {

// A kind of LSTM cell (pixelrnn_ext/cells.py).
struct NamedCell {
  const char* name;
  int gates;
  Formula formula;  // used only by cells of five gates
  double scale;
  bool may_have_peepholes;
};

inline const NamedCell& cell_named(const std::string& name) {
  static const NamedCell cells[] = {
      {"pixelrnn", 4, Formula::kForget, 1, false},
      {"stable", 5, Formula::kStable, 1, false},
      {"graves", 5, Formula::kForget, 1, true},
      {"halved", 5, Formula::kForget, 0.5, true},
      {"leaky", 5, Formula::kLeaky, 1, false},
      {"max", 5, Formula::kMax, 1, false},
  };
  for (const NamedCell& cell : cells)
    if (name == cell.name) return cell;
  STD_TORCH_CHECK(false, "scan: expected the name of a cell, got ", name);
}

class Stack {
 public:
  explicit Stack(const StableIValue* first) : next_(first), first_(first) {}
  Tensor tensor() { return take<Tensor>(); }
  Optional optional() { return take<Optional>(); }
  std::vector<int64_t> integers() { return take<std::vector<int64_t>>(); }
  std::vector<bool> flags() { return take<std::vector<bool>>(); }
  int64_t integer() { return take<int64_t>(); }
  bool flag() { return take<bool>(); }
  std::string text() { return take<std::string>(); }
  uint64_t taken() const { return next_ - first_; }

 private:
  template <class T> T take() { return stable::detail::to<T>(*next_++); }
  const StableIValue *next_, *first_;
};

// Adapts KERNEL(Arguments) to torch's dispatcher. The struct Arguments must declare its members in the order of the
// operator's schema, because each member takes the next value from the stack.
template <class Arguments, auto KERNEL> void boxed(StableIValue* stack, uint64_t num_args, uint64_t num_outputs) {
  Stack from(stack);
  auto result = KERNEL(Arguments{from});
  STD_TORCH_CHECK(from.taken() == num_args && std::tuple_size_v<decltype(result)> == num_outputs,
      "pixelrnn_ext: the kernel does not fit the operator's schema");
  stable::detail::box_from_tuple(stack, std::move(result));
}

struct ScanArguments {
  Stack& from;
  Optional input = from.optional(), weight_ih = from.optional(), bias = from.optional(), x = from.optional();
  Tensor weight_hh = from.tensor();
  Optional h0 = from.optional(), c0 = from.optional(), peephole = from.optional(), sizes = from.optional();
  std::vector<int64_t> corners = from.integers();
  bool diagonal = from.flag();
  int64_t input_kernel = from.integer();
  std::string cell = from.text(), merge = from.text(), path = from.text();
  bool tf32 = from.flag();
};

struct GradientsArguments {
  Stack& from;
  Tensor dh = from.tensor(), h = from.tensor(), c = from.tensor(), gates = from.tensor();
  std::vector<bool> wanted = from.flags();
  bool shares = from.flag();
  ScanArguments scan{from};
};
enum Operand { kInput, kWeightIh, kBias, kX, kWeightHh, kH0, kC0, kPeephole, kOperandCount };

struct ScanSizes {
  int64_t directions, images, height, width, hidden, gates, taps, channels, input_taps;
  bool merged;

  int64_t columns() const { return gates * hidden; }
  std::vector<int64_t> h() const { return {images, height, width, directions, hidden}; }
  std::vector<int64_t> y() const { return {images, height, width, hidden}; }
  std::vector<int64_t> dh() const { return merged ? y() : h(); }
  std::vector<int64_t> maps(int64_t values) const { return {directions, images, height, width, values}; }
};

constexpr int64_t kMaxTaps = 1 << 20;

inline std::array<Corner, kMaxDirections> read_corners(const std::vector<int64_t>& corners, int64_t directions) {
  STD_TORCH_CHECK(directions >= 1 && directions <= kMaxDirections && directions == int64_t(corners.size()),
      "scan: expected 1 to ", kMaxDirections, " directions and a corner of each, got ", directions, " and ",
      corners.size());
  std::array<Corner, kMaxDirections> result{};
  for (int64_t d = 0; d < directions; ++d) {
    STD_TORCH_CHECK(corners[d] >= 0 && corners[d] < 4, "scan: expected corners from 0 to 3, got ", corners[d]);
    result[d] = {corners[d] >= 2, corners[d] % 2 == 1};
  }
  return result;
}

inline ScanSizes checked_sizes(const ScanArguments& a) {
  const Tensor& w = a.weight_hh;
  check_axes("weight_hh", w, "[D, taps, h, G, h]");
  STD_TORCH_CHECK(a.x || a.input, "scan: expected x or input, got neither");
  STD_TORCH_CHECK(
      a.input.has_value() == a.weight_ih.has_value(), "scan: expected input and weight_ih together, got one of them");
  check_axes("input", a.input, "[B, H, W, channels]");
  check_axes("weight_ih", a.weight_ih, "[D, taps, h, G, channels]");
  check_axes("x", a.x, "[D, B, H, W, G h]");
  const Tensor& map = a.x ? *a.x : *a.input;
  const int first = a.x ? 1 : 0;
  const NamedCell& cell = cell_named(a.cell);
  const ScanSizes s{w.size(0), map.size(first), map.size(first + 1), map.size(first + 2), w.size(2), cell.gates,
      w.size(1), a.input ? a.input->size(3) : 0, a.input ? a.weight_ih->size(1) : 0, a.merge != "none"};
  constexpr int64_t limit = int64_t(1) << 31;
  check_below("pixels of an image", s.height * s.width, limit);
  check_below("hidden channels", s.hidden, 1 << 22);
  check_below("channels of the input", s.channels, 1 << 24);
  for (int64_t taps : {s.taps, s.input_taps, a.input_kernel}) check_below("taps and input_kernel", taps, kMaxTaps);
  read_corners(a.corners, s.directions);
  check_below("images of each direction", s.images, limit / s.directions);
  STD_TORCH_CHECK(a.diagonal ? s.taps == 2 : s.taps % 2 == 1, "scan: expected ",
      a.diagonal ? "2 taps" : "an odd number of taps", ", got ", s.taps);
  STD_TORCH_CHECK(!a.input || (a.input_kernel % 2 == 1 && a.input_kernel >= s.input_taps),
      "scan: expected an odd input_kernel of at least ", s.input_taps, ", got ", a.input_kernel);
  STD_TORCH_CHECK(a.diagonal || !carries_up(s.gates), "scan: expected a diagonal scan with the cell ", a.cell);
  STD_TORCH_CHECK(a.merge == "none" || a.merge == "sum" || (a.merge == "shift" && s.directions == 2),
      "scan: expected merge 'none', 'sum', or 'shift' of 2 directions, got '", a.merge, "' of ", s.directions);
  STD_TORCH_CHECK(!a.peephole || cell.may_have_peepholes, "scan: expected no peephole with the cell ", a.cell);
  const auto expect = [&](const char* name, const Optional& t, const std::vector<int64_t>& sizes) {
    check_sizes(name, t, sizes, w);
  };
  expect("input", a.input, {s.images, s.height, s.width, s.channels});
  expect("weight_ih", a.weight_ih, {s.directions, s.input_taps, s.hidden, s.gates, s.channels});
  expect("bias", a.bias, {s.directions, s.hidden, s.gates});
  expect("x", a.x, s.maps(s.columns()));
  expect("weight_hh", w, {s.directions, s.taps, s.hidden, s.gates, s.hidden});
  expect("h0", a.h0, {s.directions, s.hidden});
  expect("c0", a.c0, {s.directions, s.hidden});
  expect("peephole", a.peephole, {s.directions, 4, s.hidden});
  check_sizes("sizes", a.sizes, {s.images, 2}, ScalarType::Long);
  return s;
}

}  // namespace pixelrnn
