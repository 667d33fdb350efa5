// The operators that merge the two directions of a scan: schemas, checks, CPU registration.
// pixelrnn_ext/operators/recurrence/directions.py adds the rest.
#include "../cpu/directions.h"

#include "operators.h"

namespace pixelrnn {
namespace {

// h [2, B, H, W, h] -> [B, H, W, h]: the first direction plus the second one, shifted down by a row.
Tensor merge_directions(Tensor h) {
  STD_TORCH_CHECK(h.dim() == 5 && h.size(0) == 2, "merge_directions: expected h [2, B, H, W, h]");
  make_contiguous(h);
  const int64_t B = h.size(1), H = h.size(2), W = h.size(3), C = h.size(4);
  Tensor y = kept(h, {B, H, W, C});
  if (y.numel() == 0) return y;
  dispatch(h, [&](auto zero) {
    using T = decltype(zero);
    cpu::merge_directions<T>(B, H, W * C, in<T>(h), in<T>(h) + y.numel(), out<T>(y), team());
  });
  return y;
}

// Its adjoint: dy [B, H, W, h] -> [2, B, H, W, h].
Tensor split_directions(Tensor dy) {
  STD_TORCH_CHECK(dy.dim() == 4, "split_directions: expected dy [B, H, W, h]");
  make_contiguous(dy);
  const int64_t B = dy.size(0), H = dy.size(1), W = dy.size(2), C = dy.size(3);
  Tensor h = kept(dy, {2, B, H, W, C});
  if (h.numel() == 0) return h;
  dispatch(dy, [&](auto zero) {
    using T = decltype(zero);
    cpu::split_directions<T>(B, H, W * C, in<T>(dy), out<T>(h), out<T>(h) + dy.numel(), team());
  });
  return h;
}

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) {
  m.def("merge_directions(Tensor h) -> Tensor");
  m.def("split_directions(Tensor dy) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CPU, m) {
  m.impl("merge_directions", TORCH_BOX(&pixelrnn::merge_directions));
  m.impl("split_directions", TORCH_BOX(&pixelrnn::split_directions));
}
