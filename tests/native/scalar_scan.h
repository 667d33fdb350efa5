// The scan as a scalar implementation in double, pixel by pixel in image coordinates. Of a cell it only has the
// equations: its derivatives are those of numbers that carry their own.
#pragma once
#include "scans.h"

namespace check {

// A number and its derivatives by what a cell reads.
struct Dual {
  static constexpr int kVariables = 11;
  double value = 0, slope[kVariables] = {};

  static Dual variable(int n, double value) {
    Dual x{value};
    x.slope[n] = 1;
    return x;
  }
  // A function of this number, by its value and its derivative.
  Dual then(double f, double derivative) const {
    Dual y{f};
    for (int n = 0; n < kVariables; ++n) y.slope[n] = derivative * slope[n];
    return y;
  }
};
inline Dual operator+(Dual a, const Dual& b) {
  a.value += b.value;
  for (int n = 0; n < Dual::kVariables; ++n) a.slope[n] += b.slope[n];
  return a;
}
inline Dual operator*(const Dual& a, const Dual& b) {
  Dual y{a.value * b.value};
  for (int n = 0; n < Dual::kVariables; ++n) y.slope[n] = a.slope[n] * b.value + a.value * b.slope[n];
  return y;
}
inline Dual operator*(double a, const Dual& b) { return b.then(a * b.value, a); }
inline Dual operator-(double a, const Dual& b) { return b.then(a - b.value, -1); }
inline Dual sigmoid(const Dual& x) {
  const double y = 1 / (1 + std::exp(-x.value));
  return x.then(y, y * (1 - y));
}
inline Dual tanh(const Dual& x) {
  const double y = std::tanh(x.value);
  return x.then(y, 1 - y * y);
}
inline Dual clip(const Dual& x, double limit) {
  return std::abs(x.value) < limit ? x : Dual{std::clamp(x.value, -limit, limit)};
}

// A unit of a pixel, from its pre-activations z, the neighbours' c, of which the Row LSTM's is `left`, and peepholes.
struct Unit {
  enum Variable { kZ, kLeft = 5, kUp, kPeephole };
  Dual gates[5], c, h;

  Unit(Formula formula, double scale, bool five, bool is_first, const double z[5], double left, double up,
      const double peephole[4]) {
    const auto v = [](int n, double value) { return Dual::variable(n, value); };
    const Dual c_left = v(kLeft, left), c_up = v(kUp, up);
    const Dual p_i = v(kPeephole, peephole[0]), p_f = v(kPeephole + 1, peephole[1]),
               p_up = v(kPeephole + 2, peephole[2]), p_o = v(kPeephole + 3, peephole[3]);
    auto& [i, f, g, o, fifth] = gates;
    i = sigmoid(v(kZ, z[0]) + p_i * (c_up + c_left));
    f = sigmoid(v(kZ + 1, z[1]) + p_f * c_left);
    g = tanh(v(kZ + 2, z[2]));
    fifth = sigmoid(v(kZ + 4, z[4]) + p_up * c_up);
    const Dual mean = fifth * c_up + (1 - fifth) * c_left;
    if (!five) {
      c = f * c_left + i * g;
    } else if (formula == Formula::kStable) {
      c = f * mean + i * g;
    } else if (formula == Formula::kForget) {
      c = scale * (f * c_left + fifth * c_up) + i * g;
    } else if (formula == Formula::kLeaky) {
      c = (1 - i) * mean + i * g;
    } else {
      const bool takes_left = is_first || f.value >= fifth.value;
      (takes_left ? fifth : f) = {};
      c = clip((takes_left ? f * c_left : fifth * c_up) + i * g, 100);
    }
    o = sigmoid(v(kZ + 3, z[3]) + p_o * c);
    h = five && formula == Formula::kLeaky ? tanh(f * mean + o * c) : o * tanh(c);
  }
};

// One direction. Rows and columns are counted in the order of the scan: from the image's bottom where it runs upwards,
// from the image's right where it runs to the left.
class ScalarScan {
 public:
  ScalarScan(const Shape& s, int direction, const Inputs<double>& in, Outputs<double>& out)
      : s_(s), direction_(direction), in_(in), out_(out), z_(out.gates.size()), dh_(out.h.size()), dc_(out.c.size()) {
    for_each_pixel([&](Pixel p) { unmerge(p); });
  }

  void forward() {
    for_each_pixel([&](Pixel p) { forward(p), merge(p); });
  }
  void backward() {
    for (int image = 0; image < s_.images; ++image)
      for (int row = height(image) - 1; row >= 0; --row)
        for (int column = width(image) - 1; column >= 0; --column) backward({image, row, column});
  }

 private:
  struct Pixel { int image, row, column; };

