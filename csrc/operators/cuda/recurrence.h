// The recurrence of all layers on a GPU, without the product of their input: allocates, chooses the path, runs it on
// the current stream. pixelrnn_ext/operators/scan/gpu.py makes the public operators of it.
#pragma once
#include <string>
#include <tuple>

#include "../arguments.h"

namespace pixelrnn::cuda {

// Returns (h [B, H, W, D, h], c, gates) of a scan whose x holds the input's product and the bias too: of input,
// weight_ih and bias the shapes alone are checked. sizes are on the device of x, and the host does not read them. c and
// gates hold anything outside of images that are smaller than their maps. path: see Path in ../../cuda/path.h; with
// groups given, only the pass that is called has to run. tf32: float32 products may be computed in it.
std::tuple<Tensor, Tensor, Tensor> recurrence(const ScanArguments&);

// dh is that of h, whatever is merged. Of the scan's input or x the sizes alone matter.
struct RecurrenceGradients {
  Stack& from;
  Tensor dh = from.tensor(), c = from.tensor(), gates = from.tensor();
  ScanArguments scan{from};
};
// Returns (dx, dc_left, dc_above). dx is [D, B, H, W, G h], and zero outside of the images. dc_left [D, B, chains, h]
// is the gradient of c before each chain: the cells of a line, or the rows of the map where lines are diagonals.
// dc_above [D, B, h] is the gradient of c above the first row, summed over the row; a cell of four gates has none, [D,
// 0, h].
std::tuple<Tensor, Tensor, Tensor> recurrence_backward(const RecurrenceGradients&);

// Operands of the matrix products for the gradients of weights and initial states (gradient_operands.cpp).
//
// Returns [D, B, H, W, count, h] of h [B, H, W, D, h]: the hidden state that tap first + k of each cell reads, which is
// h0, or zero, outside of the image. sizes, corners and diagonal are those of a scan.
Tensor neighbour_states(Tensor h, Optional h0, Optional sizes, std::vector<int64_t> corners, bool diagonal,
    int64_t taps, int64_t first, int64_t count);

// Returns [D, B, taps, G h] of dx [D, B, H, W, G h]: its sums over the cells of each image whose tap lies outside of
// the image, in float32 at least.
Tensor border_sums(Tensor dx, Optional sizes, std::vector<int64_t> corners, bool diagonal, int64_t taps);

// Returns what the resident path would do, forward and backward, on a GPU of that compute capability (90 for 9.0; 0:
// the current GPU). Where it cannot run the text starts with "step path: " and goes on with the reason.
std::tuple<std::string, std::string> describe_plan(int64_t directions, int64_t images, int64_t height, int64_t width,
    int64_t hidden, int64_t taps, bool diagonal, std::string format, int64_t capability, std::string path,
    int64_t gates);

// The schemas and kernels of this folder, which the CUDA build (module.cpp) and tests/helpers/emulated share.
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
// On the device of their tensors.
template <class Library> void implement_recurrences(Library& m) {
  m.impl("recurrence", &boxed<ScanArguments, recurrence>);
  m.impl("recurrence_backward", &boxed<RecurrenceGradients, recurrence_backward>);
  m.impl("neighbour_states", TORCH_BOX(&neighbour_states));
  m.impl("border_sums", TORCH_BOX(&border_sums));
}

}  // namespace pixelrnn::cuda
