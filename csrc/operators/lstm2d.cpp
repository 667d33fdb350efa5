// The operators of LSTM2d on a CPU: schemas, checks, registration. pixelrnn_ext/operators/lstm2d adds fake kernels,
// derivatives and batching.
//
// input [B, H, W, channels]; h and dh [B, H, W, D, h], all directions in one map; c [D, B, H, W, h] and gates
// [D, B, H, W, G h] are what the backward needs: a pixel's four gates of every unit, then their fifth gates where the
// cell has five. weight_ih [D, 1, h, G, channels], weight [D, 2, h, G, h] (taps: up, left), bias [D, h, G], of any
// strides; h0, c0 [D, h]; peepholes [D, 4, h] (i, f_left, f_up, o). corners: of each direction, 2 if it starts at the
// bottom plus 1 if at the right. sizes [B, 2] are integers, each image's height and width, clamped to the map's: what
// is outside of an image is not read, zero in h and dinput, and anything in c and gates.
#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "../cpu/buffer.h"
#include "../cpu/scan.h"
#include "cells.h"
#include "operators.h"
#include "weights.h"

namespace pixelrnn {
namespace {

// The scan of one call, whose tensors fit.
struct Scan2d {
  cpu::Shape shape;
  Cell cell;
  std::vector<cpu::Extent> extents;

  Scan2d(const Tensor& input, const Tensor& weight_ih, const Tensor& weight, const Optional& bias, const Optional& h0,
      const Optional& c0, const Optional& peepholes, const Optional& sizes, const std::vector<int64_t>& corners,
      const std::string& name)
      : cell(cell_named(name)) {
    STD_TORCH_CHECK(input.dim() == 4 && weight.dim() == 5 && weight_ih.dim() == 5,
        "lstm2d_scan: expected input [B, H, W, channels], weight_ih [D, 1, h, G, channels] and weight [D, 2, h, G, h]");
    const int64_t B = input.size(0), H = input.size(1), W = input.size(2), channels = input.size(3), D = weight.size(0),
                  h = weight.size(2), G = cell.gates;
    STD_TORCH_CHECK(
        H * W < (int64_t(1) << 31) && h < (1 << 22) && channels < (1 << 24), "lstm2d_scan: the map is too large");
    check_images("lstm2d_scan", D, B);
    shape = {int(D), int(B), int(H), int(W), int(h), true, {}, 2, int(channels), 1, 1,
        cell.gates == 4 ? cpu::Family::kFour : cpu::Family::kFive};
    read_corners(corners, D, shape.corner);
    check_sizes("input", input, {B, H, W, channels}, weight);
    check_sizes("weight_ih", weight_ih, {D, 1, h, G, channels}, weight);
    check_sizes("weight", weight, {D, 2, h, G, h}, weight);
    check_sizes("bias", bias, {D, h, G}, weight);
    check_sizes("h0", h0, {D, h}, weight);
    check_sizes("c0", c0, {D, h}, weight);
    check_sizes("peepholes", peepholes, {D, 4, h}, weight);
    STD_TORCH_CHECK(!peepholes || cell.may_have_peepholes, "lstm2d_scan: the cell ", name, " has no peepholes");
    if (!sizes) return;
    STD_TORCH_CHECK(sizes->dim() == 2 && sizes->size(0) == B && sizes->size(1) == 2 &&
                        sizes->scalar_type() == ScalarType::Long && sizes->is_contiguous(),
        "lstm2d_scan: expected contiguous int64 sizes [B, 2]");
    const int64_t* size = in<int64_t>(*sizes);
    for (int64_t b = 0; b < B; ++b, size += 2)
      extents.push_back({int(std::clamp<int64_t>(size[0], 0, H)), int(std::clamp<int64_t>(size[1], 0, W))});
    shape.extents = extents.data();
  }
  Scan2d(const Scan2d&) = delete;  // the shape points to the extents