  template <class F> void for_each_pixel(const F& f) {
    for (int image = 0; image < s_.images; ++image)
      for (int row = 0; row < height(image); ++row)
        for (int column = 0; column < width(image); ++column) f({image, row, column});
  }

  bool five() const { return s_.gates == 5; }
  int height(int image) const { return s_.extents ? s_.extents[image].height : s_.height; }
  int width(int image) const { return s_.extents ? s_.extents[image].width : s_.width; }

  Pixel above(Pixel p) const { return {p.image, p.row - 1, p.column}; }
  Pixel before(Pixel p) const { return {p.image, p.row, p.column - 1}; }
  Pixel state_tap(Pixel p, int k) const {
    if (!s_.diagonal) return {p.image, p.row - 1, p.column + k - s_.taps / 2};
    return k == 0 ? above(p) : before(p);
  }
  Pixel input_tap(Pixel p, int k) const { return {p.image, p.row, p.column + k - s_.input_taps / 2}; }
  Pixel carry(Pixel p) const { return s_.diagonal ? before(p) : above(p); }
  bool inside(Pixel p) const { return p.row >= 0 && p.column >= 0 && p.column < width(p.image); }

  int64_t map_index(Pixel p) const {
    const int row = s_.corner[direction_].bottom ? height(p.image) - 1 - p.row : p.row;
    const int column = s_.corner[direction_].right ? width(p.image) - 1 - p.column : p.column;
    return (int64_t(p.image) * s_.height + row) * s_.width + column;
  }
  int64_t pixel(Pixel p) const { return int64_t(direction_) * s_.images * s_.height * s_.width + map_index(p); }
  // Indices of unit u: of c, of h, of gate g.
  int64_t c_at(Pixel p, int u) const { return pixel(p) * s_.hidden + u; }
  int64_t h_at(Pixel p, int u) const { return (map_index(p) * s_.directions + direction_) * s_.hidden + u; }
  int64_t gate_at(Pixel p, int u, int g) const {
    return pixel(p) * s_.gates * s_.hidden + (g < 4 ? 4 * u + g : 4 * s_.hidden + u);
  }
  int64_t state_at(int u) const { return int64_t(direction_) * s_.hidden + u; }
  int64_t image_state_at(Pixel p, int u) const { return (int64_t(direction_) * s_.images + p.image) * s_.hidden + u; }
  int64_t peephole_at(int n, int u) const { return (int64_t(direction_) * 4 + n) * s_.hidden + u; }
  int64_t image_peephole_at(Pixel p, int n, int u) const {
    return ((int64_t(direction_) * s_.images + p.image) * 4 + n) * s_.hidden + u;
  }
  int64_t weight_at(int k, int u, int g, int v) const {
    return (((int64_t(direction_) * s_.taps + k) * s_.hidden + u) * s_.gates + g) * s_.hidden + v;
  }
  int64_t input_weight_at(int k, int u, int g, int channel) const {
    return (((int64_t(direction_) * s_.input_taps + k) * s_.hidden + u) * s_.gates + g) * s_.input_channels + channel;
  }
  double input(Pixel p, int channel) const {
    return inside(p) ? in_.input[map_index(p) * s_.input_channels + channel] : 0;
  }
  double h(Pixel p, int u) const { return inside(p) ? out_.h[h_at(p, u)] : in_.h0.empty() ? 0 : in_.h0[state_at(u)]; }
  double c(Pixel p, int u) const { return inside(p) ? out_.c[c_at(p, u)] : in_.c0.empty() ? 0 : in_.c0[state_at(u)]; }

  double pre_activation(Pixel p, int u, int g) const {
    double z = in_.x.empty() ? 0 : in_.x[gate_at(p, u, g)];
    if (!in_.bias.empty()) z += in_.bias[state_at(u) * s_.gates + g];
    for (int k = 0; k < s_.taps; ++k)
      for (int v = 0; v < s_.hidden; ++v) z += in_.weight[weight_at(k, u, g, v)] * h(state_tap(p, k), v);
    for (int k = 0; k < s_.input_taps; ++k)
      for (int channel = 0; channel < s_.input_channels; ++channel)
        z += in_.weight_ih[input_weight_at(k, u, g, channel)] * input(input_tap(p, k), channel);
    return z;
  }
  Unit unit(Pixel p, int u) const {
    double z[5] = {}, peephole[4] = {};
    for (int g = 0; g < s_.gates; ++g) z[g] = z_[gate_at(p, u, g)];
    for (int n = 0; n < 4 && !in_.peephole.empty(); ++n) peephole[n] = in_.peephole[peephole_at(n, u)];
    return {in_.formula, in_.scale, five(), p.row == 0, z, c(carry(p), u), five() ? c(above(p), u) : 0, peephole};
  }

