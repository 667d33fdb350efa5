// The CPU operators for masked convolutions.
#include <tuple>
#include <vector>

#include "../cpu/convolution.h"
#include "contiguous.h"

namespace pixelrnn {
namespace {

cpu::Convolution convolution(const Tensor& input, const Tensor& weight, bool strict, int64_t colours, int64_t gates,
    bool relu, bool channels_last) {
  check_axes("input", input, channels_last ? "[B, H, W, C]" : "[B, C, H, W]");
  check_axes("weight", weight, "[out, in, kh, kw]");
  const int64_t B = input.size(0), C = input.size(channels_last ? 3 : 1), H = input.size(channels_last ? 1 : 2),
                W = input.size(channels_last ? 2 : 3);
  const int64_t out = weight.size(0), kh = weight.size(2), kw = weight.size(3), limit = int64_t(1) << 30;
  check_below("pixels of all images", B * H * W, limit);
  for (int64_t channels : {C, out}) check_below("taps of all channels", kh * kw * channels, limit);
  STD_TORCH_CHECK(kh % 2 == 1 && kw % 2 == 1, "masked_conv: expected an odd kernel, got ", kh, " x ", kw);
  STD_TORCH_CHECK(colours >= 1 && gates >= 1 && C >= colours && out % gates == 0 && out / gates >= colours,
      "masked_conv: expected ", colours, " or more input channels, and outputs in each of ", gates, " gates, got ", C,
      " and ", out);
  check_sizes("weight", weight, {out, C, kh, kw}, input);
  return {int(B), int(H), int(W), int(C), int(out), int(kh), int(kw), strict, int(colours), int(gates), relu,
      channels_last};
}

std::vector<int64_t> output_sizes(const cpu::Convolution& s) {
  if (s.channels_last) return {s.images, s.height, s.width, s.out_channels};
  return {s.images, s.out_channels, s.height, s.width};
}

Tensor masked_conv(Tensor input, Tensor weight, Optional bias, bool strict, int64_t colours, int64_t gates, bool relu,
    bool channels_last) {
  const cpu::Convolution s = convolution(input, weight, strict, colours, gates, relu, channels_last);
  make_contiguous(input, weight, bias);
  check_sizes("bias", bias, {s.out_channels}, weight);
  Tensor output = new_tensor(input, output_sizes(s));
  if (output.numel() == 0) return output;
  dispatch(input, [&](auto zero) {
    using T = decltype(zero);
    cpu::convolve<T>(s, {in<T>(input), in<T>(weight), in<T>(bias), out<T>(output)}, team_for(s), instruction_set);
  });
  return output;
}

// Returns the gradients of input, weight and bias. A gradient that is not needed is empty. y is the output of a forward
// pass with a ReLU, otherwise absent.
std::tuple<Tensor, Tensor, Tensor> masked_conv_backward(Tensor dy, Optional y, Tensor input, Tensor weight, bool strict,
    int64_t colours, int64_t gates, bool channels_last, bool need_input, bool need_weight, bool need_bias) {
  const cpu::Convolution s = convolution(input, weight, strict, colours, gates, y.has_value(), channels_last);
  make_contiguous(dy, y, input, weight);
  check_sizes("dy", dy, output_sizes(s), weight);
  check_sizes("y", y, output_sizes(s), weight);
  const auto gradient = [&](bool needed, const auto& sizes) {
    return new_tensor(input, needed ? std::vector<int64_t>(sizes.begin(), sizes.end()) : std::vector<int64_t>{0});
  };
  Tensor dinput = gradient(need_input, input.sizes()), dweight = gradient(need_weight, weight.sizes());
  Tensor dbias = gradient(need_bias, std::vector<int64_t>{s.out_channels});
  dispatch(input, [&](auto zero) {
    using T = decltype(zero);
    cpu::convolve_backward<T>(s,
        {in<T>(dy), in<T>(y), in<T>(input), in<T>(weight), out_if<T>(need_input, dinput),
            out_if<T>(need_weight, dweight), out_if<T>(need_bias, dbias)},
        team_for(s), instruction_set);
  });
  return {dinput, dweight, dbias};
}

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) {
  m.def(
      "masked_conv(Tensor input, Tensor weight, Tensor? bias, bool strict, int colours, int gates, bool relu, bool "
      "channels_last) -> Tensor");
  m.def(
      "masked_conv_backward(Tensor dy, Tensor? y, Tensor input, Tensor weight, bool strict, int colours, int gates, "
      "bool channels_last, bool need_input, bool need_weight, bool need_bias)"
      " -> (Tensor dinput, Tensor dweight, Tensor dbias)");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CPU, m) {
  m.impl("masked_conv", TORCH_BOX(&pixelrnn::masked_conv));
  m.impl("masked_conv_backward", TORCH_BOX(&pixelrnn::masked_conv_backward));
}
