#include "scan.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "buffer.h"
#include "kernels.h"

namespace pixelrnn::cpu {
namespace {

constexpr int kCellsAtOnce = 24;  // of a line, over several images: enough to fill tiles, few enough to stay in L1

// A map that every cell reads at one displacement, with its weight. Outside the image it reads `border`.
template <class T> struct Tap {
  const T* map;
  int channels, stride;  // values read of a pixel, values from pixel to pixel
  Displacement from;
  const T* border;
  const T* weight;  // [hidden][4][channels]
};

template <class T> const T* at(const T* p, int64_t offset) { return p ? p + offset : p; }

// State, input and bias of one direction, all as taps: the bias is the weight of a map of ones.
template <class T> struct Taps : std::vector<Tap<T>> {
  static constexpr T one = 1;

  void state(const Shape& s, const T* map, const T* border, const T* weight) {
    for (int k = 0; k < s.taps; ++k)
      this->push_back({map, s.hidden, s.hidden, state_tap(s.diagonal, s.taps, k), border,
          at(weight, int64_t(k) * s.hidden * 4 * s.hidden)});
  }
  void input(const Shape& s, const T* map, const T* border, const T* weight) {
    for (int k = 0; map && k < s.input_taps; ++k)
      this->push_back({map, s.input_channels, s.input_channels, input_tap(s.input_kernel, k), border,
          at(weight, int64_t(k) * s.hidden * 4 * s.input_channels)});
  }
  void bias(const T* weight) { this->push_back({&one, 1, 0, {0, 0}, &one, weight}); }

  std::vector<int> channels() const {
    std::vector<int> n;
    for (const auto& tap : *this) n.push_back(tap.channels);
    return n;
  }
  int64_t all_channels() const {
    int64_t n = 0;
    for (const auto& tap : *this) n += tap.channels;
    return n;
  }
};

// Pointers to the operands of the active cells of one line of some images.
template <class T> class LineCells {
 public:
  LineCells(const Geometry& g, int64_t pixels, const Taps<T>& taps)
      : g_(g), pixels_(pixels), taps_(taps), channels_(taps.channels()) {}

  // sense -1: the taps are read backwards, from the cells that read this one.
  void seek(int t, int image0, int image1, int sense = 1) {
    r0_ = g_.first(t), count_ = std::max(0, g_.last(t) - r0_), t_ = t, image0_ = image0, image1_ = image1;
    const size_t n = size_t(count_) * (image1 - image0);
    tap_.resize(n * taps_.size()), cell_.resize(n), chain_.resize(n);
    for (size_t k = 0; k < taps_.size(); ++k) point(taps_[k], sense, tap_.data() + k * n);
    for (int b = image0; b < image1; ++b)
      for (int i = 0; i < count_; ++i) {
        const size_t j = size_t(b - image0) * count_ + i;
        cell_[j] = b * pixels_ + g_.pixel(t, r0_ + i);
        chain_[j] = int64_t(b) * g_.cells + r0_ + i;
      }
  }
  void carry(const Tap<T>& tap) {
    carry_.resize(cell_.size());
    point(tap, 1, carry_.data());
  }
  Rows<T> rows(int sense = 1) const {
    return {int(cell_.size()), int(taps_.size()), channels_.data(), tap_.data(), carry_.data(), cell_.data(),
        chain_.data(), int64_t(sense) * g_.step};
  }

 private:
  void point(const Tap<T>& tap, int sense, const T** out) const {
    const int line = t_ - sense * g_.lag(tap.from), first = r0_ + sense * g_.shift(tap.from);
    const int inside0 = std::clamp(g_.first(line) - first, 0, count_),
              inside1 = std::clamp(g_.last(line) - first, inside0, count_);
    const int64_t pixel = g_.pixel(line, first), along = int64_t(g_.cell) * tap.stride;
    for (int b = image0_; b < image1_; ++b, out += count_) {
      const int64_t origin = (b * pixels_ + pixel) * tap.stride;
      std::fill(out, out + inside0, tap.border);
      for (int i = inside0; i < inside1; ++i) out[i] = tap.map + (origin + i * along);
      std::fill(out + inside1, out + count_, tap.border);
    }
  }

  const Geometry g_;
  const int64_t pixels_;
  const Taps<T>& taps_;
  const std::vector<int> channels_;
  int t_ = 0, r0_ = 0, count_ = 0, image0_ = 0, image1_ = 0;
  std::vector<const T*> tap_, carry_;
  std::vector<int64_t> cell_, chain_;
};

// One direction as a scan sees it.
template <class T, class Maps> struct Direction {
  Geometry geometry;
  Taps<T> taps;
  Tap<T> carry;
  Maps maps;
  Buffer<T> packed;
};

template <class T, class Maps>
void pack(const ScanKernels<T>& k, Pass pass, int hidden, const Team& team, Direction<T, Maps>& d) {
  const int units = k.block_units(pass, hidden), blocks = (hidden + units - 1) / units;
  const std::vector<int> channels = d.taps.channels();
  std::vector<const T*> weight;
  for (const auto& tap : d.taps) weight.push_back(tap.weight);
  const int64_t inputs = pass == Pass::kForward ? 4 * d.taps.all_channels() : int64_t(d.taps.size()) * 4 * hidden;
  d.packed = buffer<T>(inputs * units * blocks);
  const int shares = std::min(team.threads, blocks);
  team.parallel(shares, [&](int s0, int s1) {
    k.pack(pass, hidden, int(weight.size()), channels.data(), weight.data(), d.packed.get(), share(blocks, s0, shares),
        share(blocks, s1, shares));
  });
}

// Sweeps all directions, forward or backward in time. Each share takes its own images, a few at a time through the
// whole map, and never waits. Where that would leave threads idle, all shares work on every line and meet behind it, if
// they run at the same time.
template <class T, class Maps, class Tile>
void sweep(const Shape& s, Pass pass, const ScanKernels<T>& k, const Team& team,
    std::vector<Direction<T, Maps>>& directions, Tile tile) {
  for (auto& d : directions) pack(k, pass, s.hidden, team, d);
  const int sense = pass == Pass::kForward ? 1 : -1;
  const int units = k.block_units(pass, s.hidden), blocks = (s.hidden + units - 1) / units,
            most = k.max_cells(pass, s.hidden);
  const Geometry& any = directions[0].geometry;
  const int shares = team.threads, scans = s.directions * s.images, most_scans = (scans + shares - 1) / shares;
  const bool apart = !team.at_once || 4 * scans >= 3 * most_scans * shares;
  const int line_cells = std::min(any.cells, any.width),
            together = std::max(1, (kCellsAtOnce + line_cells / 2) / line_cells);

  auto line = [&](LineCells<T>& cells, const Direction<T, Maps>& d, int step, int image0, int image1) {
    cells.seek(sense > 0 ? step : any.lines - 1 - step, image0, image1, sense);
    cells.carry(d.carry);
    return cells.rows(sense);
  };
  // Tiles t0 <= t < t1 of some cells: a block's weights stay in L1 for all groups of cells.
  auto groups = [&](const Rows<T>& rows) { return (rows.cells + most - 1) / most; };
  auto tiles = [&](const Direction<T, Maps>& d, const Rows<T>& rows, int64_t t0, int64_t t1) {
    const int n = groups(rows);
    for (int64_t t = t0; t < t1; ++t) {
      const int first = share(rows.cells, t % n, n), last = share(rows.cells, t % n + 1, n);
      tile(rows, first, last - first, int(t / n), s.hidden, d.packed.get(), d.maps);
    }
  };

  if (apart) {
    team.parallel(shares, [&](int s0, int s1) {
      for (int q = s0; q < s1; ++q) {
        const int scan1 = share(scans, q + 1, shares);
        for (int scan = share(scans, q, shares); scan < scan1;) {
          const auto& d = directions[scan / s.images];
          const int image0 = scan % s.images, image1 = std::min({image0 + together, s.images, image0 + scan1 - scan});
          LineCells<T> cells(d.geometry, s.pixels(), d.taps);
          for (int step = 0; step < any.lines; ++step) {
            const Rows<T> rows = line(cells, d, step, image0, image1);
            tiles(d, rows, 0, int64_t(groups(rows)) * blocks);
          }
          scan += image1 - image0;
        }
      }
    });
    return;
  }
  Barrier barrier(shares);
  team.parallel(shares, [&](int s0, int s1) {
    std::vector<LineCells<T>> cells;
    for (const auto& d : directions) cells.emplace_back(d.geometry, s.pixels(), d.taps);
    std::vector<Rows<T>> rows(directions.size());
    for (int step = 0; step < any.lines; ++step) {
      int64_t all = 0;
      for (size_t i = 0; i < rows.size(); ++i) {
        rows[i] = line(cells[i], directions[i], step, 0, s.images);
        all += int64_t(groups(rows[i])) * blocks;
      }
      int64_t t0 = share(all, s0, shares), t1 = share(all, s1, shares);
      for (size_t i = 0; i < rows.size(); ++i) {
        const int64_t n = int64_t(groups(rows[i])) * blocks;
        tiles(directions[i], rows[i], std::clamp<int64_t>(t0, 0, n), std::clamp<int64_t>(t1, 0, n));
        t0 -= n, t1 -= n;
      }
      barrier.arrive(s1 - s0);
    }
  });
}

// Per-direction part of [directions][size].
template <class T> T* part(T* p, int direction, int64_t size) { return p ? p + direction * size : p; }

}  // namespace

template <class T> void forward(const Shape& s, const Forward<T>& a, const Team& team, int instruction_set) {
  const std::vector<T> zeros(std::max(s.hidden, s.input_channels));
  const int64_t h = s.hidden;
  std::vector<Direction<T, ForwardMaps<T>>> directions(s.directions);
  for (int i = 0; i < s.directions; ++i) {
    auto& d = directions[i];
    const T* h0 = a.h0 ? a.h0 + i * h : zeros.data();
    const T* c0 = a.c0 ? a.c0 + i * h : zeros.data();
    T *hs = a.h + i * s.map() * h, *cs = a.c + i * s.map() * h;
    d.geometry = s.geometry(i);
    d.taps.state(s, hs, h0, part(a.weight, i, s.taps * h * 4 * h));
    d.taps.input(s, a.input, zeros.data(), part(a.weight_ih, i, s.input_taps * h * 4 * s.input_channels));
    if (a.bias) d.taps.bias(a.bias + i * h * 4);
    d.carry = {cs, s.hidden, s.hidden, carry_tap(s.diagonal), c0, nullptr};
    d.maps = {part(a.x, i, s.map() * h * 4), hs, cs, a.gates + i * s.map() * h * 4};
  }
  const auto& k = kernels<T>(instruction_set).scan;
  sweep<T>(s, Pass::kForward, k, team, directions, k.forward);
}

template <class T> void backward(const Shape& s, const Backward<T>& a, const Team& team, int instruction_set) {
  const std::vector<T> zeros(4 * s.hidden);
  const int64_t h = s.hidden, chains = int64_t(s.images) * s.geometry(0).cells;
  const Buffer<T> dc = buffer<T>(s.directions * chains * h);
  memset(dc.get(), 0, sizeof(T) * s.directions * chains * h);
  std::vector<Direction<T, BackwardMaps<T>>> directions(s.directions);
  for (int i = 0; i < s.directions; ++i) {
    auto& d = directions[i];
    T* dx = a.dx + i * s.map() * 4 * h;
    const T* c = a.c + i * s.map() * h;
    d.geometry = s.geometry(i);
    for (int k = 0; k < s.taps; ++k)
      d.taps.push_back({dx, 4 * s.hidden, 4 * s.hidden, state_tap(s.diagonal, s.taps, k), zeros.data(),
          a.weight + (i * s.taps + k) * h * 4 * h});
    d.carry = {c, s.hidden, s.hidden, carry_tap(s.diagonal), a.c0 ? a.c0 + i * h : zeros.data(), nullptr};
    d.maps = {a.dh + i * s.map() * h, c, a.gates + i * s.map() * 4 * h, dc.get() + i * chains * h, dx};
  }
  const auto& k = kernels<T>(instruction_set).scan;
  sweep<T>(s, Pass::kBackward, k, team, directions, k.backward);

  for (int64_t scan = 0; scan < int64_t(s.directions) * s.images && a.dc0; ++scan) {
    T* out = a.dc0 + scan * h;
    const int cells = s.geometry(0).cells;
    std::fill(out, out + h, T(0));
    for (int64_t chain = scan * cells; chain < (scan + 1) * cells; ++chain)
      for (int u = 0; u < h; ++u) out[u] += dc[chain * h + u];
  }
  for (int i = 0; i < s.directions && a.dh0; ++i) {
    T* out = a.dh0 + i * s.images * h;
    std::fill(out, out + s.images * h, T(0));
    const auto& d = directions[i];
    const Geometry& g = d.geometry;
    for (const auto& tap : d.taps) {
      std::vector<T> sums(s.images * 4 * h);  // of each image's dx over the cells whose tap lies outside
      for (int t = 0; t < g.lines; ++t)
        for (int r = g.first(t); r < g.last(t); ++r) {
          const int line = t - g.lag(tap.from), cell = r + g.shift(tap.from);
          if (cell >= g.first(line) && cell < g.last(line)) continue;
          for (int b = 0; b < s.images; ++b) {
            const T* dx = tap.map + (b * s.pixels() + g.pixel(t, r)) * 4 * h;
            for (int j = 0; j < 4 * h; ++j) sums[b * 4 * h + j] += dx[j];
          }
        }
      for (int b = 0; b < s.images; ++b)
        for (int j = 0; j < 4 * h; ++j)
          for (int u = 0; u < h; ++u) out[b * h + u] += sums[b * 4 * h + j] * tap.weight[j * h + u];
    }
  }
}

// No recurrence here, so the cells are taken row by row of the image, whatever the scan's lines are. Each share has a
// sum of its own; they are added in order.
template <class T> void weight_gradient(
    const Shape& s, const WeightGradient<T>& a, const Team& team, int instruction_set) {
  const auto& k = kernels<T>(instruction_set).weight_gradient;
  const std::vector<T> zeros(std::max(s.hidden, s.input_channels));
  const int64_t h = s.hidden, columns = k.columns(4 * s.hidden);
  const int together = std::max(1, std::min(s.images, 128 / s.width)), batches = (s.images + together - 1) / together;
  const int64_t lines = int64_t(batches) * s.height;
  const int shares = std::max<int64_t>(1, std::min<int64_t>(team.threads, lines));
  Buffer<T> sums;
  for (int i = 0; i < s.directions; ++i) {
    const Geometry g = Geometry::row(s.height, s.width, s.mirrored(i));
    Taps<T> taps;
    std::vector<T*> out;
    if (a.dweight) taps.state(s, a.h + i * s.map() * h, a.h0 ? a.h0 + i * h : zeros.data(), nullptr);
    for (size_t t = 0; t < taps.size(); ++t) out.push_back(a.dweight + (i * s.taps + t) * h * 4 * h);
    if (a.dweight_ih) taps.input(s, a.input, zeros.data(), nullptr);
    for (size_t t = 0; out.size() < taps.size(); ++t)
      out.push_back(a.dweight_ih + (i * s.input_taps + t) * h * 4 * s.input_channels);
    if (a.dbias) taps.bias(nullptr), out.push_back(a.dbias + i * h * 4);
    if (taps.empty()) return;

    const int64_t rows = taps.all_channels(), size = rows * columns;
    if (!sums) sums = buffer<T>(size * shares);
    memset(sums.get(), 0, sizeof(T) * size * shares);
    team.parallel(shares, [&](int s0, int s1) {
      const auto scratch = buffer<T>(k.scratch_size);
      LineCells<T> cells(g, s.pixels(), taps);
      for (int q = s0; q < s1; ++q)
        for (int64_t line = share(lines, q, shares); line < share(lines, q + 1, shares); ++line) {
          const int image0 = line / s.height * together;
          cells.seek(line % s.height, image0, std::min(s.images, image0 + together));
          k.add(cells.rows(), 4 * s.hidden, a.dx + i * s.map() * 4 * h, sums.get() + size * q, scratch.get());
        }
    });
    const int parts = std::max(1, std::min<int>(team.threads, 4 * h));
    team.parallel(parts, [&](int p0, int p1) {
      const int c0 = share(4 * h, p0, parts), c1 = share(4 * h, p1, parts);
      int64_t row = 0;
      for (size_t t = 0; t < taps.size(); ++t)
        for (int j = 0; j < taps[t].channels; ++j, ++row)
          for (int c = c0; c < c1; ++c) {
            T sum = 0;
            for (int q = 0; q < shares; ++q) sum += sums[size * q + row * columns + c];
            out[t][int64_t(c) * taps[t].channels + j] = sum;
          }
    });
  }
}

#define INSTANTIATE(T)                                                           \
  template void forward<T>(const Shape&, const Forward<T>&, const Team&, int);   \
  template void backward<T>(const Shape&, const Backward<T>&, const Team&, int); \
  template void weight_gradient<T>(const Shape&, const WeightGradient<T>&, const Team&, int);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace pixelrnn::cpu
