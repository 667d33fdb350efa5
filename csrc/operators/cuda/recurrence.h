// GPU operators for the recurrence of all layers, without the input-to-state product.
#pragma once
#include <string>
#include <tuple>

#include "../arguments.h"

namespace pixelrnn::cuda {

// Computes a scan and returns (h, c, gates). In memory, h may have the directions first. x must include the
// input-to-state product and the bias. The values of input, weight_ih and bias are ignored. The host does not read
// sizes. Outside an image c and gates are undefined. Throws if `path` forces resident kernels (../../cuda/scan/path.h)
// that cannot run.
std::tuple<Tensor, Tensor, Tensor> recurrence(const ScanArguments&);

// dh is the gradient of h of each direction, before any merge. Only the shapes of input and x matter.
struct RecurrenceGradients {
  Stack& from;
  Tensor dh = from.tensor(), c = from.tensor(), gates = from.tensor();
  ScanArguments scan{from};
};
// Returns (dx, dc_left, dc_above). ../arguments.h explains the letters.
//   dx: [D, B, H, W, G h], zero outside the images.
//   dc_left: [D, B, H, h], the gradient of c to the left of each row. In a Row LSTM, [D, B, W, h], the gradient of c
//     above each column.
//   dc_above: [D, B, h], the gradient of c above the first row, summed over the row. Empty with four gates: [D, 0, h].
std::tuple<Tensor, Tensor, Tensor> recurrence_backward(const RecurrenceGradients&);

// Returns the hidden states of `count` neighbours of each cell, from neighbour `first` on: [D, B, H, W, count, h]
// (../arguments.h explains the letters). Outside the image the state is h0, or zero without h0. h is [B, H, W, D, h].
Tensor neighbour_states(Tensor h, Optional h0, Optional sizes, std::vector<int64_t> corners, bool diagonal,
    int64_t taps, int64_t first, int64_t count);

// For each neighbour (tap), sums dx over the cells whose neighbour is outside the image: [D, B, taps, G h]
// (../arguments.h). The sums are float64 if dx is float64, otherwise float32.
Tensor border_sums(Tensor dx, Optional sizes, std::vector<int64_t> corners, bool diagonal, int64_t taps);

// Describes the plans of the current GPU (../planning.h).
std::tuple<std::string, std::string> describe_current_plan(int64_t directions, int64_t images, int64_t height,
    int64_t width, int64_t hidden, int64_t taps, bool diagonal, std::string format, std::string path, int64_t gates);

template <class Library> void define_recurrences(Library& m) {
  m.def("recurrence(" PIXELRNN_SCAN ") -> (Tensor h, Tensor c, Tensor gates)");
  m.def("recurrence_backward(Tensor dh, Tensor c, Tensor gates, " PIXELRNN_SCAN
        ") -> (Tensor dx, Tensor dc_left, Tensor dc_above)");
  m.def(
      "neighbour_states(Tensor h, Tensor? h0, Tensor? sizes, int[] corners, bool diagonal, int taps, int first, int "
      "count) -> Tensor");
  m.def("border_sums(Tensor dx, Tensor? sizes, int[] corners, bool diagonal, int taps) -> Tensor");
  m.def(
      "describe_current_plan(int directions, int images, int height, int width, int hidden, int taps, bool diagonal, "
      "str format, str path, int gates=4) -> (str forward, str backward)");
}
template <class Library> void implement_recurrences(Library& m) {
  m.impl("recurrence", &boxed<ScanArguments, recurrence>);
  m.impl("recurrence_backward", &boxed<RecurrenceGradients, recurrence_backward>);
  m.impl("neighbour_states", TORCH_BOX(&neighbour_states));
  m.impl("border_sums", TORCH_BOX(&border_sums));
}

}  // namespace pixelrnn::cuda
