// The operators `scan` and `scan_gradients` on a CPU. arguments.h explains the letters in shapes.
//
// scan returns y, h, c and gates. y is h of all directions merged, [B, H, W, h]. Without a merge its last axis has size
// 0. h is [B, H, W, D, h], c is [D, B, H, W, h], and the activated gates are [D, B, H, W, G h]. Outside an image, h and
// y are zero, and c and gates are undefined.
//
// scan_gradients takes dh, the gradient of y if scan merges, and otherwise of h. It returns a gradient for each
// operand. If a gradient is unwanted or its operand is absent, its last axis has size 0. Only x has a gradient even if
// it is absent, since this is the gradient of the pre-activations. If `shares` is true, h0, c0 and peephole have a
// gradient for each image, [D, B, ...]. The gradients of weights and bias have their operands' strides, which saves
// copies.
#include <algorithm>

#include "../cpu/scan.h"
#include "arguments.h"
#include "contiguous.h"

namespace pixelrnn {
namespace {

constexpr int64_t kImageAxis[] = {1};

template <class T> cpu::Weights<T> weights(T* data, const Tensor& t) {
  const auto s = t.strides();
  return t.dim() == 3 ? cpu::Weights<T>{data, s[0], 0, s[1], s[2], 0}
                      : cpu::Weights<T>{data, s[0], s[1], s[2], s[3], s[4]};
}
template <class T> cpu::Weights<const T> weights_in(const Optional& t) {
  return t ? weights(in<T>(*t), *t) : cpu::Weights<const T>();
}
template <class T> cpu::Weights<T> weights_out(const Tensor& t) {
  return t.numel() ? weights(out<T>(t), t) : cpu::Weights<T>();
}

// The kernels fill the gradient. An empty scan runs no kernel, so its gradients must be zero.
Tensor new_gradient(const Tensor& gates, bool wanted, std::vector<int64_t> sizes, ScalarType type) {
  if (!wanted) sizes.back() = 0;
  return gates.numel() ? cached_tensor(gates, sizes, type) : stable::new_zeros(gates, sizes, type);
}
Tensor new_gradient_like(const Tensor& weight, const Tensor& gates) {
  Tensor t = stable::empty_like(weight);
  return gates.numel() ? t : stable::zero_(t);
}

struct ScanCall {
  const ScanSizes sizes;
  const ScalarType type;
  cpu::Shape shape;
  const NamedCell& cell;
  const cpu::Merge merge;
  std::vector<cpu::ImageSize> image_sizes;

  explicit ScanCall(ScanArguments& a)
      : sizes(checked_sizes(a)),
        type(a.weight_hh.scalar_type()),
        cell(cell_named(a.cell)),
        merge(a.merge == "none"    ? cpu::Merge::kNone
              : a.merge == "shift" ? cpu::Merge::kShift
                                   : cpu::Merge::kSum) {
    make_contiguous(a.input, a.x, a.h0, a.c0, a.peephole, a.sizes);
    for (Optional* t : {&a.c0, &a.peephole})
      if (*t) *t = stable::to(**t, state_type());
    shape = {int(sizes.directions), int(sizes.images), int(sizes.height), int(sizes.width), int(sizes.hidden),
        a.diagonal, {}, int(sizes.taps), int(sizes.channels), int(sizes.input_taps), int(a.input_kernel), cell.gates};
    const auto corners = read_corners(a.corners, sizes.directions);
    std::copy(corners.begin(), corners.end(), shape.corner);
    if (!a.sizes) return;
    const int64_t* size = in<int64_t>(*a.sizes);
    for (int64_t b = 0; b < sizes.images; ++b, size += 2)
      image_sizes.push_back(
          {int(std::clamp<int64_t>(size[0], 0, sizes.height)), int(std::clamp<int64_t>(size[1], 0, sizes.width))});
    shape.sizes = image_sizes.data();
  }
  ScanCall(const ScanCall&) = delete;  // not copied, because `shape` points to image_sizes

