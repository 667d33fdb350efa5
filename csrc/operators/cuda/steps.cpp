#include <array>

#include "scan.h"

namespace pixelrnn::cuda {
namespace {

StepShape step_shape(const Scan& s, int line) {
  const Geometry g = s.geometry(0);  // all directions have the same active cells on a line
  StepShape shape{int(s.directions), int(s.images), s.pixels(), int(s.hidden), int(s.taps), line, g.first(line),
      g.end(line) - g.first(line), {}, s.ragged_images()};
  for (int d = 0; d < kMaxDirections; ++d) shape.geometry[d] = s.geometry(d);
  return shape;
}

void bmm_out(const Tensor& a, const Tensor& b, const Tensor& out) {
  std::array<StableIValue, 3> stack{stable::detail::from(a), stable::detail::from(b), stable::detail::from(out)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::bmm", "out", stack.data(), TORCH_ABI_VERSION));
  (void)stable::detail::to<Tensor>(stack[0]);
}

// Multiplies the active cells' rows of `operand` [D, cells * B, K] by `weight` [D, K, N]. The product lies at the start
// of `out`.
Tensor multiply_active(const Scan& s, const StepShape& line, Tensor operand, const Tensor& weight, Tensor out) {
  const int64_t rows = int64_t(line.active) * s.images, columns = weight.size(2);
  const Tensor product =
      stable::view(stable::narrow(out, 0, 0, s.directions * rows * columns), {s.directions, rows, columns});
  bmm_out(stable::narrow(operand, 1, int64_t(line.first) * s.images, rows), weight, product);
  return product;
}

// Returns the weight as [directions, taps, gates, hidden units], with the gates in the order of x.
Tensor weight_rows(const Scan& s) {
  Tensor weight = s.weight_hh;
  const int64_t h = s.hidden, four = 4 * h;
  if (s.gates == 4) return stable::view(weight, {s.directions, s.taps, four, h});
  Tensor rows = stable::new_empty(weight, {s.directions, s.taps, s.columns(), h});
  Tensor first = stable::narrow(rows, 2, 0, four), fifth = stable::narrow(rows, 2, four, h);
  stable::copy_(first, stable::reshape(stable::narrow(weight, 3, 0, 4), {s.directions, s.taps, four, h}));
  stable::copy_(fifth, stable::select(weight, 3, 4));
  return rows;
}

// On the first line all neighbours are outside the image, so their state is h0, or zero without h0.
Tensor initial_operand(const Scan& s, int64_t rows) {
  Tensor operand = stable::new_zeros(s.weight_hh, {s.directions, rows, s.taps * s.hidden});
  if (!s.h0) return operand;
  Tensor by_tap = stable::view(operand, {s.directions, rows * s.taps, s.hidden});
  stable::copy_(by_tap, stable::unsqueeze(*s.h0, 1));
  return operand;
}

}  // namespace

void step_forward_scan(const Scan& s, const Tensor& x, Tensor& h, Tensor& c, Tensor& gates, CUstream stream) {
  const Geometry g = s.geometry(0);
  const int64_t rows = int64_t(g.cells) * s.images;
  const Tensor matrix =
      stable::reshape(call_permute(weight_rows(s), {0, 1, 3, 2}), {s.directions, s.taps * s.hidden, s.columns()});
  const Tensor operand = initial_operand(s, rows),
               workspace = stable::new_empty(x, {s.directions * rows * s.columns()});
  const StepCell cell = s.step_cell();
  CUfunction kernel = nullptr;
  check(load_step_kernel(map_type(s.type), int(s.gates), false, kernel));
  for (int t = 0; t < g.lines; ++t) {
    const StepShape line = step_shape(s, t);
    const Tensor product = multiply_active(s, line, operand, matrix, workspace);
    check(step_forward(kernel,
        {line, cell, product.const_data_ptr(), x.const_data_ptr(), in(s.c0), h.mutable_data_ptr(), c.mutable_data_ptr(),
            gates.mutable_data_ptr(), operand.mutable_data_ptr()},
        stream));
  }
}

std::tuple<Tensor, Tensor> step_backward_scan(
    const Scan& s, const Tensor& dh, const Tensor& c, const Tensor& gates, Tensor& dx, CUstream stream) {
  const Geometry g = s.geometry(0);
  const int64_t rows = int64_t(g.cells) * s.images, columns = s.columns();
  const Tensor matrix = stable::reshape(weight_rows(s), {s.directions, s.taps * columns, s.hidden});
  const Tensor operand = stable::new_zeros(dx, {s.directions, rows, s.taps * columns}),
               workspace = stable::new_empty(dx, {s.directions * rows * s.hidden});
  // dc_left carries gradients of c to the left, and dc_up upwards. Lines alternate between the two parts of dc_up, in
  // which a row of zeros follows the last row.
  Tensor dc_left = stable::new_zeros(c, {s.directions, rows, s.hidden}),
         dc_up = stable::new_zeros(c, {2, s.directions, carries_up(s.gates) ? rows + s.images : 0, s.hidden}),
         dc_above = stable::new_zeros(c, {s.directions, carries_up(s.gates) ? s.images : 0, s.hidden});
  const StepCell cell = s.step_cell();
  CUfunction kernel = nullptr;
  check(load_step_kernel(map_type(s.type), int(s.gates), true, kernel));
  for (int t = g.lines - 1; t >= 0; --t) {
    const StepShape line = step_shape(s, t);
    Optional product;
    if (t + 1 < g.lines) product = multiply_active(s, line, operand, matrix, workspace);
    check(step_backward(kernel,
        {line, cell, in(product), dh.const_data_ptr(), gates.const_data_ptr(), c.const_data_ptr(), in(s.c0),
            dx.mutable_data_ptr(), dc_left.mutable_data_ptr(), dc_up.mutable_data_ptr(), dc_above.mutable_data_ptr(),
            operand.mutable_data_ptr()},
        stream));
  }
  return {stable::view(dc_left, {s.directions, g.cells, s.images, s.hidden}), dc_above};
}

}  // namespace pixelrnn::cuda
