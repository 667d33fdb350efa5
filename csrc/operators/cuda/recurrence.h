// The recurrence of all layers on a GPU, without the input-to-state product: allocates the outputs, chooses kernels and
// launches them on the current stream. pixelrnn_ext/operators/scan/gpu.py calls these operators.
#pragma once
#include <string>
#include <tuple>

#include "../arguments.h"

namespace pixelrnn::cuda {

// Returns (h [B, H, W, D, h], c, gates) of a scan. x includes the input-to-state product and the bias, so only the
// shapes of input, weight_ih and bias are checked. sizes is on the device of x, and the host does not read it. Outside
// an image c and gates are undefined. If the path (../../cuda/path.h) forces resident kernels, they must be able to run
// forward and backward. If the path has groups, forward is enough.
std::tuple<Tensor, Tensor, Tensor> recurrence(const ScanArguments&);

// dh is the gradient of h, even if the scan merges directions. Only the shapes of input and x are read.
struct RecurrenceGradients {
  Stack& from;
  Tensor dh = from.tensor(), c = from.tensor(), gates = from.tensor();
  ScanArguments scan{from};
};
// Returns (dx, dc_left, dc_above). dx is [D, B, H, W, G h], and zero outside the images. dc_left is the gradient of the
// initial c of each column, [D, B, W, h], or in a diagonal scan of each row, [D, B, H, h]. dc_above [D, B, h] is the
// gradient of c above the first row, summed over the row. With four gates dc_above is empty, [D, 0, h].
std::tuple<Tensor, Tensor, Tensor> recurrence_backward(const RecurrenceGradients&);

// Returns the hidden states [D, B, H, W, count, h] that each cell reads at taps first to first + count - 1. h is [B, H,
// W, D, h]. A neighbour outside the image has the state h0, or zero without h0. The weights' gradients need these
// states.
Tensor neighbour_states(Tensor h, Optional h0, Optional sizes, std::vector<int64_t> corners, bool diagonal,
    int64_t taps, int64_t first, int64_t count);

// Returns sums [D, B, taps, G h], float64 if dx is, otherwise float32. For each image and tap, dx [D, B, H, W, G h] is
// summed over the cells whose neighbour at this tap is outside the image.
Tensor border_sums(Tensor dx, Optional sizes, std::vector<int64_t> corners, bool diagonal, int64_t taps);

// Describes the resident kernels' plan, forward and backward, for a compute capability (90 means 9.0, 0 the current
// GPU). If no resident kernel can run, the text is "step path: " and the reason.
std::tuple<std::string, std::string> describe_plan(int64_t directions, int64_t images, int64_t height, int64_t width,
    int64_t hidden, int64_t taps, bool diagonal, std::string format, int64_t capability, std::string path,
    int64_t gates);

// Defines the schemas, for the CUDA build (module.cpp) and tests/helpers/emulated.
template <class Library> void define_recurrences(Library& m) {
  m.def("recurrence(" PIXELRNN_SCAN ") -> (Tensor h, Tensor c, Tensor gates)");
  m.def("recurrence_backward(Tensor dh, Tensor c, Tensor gates, " PIXELRNN_SCAN
        ") -> (Tensor dx, Tensor dc_left, Tensor dc_above)");
  m.def(
      "neighbour_states(Tensor h, Tensor? h0, Tensor? sizes, int[] corners, bool diagonal, int taps, int first, int "
      "count) -> Tensor");
  m.def("border_sums(Tensor dx, Tensor? sizes, int[] corners, bool diagonal, int taps) -> Tensor");
  m.def(
      "describe_plan(int directions, int images, int height, int width, int hidden, int taps, bool diagonal, str "
      "format, int capability, str path, int gates=4) -> (str forward, str backward)");
}
template <class Library> void implement_recurrences(Library& m) {
  m.impl("recurrence", &boxed<ScanArguments, recurrence>);
  m.impl("recurrence_backward", &boxed<RecurrenceGradients, recurrence_backward>);
  m.impl("neighbour_states", TORCH_BOX(&neighbour_states));
  m.impl("border_sums", TORCH_BOX(&border_sums));
}

}  // namespace pixelrnn::cuda