  // The types of the cell state and of activated gates. pixelrnn_ext/operators/scan/arguments.py has the same types.
  ScalarType state_type() const { return type == ScalarType::BFloat16 ? ScalarType::Float : type; }
  ScalarType gates_type() const { return type == ScalarType::BFloat16 ? ScalarType::Half : type; }
  template <class S> CellParameters<S> cell_of(const Optional& peephole) const {
    return {cell.formula, S(cell.scale), in<S>(peephole)};
  }
};

void convert(ScalarType from, ScalarType to, Tensor& t) {
  if (t.scalar_type() == from) t = stable::to(t, to);
}
void convert(ScalarType from, ScalarType to, Optional& t) {
  if (t) convert(from, to, *t);
}
template <class... Tensors> void widen(Tensors&... t) { (convert(ScalarType::BFloat16, ScalarType::Float, t), ...); }
template <class... Tensors> void round_to_bfloat16(Tensors&... t) {
  (convert(ScalarType::Float, ScalarType::BFloat16, t), ...);
}
void widen_operands(ScanArguments& a) { widen(a.input, a.weight_ih, a.bias, a.x, a.weight_hh, a.h0, a.c0, a.peephole); }

std::tuple<Tensor, Tensor, Tensor, Tensor> scan(ScanArguments a) {
  if (widens(a.weight_hh)) {
    widen_operands(a);
    auto [y, h, c, gates] = scan(a);
    round_to_bfloat16(y, h);
    return {y, h, c, stable::to(gates, ScalarType::Half)};
  }
  const ScanCall s(a);
  std::vector<int64_t> y_sizes = s.sizes.y();
  if (!s.sizes.merged) y_sizes.back() = 0;
  const Tensor y = cached_tensor(a.weight_hh, y_sizes, s.type), h = cached_tensor(a.weight_hh, s.sizes.h(), s.type),
               c = cached_tensor(a.weight_hh, s.sizes.maps(s.sizes.hidden), s.state_type()),
               gates = cached_tensor(a.weight_hh, s.sizes.maps(s.sizes.columns()), s.gates_type());
  if (gates.numel() == 0) return {y, h, c, gates};
  dispatch(a.weight_hh, [&](auto zero) {
    using T = decltype(zero);
    using Sum = cpu::Sum<T>;
    cpu::forward<T>(s.shape,
        {in<T>(a.x), weights_in<T>(a.weight_hh), in<T>(a.h0), in<Sum>(a.c0), in<T>(a.input), weights_in<T>(a.weight_ih),
            weights_in<T>(a.bias), out<T>(h), out<Sum>(c), out<cpu::Gate<T>>(gates), s.merge,
            out_if<T>(s.sizes.merged, y), s.cell_of<Sum>(a.peephole)},
        team_for(s.shape), instruction_set);
  });
  return {y, h, c, gates};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> scan_gradients(GradientsArguments g) {
  ScanArguments& a = g.scan;
  if (widens(a.weight_hh)) {
    widen_operands(a);
    widen(g.dh, g.h);
    convert(ScalarType::Half, ScalarType::Float, g.gates);
    auto [dinput, dweight_ih, dbias, dx, dweight_hh, dh0, dc0, dpeephole] = scan_gradients(g);
    round_to_bfloat16(dinput, dweight_ih, dbias, dx, dweight_hh);
    return {dinput, dweight_ih, dbias, dx, dweight_hh, dh0, dc0, dpeephole};
  }
  const ScanCall s(a);
  make_contiguous(g.dh, g.h, g.c, g.gates);
  const ScanSizes& n = s.sizes;
  STD_TORCH_CHECK(g.wanted.size() == kOperandCount, "scan_gradients: expected ", int(kOperandCount),
      " flags in wanted, got ", g.wanted.size());
  check_sizes("dh", g.dh, n.dh(), a.weight_hh);
  check_sizes("h", g.h, n.h(), a.weight_hh);
  check_sizes("c", g.c, n.maps(n.hidden), s.state_type());
  check_sizes("gates", g.gates, n.maps(n.columns()), s.gates_type());
  const auto gradient = [&](Operand operand, bool exists, std::vector<int64_t> sizes) {
    const bool of_state = operand == kH0 || operand == kC0 || operand == kPeephole;
    return new_gradient(g.gates, g.wanted[operand] && exists, sizes, of_state ? s.state_type() : s.type);
  };
  const auto weight_gradient = [&](Operand operand, const Optional& weight, std::vector<int64_t> sizes) {
    return g.wanted[operand] && weight ? new_gradient_like(*weight, g.gates) : gradient(operand, false, sizes);
  };
  const auto image_gradient = [&](Operand operand, const Optional& state, std::vector<int64_t> sizes) {
    if (!g.shares && !(g.wanted[operand] && state)) sizes.erase(sizes.begin() + 1);
    return gradient(operand, state.has_value(), sizes);
  };
  const int64_t D = n.directions, B = n.images, h = n.hidden;
  const Tensor dinput = gradient(kInput, a.input.has_value(), {B, n.height, n.width, n.channels}),
               dweight_ih = weight_gradient(kWeightIh, a.weight_ih, {D, n.input_taps, h, n.gates, n.channels}),
               dbias = weight_gradient(kBias, a.bias, {D, h, n.gates}), dx = gradient(kX, true, n.maps(n.columns())),
               dweight_hh = weight_gradient(kWeightHh, a.weight_hh, {D, n.taps, h, n.gates, h}),
               dh0 = image_gradient(kH0, a.h0, {D, B, h}), dc0 = image_gradient(kC0, a.c0, {D, B, h}),
               dpeephole = image_gradient(kPeephole, a.peephole, {D, B, 4, h});
  if (g.gates.numel() != 0)
    dispatch(a.weight_hh, [&](auto zero) {
      using T = decltype(zero);
      using Sum = cpu::Sum<T>;
      const auto map = [](const Tensor& t) { return out_if<T>(t.numel() > 0, t); };
      const auto sum = [](const Tensor& t) { return out_if<Sum>(t.numel() > 0, t); };
      cpu::backward<T>(s.shape,
          {in<T>(g.dh), weights_in<T>(a.weight_hh), in<T>(a.h0), in<Sum>(a.c0), in<T>(g.h), in<Sum>(g.c),
              in<cpu::Gate<T>>(g.gates), in<T>(a.input), weights_in<T>(a.weight_ih), map(dx), sum(dh0), sum(dc0),
              map(dinput), {weights_out<T>(dweight_hh), weights_out<T>(dweight_ih), weights_out<T>(dbias)}, s.merge,
              s.cell_of<Sum>(a.peephole), sum(dpeephole)},
          team_for(s.shape), instruction_set);
    });
  const auto sum_images = [&](Operand operand, const Optional& state, const Tensor& t) {
    return g.wanted[operand] && state && !g.shares ? stable::sum(t, kImageAxis) : t;
  };
  return {dinput, dweight_ih, dbias, dx, dweight_hh, sum_images(kH0, a.h0, dh0), sum_images(kC0, a.c0, dc0),
      sum_images(kPeephole, a.peephole, dpeephole)};
}

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) {
  m.def("scan(" PIXELRNN_SCAN ") -> (Tensor y, Tensor h, Tensor c, Tensor gates)");
  m.def("scan_gradients(Tensor dh, Tensor h, Tensor c, Tensor gates, bool[] wanted, bool shares, " PIXELRNN_SCAN
        ") -> (Tensor dinput, Tensor dweight_ih, Tensor dbias, Tensor dx, Tensor dweight_hh, Tensor dh0, Tensor dc0, "
        "Tensor dpeephole)");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CPU, m) {
  m.impl("scan", &pixelrnn::boxed<pixelrnn::ScanArguments, pixelrnn::scan>);
  m.impl("scan_gradients", &pixelrnn::boxed<pixelrnn::GradientsArguments, pixelrnn::scan_gradients>);
}
