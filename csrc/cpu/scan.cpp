#include "scan.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "input_gradient.h"
#include "line_cells.h"
#include "pages.h"
#include "sweep.h"
#include "weight_sums.h"

namespace pixelrnn::cpu {
namespace {

template <class T> CellParameters<T> select_peepholes(const Shape& s, CellParameters<T> cell, int direction) {
  cell.peephole = part(cell.peephole, direction, 4 * int64_t(s.hidden));
  return cell;
}

// Holds the operands of the backward scan. After the scan, the class computes the gradients of h0, c0 and the peephole
// weights.
template <class T> class BackwardScan {
 public:
  BackwardScan(const Shape& s, const Backward<T>& a)
      : s_(s),
        a_(a),
        zeros_(s.columns()),
        zero_state_(s.hidden),
        chains_(s.geometry(0).cells),
        dc_(buffer<Sum<T>>(int64_t(s.directions) * s.images * chains_ * s.hidden)),
        layout_(s),
        dc_up_(buffer<Sum<T>>(carries_up(s.gates) ? s.directions * s.images * layout_.size() : 0)) {
    memset(dc_.get(), 0, sizeof(Sum<T>) * s.directions * s.images * chains_ * s.hidden);
  }
  Operands<T, BackwardMaps<T>> operands(int i, int64_t image, T* dx) const {
    const int64_t h = s_.hidden, first = i * s_.images + image, cell = first * s_.pixels() * h;
    Operands<T, BackwardMaps<T>> d;
    for (int k = 0; k < s_.taps; ++k)
      d.taps.push_back(
          {dx, s_.columns(), s_.columns(), state_tap(s_.diagonal, s_.taps, k), zeros_.data(), a_.weight.at(i, k)});
    const Sum<T>* border = a_.c0 ? a_.c0 + i * h : zero_state_.data();
    d.carried.carry = {a_.c + cell, s_.hidden, s_.hidden, carry_tap(s_.diagonal), border};
    const bool merged = a_.merge != Merge::kNone;
    // kShift adds h of direction 1 to the output in the row below, so a cell of direction 1 reads its gradient dh in
    // the row below. The row below is the previous row of a scan from the bottom, and the next row of a scan from the
    // top.
    const bool shifted = a_.merge == Merge::kShift && i == 1;
    const int dh_stride = merged ? s_.hidden : s_.h_stride();
    d.carried.dh = {a_.dh + (merged ? image * s_.pixels() * h : s_.h_offset(i, image)), s_.hidden, dh_stride,
        {shifted ? (s_.corner[i].bottom ? 1 : -1) : 0, 0}, zeros_.data()};
    d.maps = {a_.c + cell, a_.gates + s_.gates * cell, dc_.get() + first * chains_ * h, dx, dh_stride};
    if (carries_up(s_.gates)) {
      d.carried.carry_up = {a_.c + cell, s_.hidden, s_.hidden, kUp, border};
      d.carried.dc_up = dc_up_.get() + first * layout_.size();
      d.maps.cell = select_peepholes(s_, a_.cell, i);
    }
    return d;
  }
  void write_gradients(int i, int64_t image, int images, const T* dx) const {
    const int64_t h = s_.hidden;
    for (int64_t b = 0, scan = i * s_.images + image; b < images; ++b, ++scan) {
      const T* image_dx = dx + b * s_.pixels() * s_.columns();
      const auto g = s_.geometry(i, s_.image_size(image + b));
      if (a_.dc0) write_dc0(g, scan, a_.dc0 + scan * h);
      if (a_.dh0) write_dh0(i, g, image_dx, a_.dh0 + scan * h);
      if (a_.dpeephole) write_dpeephole(i, g, scan, image_dx, a_.dpeephole + scan * 4 * h);
    }
  }

 private:
  // The gradient of c0, the c outside the image, is a sum over the cells whose previous cell is outside. In LSTM2d, the
  // cells of the first row also read c0 as c of the cell above.
  void write_dc0(const Geometry& g, int64_t scan, Sum<T>* out) const {
    std::fill(out, out + s_.hidden, Sum<T>(0));
    const auto add = [&](const Sum<T>* dc) {
      for (int u = 0; u < s_.hidden; ++u) out[u] += dc[u];
    };
    if (g.lines == 0) return;
    for (int chain = 0; chain < g.cells; ++chain) add(dc_.get() + (scan * chains_ + chain) * s_.hidden);
    if (!carries_up(s_.gates)) return;
    for (int column = 0; column < g.width; ++column) add(layout_.top(dc_up_.get() + scan * layout_.size(), column));
  }
  // The gradient of h0, the h outside the image, sums dx over the cells whose neighbour is outside, times the
  // neighbour's weight.
  void write_dh0(int i, const Geometry& g, const T* dx, Sum<T>* out) const {
    const int64_t h = s_.hidden, columns = s_.columns();
    std::vector<Sum<T>> sums(columns);
    std::fill(out, out + h, Sum<T>(0));
    for (const auto& tap : operands(i, 0, nullptr).taps) {
      std::fill(sums.begin(), sums.end(), Sum<T>(0));
      for (int t = 0; t < g.lines; ++t)
        for (int r = g.first(t); r < g.end(t); ++r) {
          if (is_inside(g, t, r, tap.displacement)) continue;
          const T* cell_dx = dx + g.pixel(t, r) * columns;
          for (int64_t j = 0; j < columns; ++j) sums[j] += cell_dx[j];
        }
      for (int64_t j = 0; j < columns; ++j) {
        const T* weight = tap.weight.column(j, h);
        for (int64_t u = 0; u < h; ++u) out[u] += sums[j] * weight[u * tap.weight.channel_stride];
      }
    }
  }
  // Computes the gradients of the peephole weights, through which a gate reads c. A weight's gradient is a sum over all
  // cells of an image: the gradient of the gate's pre-activation times the c that the gate reads.
  void write_dpeephole(int i, const Geometry& g, int64_t scan, const T* dx, Sum<T>* out) const {
    const int64_t h = s_.hidden;
    const Sum<T>* c = a_.c + scan * s_.pixels() * h;
    const Sum<T>* border = a_.c0 ? a_.c0 + i * h : zero_state_.data();
    std::fill(out, out + 4 * h, Sum<T>(0));
    for (int t = 0; t < g.lines; ++t)
      for (int r = g.first(t); r < g.end(t); ++r) {
        const auto neighbour = [&](Displacement d) {
          return is_inside(g, t, r, d) ? c + g.pixel(t - g.lag(d), r + g.shift(d)) * h : border;
        };
        const auto up = neighbour(kUp), left = neighbour(carry_tap(true));
        const auto cell_c = c + g.pixel(t, r) * h;
        const T* dz = dx + g.pixel(t, r) * s_.columns();
        for (int64_t u = 0; u < h; ++u) {
          out[u] += dz[4 * u] * (up[u] + left[u]);
          out[h + u] += dz[4 * u + 1] * left[u];
          out[2 * h + u] += dz[4 * h + u] * up[u];
          out[3 * h + u] += dz[4 * u + 3] * cell_c[u];
        }
      }
  }
  static bool is_inside(const Geometry& g, int t, int r, Displacement d) {
    return g.is_active(t - g.lag(d), r + g.shift(d));
  }

  const Shape& s_;
  const Backward<T>& a_;
  const std::vector<T> zeros_;
  const std::vector<Sum<T>> zero_state_;
  const int chains_;
  const Buffer<Sum<T>> dc_;
  const DcUpLayout<Sum<T>> layout_;
  const Buffer<Sum<T>> dc_up_;
};

// Zeroes a feature map [images][pixels][values] outside the images, which may be smaller than the map, for shares s0 <=
// s < s1 (threads' parts of the images).
template <class T> void clear_outside(const Shape& s, T* map, int64_t values, int shares, int s0, int s1) {
  if (!s.sizes) return;
  for (int64_t b = share(s.images, s0, shares); b < share(s.images, s1, shares); ++b) {
    const auto size = s.sizes[b];
    for (int r = 0; r < s.height; ++r) {
      T* row = map + (b * s.height + r) * s.width * values;
      std::fill(row + (r < size.height ? size.width : 0) * values, row + s.width * values, T(0));
    }
  }
}

// Writes rows r0 <= r < r1, counted over all images, of the sum of h of all directions. kShift first moves h of
// direction 1 down by a row (section 3.3 of the paper).
template <class T>
void merge_rows(const Shape& s, const Kernels<T>& k, Merge merge, const T* h, T* merged, int64_t r0, int64_t r1) {
  const int64_t hidden = s.hidden, stride = s.h_stride(), row_values = s.width * stride;
  const T* terms[kMaxDirections];
  for (int64_t r = r0; r < r1; ++r) {
    T* out = merged + r * s.width * hidden;
    const int64_t row = r % s.height;
    if (row >= s.image_size(r / s.height).height) {
      std::fill(out, out + s.width * hidden, T(0));
      continue;
    }
    const int count = merge == Merge::kShift && row == 0 ? 1 : s.directions;
    for (int d = 0; d < count; ++d)
      terms[d] = h + r * row_values + d * hidden - (merge == Merge::kShift && d == 1 ? row_values : 0);
    k.sum(s.width, hidden, stride, count, terms, out);
  }
}

// Calls f(share, first image, count) for small groups of the images of shares s0 <= s < s1. A share is one thread's
// part of the images.
template <class F>
void for_own_images(const Shape& s, const Split& split, int at_once, int s0, int s1, const F& f) {
  for (int q = s0; q < s1; ++q)
    for (int64_t image = split.first(q), end = split.first(q + 1); image < end;) {
      const int images = int(std::min<int64_t>(at_once, end - image));
      f(q, image, images);
      image += images;
    }
}

}  // namespace

template <class T> void forward(const Shape& s, const Forward<T>& a, const Team& team, int instruction_set) {
  const std::vector<T> zeros(std::max(s.hidden, s.input_channels));
  const std::vector<Sum<T>> zero_state(s.hidden);
  const auto operands_of = [&](int i, int64_t image) {
    const int64_t h = s.hidden, cell = (i * s.images + image) * s.pixels() * h;
    T* hs = a.h + s.h_offset(i, image);
    Sum<T>* cs = a.c + cell;
    const Sum<T>* border = a.c0 ? a.c0 + i * h : zero_state.data();
    Operands<T, ForwardMaps<T>> d;
    d.taps.add_state(s, hs, a.h0 ? a.h0 + i * h : zeros.data(), a.weight, i);
    d.taps.add_input(s, part(a.input, image, s.pixels() * s.input_channels), zeros.data(), a.weight_ih, i);
    if (a.bias) d.taps.add_bias(a.bias, i);
    d.carried.carry = {cs, s.hidden, s.hidden, carry_tap(s.diagonal), border};
    d.maps = {part(a.x, cell, s.gates), hs, cs, a.gates + s.gates * cell, s.h_stride()};
    if (carries_up(s.gates)) {
      d.carried.carry_up = {cs, s.hidden, s.hidden, kUp, border};
      d.maps.cell = select_peepholes(s, a.cell, i), d.maps.border = border;
    }
    return d;
  };
  const auto& k = kernels<T>(instruction_set);
  const auto& tiles = k.scan[carries_up(s.gates)];
  Sweep<T, ForwardMaps<T>> sweep(s, Pass::kForward, tiles, tiles.forward, team, operands_of);
  const int shares = team.threads;
  const auto merge = [&](int64_t r0, int64_t r1) { merge_rows<T>(s, k, a.merge, a.h, a.merged, r0, r1); };
  const auto prepare = [&](int s0, int s1) {
    sweep.pack(s0, s1);
    clear_outside(s, a.h, s.h_stride(), shares, s0, s1);
  };
  if (a.merge == Merge::kNone) return team.parallel(shares, prepare, [&](int s0, int s1) { sweep.run(s0, s1); });
  // If the images divide evenly among the shares (threads' parts), a share scans all directions of a few images at a
  // time, and merges them while h is in the cache.
  const Split split(s, 1, shares);
  const bool own_images = split.is_balanced();
  const auto scans = [&](int s0, int s1) {
    if (!own_images) return sweep.run(s0, s1);
    const int at_once = images_at_once(s, tiles.cells_at_once);
    for_own_images(s, split, at_once, s0, s1, [&](int q, int64_t image, int images) {
      for (int i = 0; i < s.directions; ++i) sweep.scan_images(q, i, operands_of(i, image), image, images);
      merge(image * s.height, (image + images) * s.height);
    });
  };
  const auto rest = [&](int s0, int s1) {
    const int64_t rows = int64_t(s.images) * s.height;
    if (!own_images) merge(share(rows, s0, shares), share(rows, s1, shares));
  };
  team.parallel(shares, prepare, scans, rest);
}

template <class T> void backward(const Shape& s, const Backward<T>& a, const Team& team, int instruction_set) {
  const auto& k = kernels<T>(instruction_set);
  const int shares = team.threads;
  // If the images divide evenly among the CPU threads, each thread computes all gradients of a few images before it
  // goes on to other images, because dx is then still in the cache. If the caller does not want dx, the buffer own_dx
  // holds dx, and has room only for the images that the threads compute at the same time.
  const Split split(s, 1, shares);
  const bool own_images = split.is_balanced();
  const auto& tiles = k.scan[carries_up(s.gates)];
  const int at_once = std::min(images_at_once(s, tiles.cells_at_once), (s.images - 1) / shares + 1);
  const int64_t dx_size = s.pixels() * s.columns();
  const auto own_dx = buffer<T>(a.dx ? 0 : s.directions * dx_size * (own_images ? shares * at_once : s.images));
  const auto dx_of = [&](int q, int i, int64_t image) {
    if (a.dx) return a.dx + (i * s.images + image) * dx_size;
    return own_dx.get() + dx_size * (own_images ? (int64_t(q) * s.directions + i) * at_once : i * s.images + image);
  };

  const BackwardScan<T> scan(s, a);
  const auto operands_of = [&](int i, int64_t image) { return scan.operands(i, image, dx_of(0, i, image)); };
  Sweep<T, BackwardMaps<T>> sweep(s, Pass::kBackward, tiles, tiles.backward, team, operands_of);
  const WeightSums<T> sums(s, k.weight_gradient, a.dweights, shares, own_images);
  const InputGradient<T> input(s, k.convolution, a.dinput ? a.weight_ih : Weights<const T>());

  const auto prepare = [&](int s0, int s1) {
    sweep.pack(s0, s1);
    input.pack(s0, s1, shares);
    sums.clear(s0, s1);
    if (a.dinput) clear_outside(s, a.dinput, s.input_channels, shares, s0, s1);
    for (int i = 0; a.dx && i < s.directions; ++i)
      clear_outside(s, a.dx + i * s.images * dx_size, s.columns(), shares, s0, s1);
  };
  const auto weight_operands = [&](const T* dx, int i, int64_t image) -> WeightOperands<T> {
    return {dx, a.h ? a.h + s.h_offset(i, image) : nullptr, part(a.h0, i, s.hidden),
        part(a.input, image, s.pixels() * s.input_channels)};
  };
  const auto write_dinput = [&](int q, int64_t image, int64_t r0, int64_t r1) {
    if (!a.dinput) return;
    std::vector<const T*> dx;
    for (int i = 0; i < s.directions; ++i) dx.push_back(dx_of(q, i, image));
    input.write(dx, a.dinput + image * s.pixels() * s.input_channels, image, r0, r1);
  };
  const auto scans = [&](int s0, int s1) {
    if (!own_images) return sweep.run(s0, s1);
    for_own_images(s, split, at_once, s0, s1, [&](int q, int64_t image, int images) {
      const int64_t rows = int64_t(images) * s.height;
      for (int i = 0; i < s.directions; ++i) {
        T* dx = dx_of(q, i, image);
        sweep.scan_images(q, i, scan.operands(i, image, dx), image, images);
        scan.write_gradients(i, image, images, dx);
        sums.add_rows(q, i, weight_operands(dx, i, image), image, 0, rows);
      }
      write_dinput(q, image, 0, rows);
    });
  };
  const auto rest = [&](int s0, int s1) {
    if (own_images) return;
    const int64_t all = int64_t(s.directions) * s.images, rows = int64_t(s.images) * s.height;
    for (int64_t n = share(all, s0, shares); n < share(all, s1, shares); ++n) {
      const int i = int(n / s.images);
      scan.write_gradients(i, n % s.images, 1, dx_of(0, i, n % s.images));
    }
    for (int q = s0; q < s1; ++q) {
      for (int i = 0; i < s.directions; ++i) sums.add_share(q, i, weight_operands(dx_of(0, i, 0), i, 0));
      write_dinput(q, 0, share(rows, q, shares), share(rows, q + 1, shares));
    }
  };
  team.parallel(shares, prepare, scans, rest, [&](int s0, int s1) { sums.reduce(s0, s1); });
}

#define INSTANTIATE(T)                                                         \
  template void forward<T>(const Shape&, const Forward<T>&, const Team&, int); \
  template void backward<T>(const Shape&, const Backward<T>&, const Team&, int);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(Bf16)
#undef INSTANTIATE

}  // namespace pixelrnn::cpu
