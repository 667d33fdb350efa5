// The operators of the recurrence: schemas, checks, CPU registration. pixelrnn_ext/operators/recurrence/rules.py adds
// fake kernels, autograd and autocast, gpu.py the kernels of a GPU.
//
// Maps are [D, B, H, W, h] (gates and x with a last axis of 4: i, f, g, o), D directions, h hidden channels.
// weight [D, taps, h, 4, h] (units, gates, inputs); h0, c0 [D, h]; input [B, H, W, channels];
// weight_ih [D, input taps, h, 4, channels], the first taps of a kernel that is input_kernel wide (masked taps need not
// be given); bias [D, h, 4]. Weights and bias may have any strides, such as a layer's parameters permuted;
// line_scan_gradients lays the gradients of weights out as they are, so that nothing is copied. Where x, input and bias
// are None they add nothing. path and tf32 choose among the CUDA kernels (cuda/recurrence.h); the CPU kernels have one
// path and compute float32 as it is.
#include <string>
#include <tuple>
#include <vector>

#include "../cpu/scan.h"
#include "operators.h"
#include "weights.h"

namespace pixelrnn {
namespace {

cpu::Shape shape(int64_t directions, int64_t images, int64_t height, int64_t width, int64_t hidden, int64_t taps,
    bool diagonal, bool reverse) {
  STD_TORCH_CHECK(height * width < (int64_t(1) << 31) && hidden < (1 << 24), "line_scan: the map is too large");
  STD_TORCH_CHECK(directions == 1 || directions == 2, "line_scan: expected 1 or 2 directions, got ", directions);
  check_images("line_scan", directions, images);
  STD_TORCH_CHECK(diagonal ? taps == 2 : taps % 2 == 1, "line_scan: expected ",
      diagonal ? "2 taps" : "an odd number of taps", ", got ", taps);
  cpu::Shape s{int(directions), int(images), int(height), int(width), int(hidden), diagonal, {}, int(taps)};
  set_corners(s, reverse);
  return s;
}

// The shape with that of the input, whose sizes are checked.
cpu::Shape with_input(
    cpu::Shape s, const Optional& input, const Optional& weight_ih, int64_t input_kernel, const Tensor& weight) {
  STD_TORCH_CHECK(input.has_value() == weight_ih.has_value(), "line_scan: input and weight_ih go together");
  if (!input) return s;
  STD_TORCH_CHECK(input->dim() == 4 && weight_ih->dim() == 5,
      "line_scan: expected input [B, H, W, channels] and weight_ih [D, taps, h, 4, channels]");
  s.input_channels = int(input->size(3)), s.input_taps = int(weight_ih->size(1)), s.input_kernel = int(input_kernel);
  check_sizes("input", input, {s.images, s.height, s.width, s.input_channels}, weight);
  check_sizes("weight_ih", weight_ih, {s.directions, s.input_taps, s.hidden, 4, s.input_channels}, weight);
  return s;
}

// The merged map without elements where it is not wanted.
std::tuple<Tensor, Tensor, Tensor, Tensor> scan(bool merge, Optional x, Tensor weight, Optional h0, Optional c0,
    Optional input, Optional weight_ih, Optional bias, int64_t input_kernel, bool diagonal, bool reverse) {
  STD_TORCH_CHECK(weight.dim() == 5, "line_scan: expected weight [D, taps, h, 4, h]");
  STD_TORCH_CHECK(!merge || weight.size(0) == 2, "bilstm_scan: expected 2 directions, got ", weight.size(0));
  STD_TORCH_CHECK(x || input, "line_scan: expected x or input");
  make_contiguous(x, h0, c0, input);
  const int64_t D = weight.size(0), h = weight.size(2);
  STD_TORCH_CHECK(
      x ? x->dim() == 6 : input->dim() == 4, "line_scan: expected x [D, B, H, W, h, 4] or input [B, H, W, channels]");
  const Tensor& map = x ? *x : *input;
  const int64_t B = map.size(x ? 1 : 0), H = map.size(x ? 2 : 1), W = map.size(x ? 3 : 2);
  const cpu::Shape s =
      with_input(shape(D, B, H, W, h, weight.size(1), diagonal, reverse), input, weight_ih, input_kernel, weight);
  check_sizes("weight", weight, {D, s.taps, h, 4, h}, weight);
  check_sizes("x", x, {D, B, H, W, h, 4}, weight);
  check_sizes("h0", h0, {D, h}, weight);
  check_sizes("c0", c0, {D, h}, weight);
  check_sizes("bias", bias, {D, h, 4}, weight);

  Tensor merged = kept(weight, {merge ? B : 0, H, W, h}), hs = kept(weight, {D, B, H, W, h}),
         cs = kept(weight, {D, B, H, W, h}), gates = kept(weight, {D, B, H, W, h, 4});
  if (gates.numel() == 0) return {merged, hs, cs, gates};
  dispatch(weight, [&](auto zero) {
    using T = decltype(zero);
    cpu::forward<T>(s,
        {in<T>(x), weights_in<T>(weight), in<T>(h0), in<T>(c0), in<T>(input), weights_in<T>(weight_ih),
            weights_in<T>(bias), out<T>(hs), out<T>(cs), out<T>(gates), out_if<T>(merge, merged)},
        team(), instruction_set);
  });
  return {merged, hs, cs, gates};
}

std::tuple<Tensor, Tensor, Tensor> line_scan(Optional x, Tensor weight, Optional h0, Optional c0, Optional input,
    Optional weight_ih, Optional bias, int64_t input_kernel, bool diagonal, bool reverse, std::string, bool) {
  const auto [none, h, c, gates] =
      scan(false, x, weight, h0, c0, input, weight_ih, bias, input_kernel, diagonal, reverse);
  return {h, c, gates};
}

// Of two directions: with the map that they are merged to, [B, H, W, h], the first one plus the second one shifted down
// by a row.
std::tuple<Tensor, Tensor, Tensor, Tensor> bilstm_scan(Optional x, Tensor weight, Optional h0, Optional c0,
    Optional input, Optional weight_ih, Optional bias, int64_t input_kernel, bool diagonal, bool reverse, std::string,
    bool) {
  return scan(true, x, weight, h0, c0, input, weight_ih, bias, input_kernel, diagonal, reverse);
}

// dh0 and dc0 are each image's share, [D, B, h], so that gradients for every image take no loop over them; without
// elements where there is no h0 or c0.
std::tuple<Tensor, Tensor, Tensor> line_scan_backward(Tensor dh, Tensor weight, Optional h0, Optional c0, Tensor c,
    Tensor gates, bool diagonal, bool reverse, std::string, bool) {
  STD_TORCH_CHECK(weight.dim() == 5 && gates.dim() == 6,
      "line_scan_backward: expected weight [D, taps, h, 4, h] and gates [D, B, H, W, h, 4]");
  make_contiguous(dh, h0, c0, c, gates);
  const int64_t D = gates.size(0), B = gates.size(1), H = gates.size(2), W = gates.size(3), h = gates.size(4);
  const cpu::Shape s = shape(D, B, H, W, h, weight.size(1), diagonal, reverse);
  check_sizes("weight", weight, {D, s.taps, h, 4, h}, weight);
  check_sizes("gates", gates, {D, B, H, W, h, 4}, weight);
  check_sizes("c", c, {D, B, H, W, h}, weight);
  check_sizes("dh", dh, {D, B, H, W, h}, weight);
  check_sizes("h0", h0, {D, h}, weight);
  check_sizes("c0", c0, {D, h}, weight);

  Tensor dx = gradient(gates, true, {D, B, H, W, h, 4}), dh0 = gradient(gates, h0.has_value(), {D, B, h}),
         dc0 = gradient(gates, c0.has_value(), {D, B, h});
  if (dx.numel() == 0) return {dx, dh0, dc0};
  dispatch(gates, [&](auto zero) {
    using T = decltype(zero);
    cpu::backward<T>(s,
        {in<T>(dh), weights_in<T>(weight), in<T>(h0), in<T>(c0), nullptr, in<T>(c), in<T>(gates), nullptr, {},
            out<T>(dx), out_if<T>(h0.has_value(), dh0), out_if<T>(c0.has_value(), dc0), nullptr, {}},
        team(), instruction_set);
  });
  return {dx, dh0, dc0};
}

// The gradient of each weight whose operand is given: weight with h, weight_ih with input, bias where asked for.
std::tuple<Tensor, Tensor, Tensor> line_scan_weight_grad(Tensor dx, Optional h, Optional h0, Optional input,
    int64_t taps, int64_t input_taps, int64_t input_kernel, bool bias, bool diagonal, bool reverse) {
  STD_TORCH_CHECK(dx.dim() == 6, "line_scan_weight_grad: expected dx [D, B, H, W, h, 4]");
  make_contiguous(dx, h, h0, input);
  const int64_t D = dx.size(0), B = dx.size(1), H = dx.size(2), W = dx.size(3), hidden = dx.size(4),
                channels = input ? input->size(3) : 0;
  cpu::Shape s = shape(D, B, H, W, hidden, taps, diagonal, reverse);
  s.input_channels = int(channels), s.input_taps = int(input_taps), s.input_kernel = int(input_kernel);
  check_sizes("h", h, {D, B, H, W, hidden}, dx);
  check_sizes("h0", h0, {D, hidden}, dx);
  check_sizes("input", input, {B, H, W, channels}, dx);

  Tensor dweight = gradient(dx, h.has_value(), {D, taps, hidden, 4, hidden}),
         dweight_ih = gradient(dx, input.has_value(), {D, input_taps, hidden, 4, channels}),
         dbias = gradient(dx, bias, {D, hidden, 4});
  if (dx.numel() == 0) return {dweight, dweight_ih, dbias};
  dispatch(dx, [&](auto zero) {
    using T = decltype(zero);
    cpu::weight_gradient<T>(s,
        {in<T>(dx), in<T>(h), in<T>(h0), in<T>(input),
            {weights_out<T>(h.has_value(), dweight), weights_out<T>(input.has_value(), dweight_ih),
                weights_out<T>(bias, dbias)}},
        team(), instruction_set);
  });
  return {dweight, dweight_ih, dbias};
}

// dh [D, B, H, W, h], or of the merged map [B, H, W, h]. All gradients that are asked for, in one go: the dx that they
// are made of is no map where nobody wants it. Without elements where they are not asked for, and dh0 and dc0 where
// there is no h0 or c0.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> line_scan_gradients(Tensor dh, Tensor weight,
    Optional h0, Optional c0, Optional input, Optional weight_ih, Tensor h, Tensor c, Tensor gates,
    int64_t input_kernel, bool diagonal, bool reverse, bool of_x, bool of_weight, bool of_input, bool of_weight_ih,
    bool of_bias, std::string, bool) {
  STD_TORCH_CHECK(weight.dim() == 5 && gates.dim() == 6,
      "line_scan_gradients: expected weight [D, taps, h, 4, h] and gates [D, B, H, W, h, 4]");
  STD_TORCH_CHECK(input || !(of_input || of_weight_ih), "line_scan_gradients: no input whose gradients are wanted");
  make_contiguous(dh, h0, c0, input, h, c, gates);
  const int64_t D = gates.size(0), B = gates.size(1), H = gates.size(2), W = gates.size(3), hidden = gates.size(4),
                taps = weight.size(1);
  const cpu::Shape s =
      with_input(shape(D, B, H, W, hidden, taps, diagonal, reverse), input, weight_ih, input_kernel, weight);
  const int64_t channels = s.input_channels;
  check_sizes("weight", weight, {D, taps, hidden, 4, hidden}, weight);
  check_sizes("gates", gates, {D, B, H, W, hidden, 4}, weight);
  const bool merged = D == 2 && dh.dim() == 4;
  check_sizes("dh", dh, merged ? std::vector{B, H, W, hidden} : std::vector{D, B, H, W, hidden}, weight);
  check_sizes("h", h, {D, B, H, W, hidden}, weight);
  check_sizes("c", c, {D, B, H, W, hidden}, weight);
  check_sizes("h0", h0, {D, hidden}, weight);
  check_sizes("c0", c0, {D, hidden}, weight);

  Tensor dx = gradient(gates, of_x, {D, B, H, W, hidden, 4}), dinput = gradient(gates, of_input, {B, H, W, channels}),
         dh0 = gradient(gates, h0.has_value(), {D, B, hidden}), dc0 = gradient(gates, c0.has_value(), {D, B, hidden}),
         dweight = gradient_like(weight, gates, of_weight),
         dweight_ih = weight_ih ? gradient_like(*weight_ih, gates, of_weight_ih)
                                : gradient(gates, false, {D, 0, hidden, 4, channels}),
         dbias = gradient(gates, of_bias, {D, hidden, 4});
  if (gates.numel() == 0) return {dx, dweight, dh0, dc0, dinput, dweight_ih, dbias};
  dispatch(gates, [&](auto zero) {
    using T = decltype(zero);
    cpu::backward<T>(s,
        {in<T>(dh), weights_in<T>(weight), in<T>(h0), in<T>(c0), in<T>(h), in<T>(c), in<T>(gates), in<T>(input),
            weights_in<T>(weight_ih), out_if<T>(of_x, dx), out_if<T>(h0.has_value(), dh0),
            out_if<T>(c0.has_value(), dc0), out_if<T>(of_input, dinput),
            {weights_out<T>(of_weight, dweight), weights_out<T>(of_weight_ih, dweight_ih),
                weights_out<T>(of_bias, dbias)},
            merged},
        team(), instruction_set);
  });
  return {dx, dweight, dh0, dc0, dinput, dweight_ih, dbias};
}

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) {
  m.def(
      "line_scan(Tensor? x, Tensor weight, Tensor? h0, Tensor? c0, Tensor? input, Tensor? weight_ih, Tensor? bias, int "
      "input_kernel, bool diagonal, bool reverse, str path=\"auto\", bool tf32=False)"
      " -> (Tensor h, Tensor c, Tensor gates)");
  m.def(
      "bilstm_scan(Tensor? x, Tensor weight, Tensor? h0, Tensor? c0, Tensor? input, Tensor? weight_ih, Tensor? bias, "
      "int input_kernel, bool diagonal, bool reverse, str path=\"auto\", bool tf32=False)"
      " -> (Tensor y, Tensor h, Tensor c, Tensor gates)");
  m.def(
      "line_scan_backward(Tensor dh, Tensor weight, Tensor? h0, Tensor? c0, Tensor c, Tensor gates, bool diagonal, "
      "bool reverse, str path=\"auto\", bool tf32=False)"
      " -> (Tensor dx, Tensor dh0, Tensor dc0)");
  m.def(
      "line_scan_weight_grad(Tensor dx, Tensor? h, Tensor? h0, Tensor? input, int taps, int input_taps, int "
      "input_kernel, bool bias, bool diagonal, bool reverse)"
      " -> (Tensor dweight, Tensor dweight_ih, Tensor dbias)");
  m.def(
      "line_scan_gradients(Tensor dh, Tensor weight, Tensor? h0, Tensor? c0, Tensor? input, Tensor? weight_ih, "
      "Tensor h, Tensor c, Tensor gates, int input_kernel, bool diagonal, bool reverse, bool of_x, bool of_weight, "
      "bool of_input, bool of_weight_ih, bool of_bias, str path=\"auto\", bool tf32=False)"
      " -> (Tensor dx, Tensor dweight, Tensor dh0, Tensor dc0, Tensor dinput, Tensor dweight_ih, Tensor dbias)");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CPU, m) {
  m.impl("line_scan", TORCH_BOX(&pixelrnn::line_scan));
  m.impl("bilstm_scan", TORCH_BOX(&pixelrnn::bilstm_scan));
  m.impl("line_scan_backward", TORCH_BOX(&pixelrnn::line_scan_backward));
  m.impl("line_scan_weight_grad", TORCH_BOX(&pixelrnn::line_scan_weight_grad));
  m.impl("line_scan_gradients", TORCH_BOX(&pixelrnn::line_scan_gradients));
}