  template <class T> cpu::TwoCarries<T> carries(const Optional& peepholes) const {
    return {cell.formula, T(cell.scale), in<T>(peepholes)};
  }
  // With one direction the map of h is the same in either order.
  bool apart() const { return cell.gates == 4 && shape.directions > 1; }
};

// Between [D, pixels, h], which the tiles of four gates write, and [pixels, D, h].
template <class T> void copy_directions(
    const cpu::Shape& s, const T* apart, T* to_joined, const T* joined, T* to_apart) {
  const cpu::Team threads = team();
  const int64_t pixels = s.map(), h = s.hidden, D = s.directions;
  threads.parallel(threads.threads, [&](int s0, int s1) {
    for (int64_t p = cpu::share(pixels, s0, threads.threads); p < cpu::share(pixels, s1, threads.threads); ++p)
      for (int64_t i = 0; i < D; ++i) {
        const int64_t a = (i * pixels + p) * h, j = (p * D + i) * h;
        if (to_joined) std::copy(apart + a, apart + a + h, to_joined + j);
        else std::copy(joined + j, joined + j + h, to_apart + a);
      }
  });
}

std::tuple<Tensor, Tensor, Tensor> lstm2d_scan(Tensor input, Tensor weight_ih, Tensor weight, Optional bias,
    Optional h0, Optional c0, Optional peepholes, Optional sizes, std::vector<int64_t> corners, std::string cell,
    std::string /* path */, bool /* tf32 */) {
  make_contiguous(input, h0, c0, peepholes, sizes);
  const Scan2d scan(input, weight_ih, weight, bias, h0, c0, peepholes, sizes, corners, cell);
  const cpu::Shape& s = scan.shape;
  const int64_t D = s.directions, B = s.images, H = s.height, W = s.width, h = s.hidden;
  Tensor hs = kept(weight, {B, H, W, D, h}), cs = kept(weight, {D, B, H, W, h}),
         gates = kept(weight, {D, B, H, W, s.columns()});
  if (hs.numel() == 0) return {hs, cs, gates};
  dispatch(weight, [&](auto zero) {
    using T = decltype(zero);
    const auto apart = cpu::buffer<T>(scan.apart() ? hs.numel() : 0);
    cpu::forward<T>(s,
        {nullptr, weights_in<T>(weight), in<T>(h0), in<T>(c0), in<T>(input), weights_in<T>(weight_ih),
            weights_in<T>(bias), scan.apart() ? apart.get() : out<T>(hs), out<T>(cs), out<T>(gates), nullptr,
            scan.carries<T>(peepholes)},
        team(), instruction_set);
    if (scan.apart()) copy_directions<T>(s, apart.get(), out<T>(hs), nullptr, nullptr);
  });
  return {hs, cs, gates};
}

// Each image's share [D][B][size] of a gradient, where there is one, and their sum, in the order of the images.
template <class T> struct Shares {
  cpu::Buffer<T> values;

  Shares(const Tensor& gradient, int64_t images) : values(cpu::buffer<T>(gradient.numel() * images)) {}
  T* if_wanted(const Tensor& gradient) const { return gradient.numel() ? values.get() : nullptr; }
  void sum(const Tensor& gradient, int64_t images) const {
    if (!gradient.numel()) return;
    const int64_t D = gradient.size(0), size = gradient.numel() / D;
    T* to = out<T>(gradient);
    std::fill(to, to + D * size, T(0));
    for (int64_t n = 0; n < D * images; ++n)
      for (int64_t i = 0; i < size; ++i) to[n / images * size + i] += values[n * size + i];
  }
};

// Of all operands; without elements where a gradient is not asked for, and of what there is none.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lstm2d_gradients(Tensor dh, Tensor input,
    Tensor weight_ih, Tensor weight, Optional bias, Optional h0, Optional c0, Optional peepholes, Optional sizes,
    Tensor h, Tensor c, Tensor gates, std::vector<int64_t> corners, std::string cell, bool of_input, bool of_weight_ih,
    bool of_weight, std::string /* path */, bool /* tf32 */) {
  make_contiguous(dh, input, h0, c0, peepholes, sizes, h, c, gates);
  const Scan2d scan(input, weight_ih, weight, bias, h0, c0, peepholes, sizes, corners, cell);
  const cpu::Shape& s = scan.shape;
  const int64_t D = s.directions, B = s.images, H = s.height, W = s.width, hidden = s.hidden;
  check_sizes("dh", dh, {B, H, W, D, hidden}, weight);
  check_sizes("h", h, {B, H, W, D, hidden}, weight);
  check_sizes("c", c, {D, B, H, W, hidden}, weight);
  check_sizes("gates", gates, {D, B, H, W, s.columns()}, weight);
  Tensor dinput = gradient(gates, of_input, {B, H, W, s.input_channels}),
         dweight_ih = gradient_like(weight_ih, gates, of_weight_ih), dweight = gradient_like(weight, gates, of_weight),
         dbias = gradient(gates, bias.has_value(), {D, hidden, s.gates()}),
         dh0 = gradient(gates, h0.has_value(), {D, hidden}), dc0 = gradient(gates, c0.has_value(), {D, hidden}),
         dpeepholes = gradient(gates, peepholes.has_value(), {D, 4, hidden});
  if (gates.numel() == 0) return {dinput, dweight_ih, dweight, dbias, dh0, dc0, dpeepholes};
  dispatch(gates, [&](auto zero) {
    using T = decltype(zero);
    const Shares<T> of_h0(dh0, B), of_c0(dc0, B), of_peepholes(dpeepholes, B);
    const auto dh_apart = cpu::buffer<T>(scan.apart() ? dh.numel() : 0),
               h_apart = cpu::buffer<T>(scan.apart() && of_weight ? h.numel() : 0);
    if (scan.apart()) copy_directions<T>(s, nullptr, nullptr, in<T>(dh), dh_apart.get());
    if (scan.apart() && of_weight) copy_directions<T>(s, nullptr, nullptr, in<T>(h), h_apart.get());
    cpu::backward<T>(s,
        {scan.apart() ? dh_apart.get() : in<T>(dh), weights_in<T>(weight), in<T>(h0), in<T>(c0),
            scan.apart() ? h_apart.get() : in<T>(h), in<T>(c), in<T>(gates), in<T>(input), weights_in<T>(weight_ih),
            nullptr, of_h0.if_wanted(dh0), of_c0.if_wanted(dc0), out_if<T>(of_input, dinput),
            {weights_out<T>(of_weight, dweight), weights_out<T>(of_weight_ih, dweight_ih),
                weights_out<T>(bias.has_value(), dbias)},
            false, scan.carries<T>(peepholes), of_peepholes.if_wanted(dpeepholes)},
        team(), instruction_set);
    of_h0.sum(dh0, B), of_c0.sum(dc0, B), of_peepholes.sum(dpeepholes, B);
  });
  return {dinput, dweight_ih, dweight, dbias, dh0, dc0, dpeepholes};
}

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) {
  m.def(
      "lstm2d_scan(Tensor input, Tensor weight_ih, Tensor weight, Tensor? bias, Tensor? h0, Tensor? c0, Tensor? "
      "peepholes, Tensor? sizes, int[] corners, str cell, str path=\"auto\", bool tf32=False) -> (Tensor h, Tensor c, "
      "Tensor gates)");
  m.def(
      "lstm2d_gradients(Tensor dh, Tensor input, Tensor weight_ih, Tensor weight, Tensor? bias, Tensor? h0, Tensor? "
      "c0, Tensor? peepholes, Tensor? sizes, Tensor h, Tensor c, Tensor gates, int[] corners, str cell, bool of_input, "
      "bool of_weight_ih, bool of_weight, str path=\"auto\", bool tf32=False) -> (Tensor dinput, Tensor dweight_ih, "
      "Tensor dweight, Tensor dbias, "
      "Tensor dh0, Tensor dc0, Tensor dpeepholes)");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CPU, m) {
  m.impl("lstm2d_scan", TORCH_BOX(&pixelrnn::lstm2d_scan));
  m.impl("lstm2d_gradients", TORCH_BOX(&pixelrnn::lstm2d_gradients));
}