  // Whether this pixel is part of the merged map, and of which value of unit 0.
  bool merged_at(Pixel p, int64_t* at) const {
    const bool moves = in_.merge == Merge::kShift && direction_ == 1;  // down by a row of the image
    const int row = s_.corner[direction_].bottom ? height(p.image) - 1 - p.row : p.row;
    *at = (map_index(p) + (moves ? s_.width : 0)) * s_.hidden;
    return !moves || row + 1 < height(p.image);
  }
  void merge(Pixel p) {
    int64_t at;
    if (in_.merge == Merge::kNone || !merged_at(p, &at)) return;
    for (int u = 0; u < s_.hidden; ++u) out_.merged[at + u] += out_.h[h_at(p, u)];
  }
  void unmerge(Pixel p) {
    int64_t at;
    const bool read = merged_at(p, &at);
    for (int u = 0; u < s_.hidden; ++u)
      dh_[h_at(p, u)] = in_.merge == Merge::kNone ? in_.dh[h_at(p, u)] : read ? in_.dh[at + u] : 0;
  }

  void forward(Pixel p) {
    for (int u = 0; u < s_.hidden; ++u) {
      for (int g = 0; g < s_.gates; ++g) z_[gate_at(p, u, g)] = pre_activation(p, u, g);
      const Unit it = unit(p, u);
      for (int g = 0; g < s_.gates; ++g) out_.gates[gate_at(p, u, g)] = it.gates[g].value;
      out_.c[c_at(p, u)] = it.c.value;
      out_.h[h_at(p, u)] = it.h.value;
    }
  }

  // dh_ and dc_ hold what all later pixels have added to the gradients of h and c of this one.
  void backward(Pixel p) {
    for (int u = 0; u < s_.hidden; ++u) {
      const Unit it = unit(p, u);
      const auto by = [&](int n) { return dh_[h_at(p, u)] * it.h.slope[n] + dc_[c_at(p, u)] * it.c.slope[n]; };
      for (int g = 0; g < s_.gates; ++g) out_.dx[gate_at(p, u, g)] = by(Unit::kZ + g);
      const auto carried = [&](Pixel from, double dc) {
        (inside(from) ? dc_[c_at(from, u)] : out_.dc0[image_state_at(from, u)]) += dc;
      };
      carried(carry(p), by(Unit::kLeft));
      if (five()) carried(above(p), by(Unit::kUp));
      for (int n = 0; n < 4 && !out_.dpeephole.empty(); ++n)
        out_.dpeephole[image_peephole_at(p, n, u)] += by(Unit::kPeephole + n);
    }
    for (int u = 0; u < s_.hidden; ++u)
      for (int g = 0; g < s_.gates; ++g) backward(p, u, g, out_.dx[gate_at(p, u, g)]);
  }
  void backward(Pixel p, int u, int g, double dz) {
    out_.dbias[state_at(u) * s_.gates + g] += dz;
    for (int k = 0; k < s_.taps; ++k) {
      const Pixel from = state_tap(p, k);
      for (int v = 0; v < s_.hidden; ++v) {
        const int64_t weight = weight_at(k, u, g, v);
        out_.dweight[weight] += dz * h(from, v);
        (inside(from) ? dh_[h_at(from, v)] : out_.dh0[image_state_at(from, v)]) += dz * in_.weight[weight];
      }
    }
    for (int k = 0; k < s_.input_taps; ++k)
      for (int channel = 0; channel < s_.input_channels; ++channel) {
        const Pixel from = input_tap(p, k);
        const int64_t weight = input_weight_at(k, u, g, channel);
        out_.dweight_ih[weight] += dz * input(from, channel);
        if (inside(from)) out_.dinput[map_index(from) * s_.input_channels + channel] += dz * in_.weight_ih[weight];
      }
  }

  const Shape s_;
  const int direction_;
  const Inputs<double>& in_;
  Outputs<double>& out_;
  std::vector<double> z_, dh_, dc_;
};

template <class T> Outputs<double> scalar_scan(const Shape& s, const Inputs<T>& in) {
  const Inputs<double> exact{to_double(in.x), to_double(in.weight), to_double(in.h0), to_double(in.c0),
      to_double(in.input), to_double(in.weight_ih), to_double(in.bias), to_double(in.peephole), to_double(in.dh),
      in.merge, in.formula, in.scale};
  Outputs<double> out = outputs_of(s, in, 0.);
  for (int direction = 0; direction < s.directions; ++direction) {
    ScalarScan scan(s, direction, exact, out);
    scan.forward();
    scan.backward();
  }
  return out;
}

}  // namespace check
