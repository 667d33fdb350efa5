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
};

// The weights of a direction in the order of a pass, a block of units after the other.
template <class T> class Packing {
 public:
  Packing(const ScanKernels<T>& k, Pass pass, int hidden, const Taps<T>& taps)
      : k_(k), pass_(pass), hidden_(hidden), channels_(taps.channels()) {
    const int units = k.block_units(pass, hidden);
    blocks_ = (hidden + units - 1) / units;
    for (const auto& tap : taps) weight_.push_back(tap.weight);
    const int64_t inputs = pass == Pass::kForward ? 4 * taps.all_channels() : int64_t(taps.size()) * 4 * hidden;
    packed_ = buffer<T>(inputs * units * blocks_);
  }
  int blocks() const { return blocks_; }
  const T* packed() const { return packed_.get(); }
  void pack(int s0, int s1, int shares) const {
    k_.pack(pass_, hidden_, int(weight_.size()), channels_.data(), weight_.data(), packed_.get(),
        share(blocks_, s0, shares), share(blocks_, s1, shares));
  }

 private:
  const ScanKernels<T>& k_;
  const Pass pass_;
  const int hidden_;
  const std::vector<int> channels_;
  int blocks_;
  std::vector<const T*> weight_;
  Buffer<T> packed_;
};

// Sweeps all directions, forward or backward in time. Each share takes its own images, a few at a time through the
// whole map, and never waits. Where that would leave threads idle, all shares work on every line and meet behind it, if
// they run at the same time.
template <class T, class Maps, class Tile>
void sweep(const Shape& s, Pass pass, const ScanKernels<T>& k, const Team& team,
    std::vector<Direction<T, Maps>>& directions, Tile tile) {
  std::vector<Packing<T>> packings;
  for (const auto& d : directions) packings.emplace_back(k, pass, s.hidden, d.taps);
  const int sense = pass == Pass::kForward ? 1 : -1;
  const int blocks = packings[0].blocks(), most = k.max_cells(pass, s.hidden);
  const Geometry& any = directions[0].geometry;
  const int shares = team.threads, scans = s.directions * s.images, most_scans = (scans + shares - 1) / shares;
  const bool apart = !team.at_once || 4 * scans >= 3 * most_scans * shares;
  const int line_cells = std::min(any.cells, any.width),
            together = std::max(1, (kCellsAtOnce + line_cells / 2) / line_cells);

  auto line = [&](LineCells<T>& cells, int d, int step, int image0, int image1) {
    cells.seek(sense > 0 ? step : any.lines - 1 - step, image0, image1, sense);
    cells.carry(directions[d].carry);
    return cells.rows(sense);
  };
  // Groups of cells: a multiple of the shares where they share a line whose blocks they cannot share evenly.
  auto groups = [&](const Rows<T>& rows) {
    const int n = (rows.cells + most - 1) / most;
    return apart || blocks % shares == 0 ? n : (n + shares - 1) / shares * shares;
  };
  // Tiles t0 <= t < t1 of some cells: a block's weights stay in L1 for all groups of cells.
  auto tiles = [&](int d, const Rows<T>& rows, int64_t t0, int64_t t1) {
    const int n = groups(rows);
    for (int64_t t = t0; t < t1; ++t) {
      const int first = share(rows.cells, t % n, n), last = share(rows.cells, t % n + 1, n);
      tile(rows, first, last - first, int(t / n), s.hidden, packings[d].packed(), directions[d].maps);
    }
  };

  // Scans q0 <= q < q1, those of one direction after the other.
  auto sweep_scans = [&](int q0, int q1) {
    while (q0 < q1) {
      const int d = q0 / s.images, image0 = q0 % s.images;
      const int image1 = std::min({image0 + together, s.images, image0 + q1 - q0});
      LineCells<T> cells(directions[d].geometry, s.pixels(), directions[d].taps);
      for (int step = 0; step < any.lines; ++step) {
        const Rows<T> rows = line(cells, d, step, image0, image1);
        tiles(d, rows, 0, int64_t(groups(rows)) * blocks);
      }
      q0 += image1 - image0;
    }
  };
  // Shares s0 <= s < s1 of every line.
  auto sweep_lines = [&](int s0, int s1, Barrier& barrier) {
    std::vector<LineCells<T>> cells;
    for (const auto& d : directions) cells.emplace_back(d.geometry, s.pixels(), d.taps);
    std::vector<Rows<T>> rows(directions.size());
    for (int step = 0; step < any.lines; ++step) {
      int64_t all = 0;
      for (size_t d = 0; d < rows.size(); ++d) {
        rows[d] = line(cells[d], int(d), step, 0, s.images);
        all += int64_t(groups(rows[d])) * blocks;
      }
      int64_t t0 = share(all, s0, shares), t1 = share(all, s1, shares);
      for (size_t d = 0; d < rows.size(); ++d) {
        const int64_t n = int64_t(groups(rows[d])) * blocks;
        tiles(int(d), rows[d], std::clamp<int64_t>(t0, 0, n), std::clamp<int64_t>(t1, 0, n));
        t0 -= n, t1 -= n;
      }
      barrier.arrive(s1 - s0);
    }
  };

  Barrier barrier(shares);
  auto pack = [&](int s0, int s1) {
    for (const auto& packing : packings) packing.pack(s0, s1, shares);
  };
  team.parallel(shares, pack, [&](int s0, int s1) {
    if (!apart) return sweep_lines(s0, s1, barrier);
    for (int q = s0; q < s1; ++q) sweep_scans(share(scans, q, shares), share(scans, q + 1, shares));
  });
}

// Per-direction part of [directions][size].
template <class T> T* part(T* p, int direction, int64_t size) { return p ? p + direction * size : p; }

// The gradient of c0: of every chain of cells it is the state before the first.
template <class T> void sum_chains(const T* dc, int chains, int64_t hidden, T* out) {
  std::fill(out, out + hidden, T(0));
  for (int chain = 0; chain < chains; ++chain)
    for (int64_t u = 0; u < hidden; ++u) out[u] += dc[chain * hidden + u];
}

// The gradient of h0 of one image: of each tap, the dx of the cells whose tap lies outside, times the weight.
template <class T>
void border_gradient(const Geometry& g, const Taps<T>& taps, int64_t first_pixel, int64_t hidden, T* sums, T* out) {
  std::fill(out, out + hidden, T(0));
  for (const auto& tap : taps) {
    std::fill(sums, sums + 4 * hidden, T(0));
    for (int t = 0; t < g.lines; ++t)
      for (int r = g.first(t); r < g.last(t); ++r) {
        const int line = t - g.lag(tap.from), cell = r + g.shift(tap.from);
        if (cell >= g.first(line) && cell < g.last(line)) continue;
        const T* dx = tap.map + (first_pixel + g.pixel(t, r)) * 4 * hidden;
        for (int64_t j = 0; j < 4 * hidden; ++j) sums[j] += dx[j];
      }
    for (int64_t j = 0; j < 4 * hidden; ++j)
      for (int64_t u = 0; u < hidden; ++u) out[u] += sums[j] * tap.weight[j * hidden + u];
  }
}

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

  if (!a.dc0 && !a.dh0) return;
  const int scans = s.directions * s.images, shares = std::min(team.threads, scans);
  team.parallel(shares, [&](int s0, int s1) {
    std::vector<T> sums(4 * h);
    for (int scan = share(scans, s0, shares); scan < share(scans, s1, shares); ++scan) {
      const auto& d = directions[scan / s.images];
      if (a.dc0) sum_chains(dc.get() + scan * int64_t(d.geometry.cells) * h, d.geometry.cells, h, a.dc0 + scan * h);
      if (a.dh0) border_gradient(d.geometry, d.taps, scan % s.images * s.pixels(), h, sums.data(), a.dh0 + scan * h);
    }
  });
}

// No recurrence here, so the cells are taken row by row of the image, whatever the scan's lines are. Each share has a
// sum of its own; they are added in order.
template <class T> void weight_gradient(
    const Shape& s, const WeightGradient<T>& a, const Team& team, int instruction_set) {
  const auto& k = kernels<T>(instruction_set).weight_gradient;
  const std::vector<T> zeros(std::max(s.hidden, s.input_channels));
  const int64_t h = s.hidden, columns = k.columns(4 * s.hidden);
  struct OfDirection {
    Geometry geometry;
    Taps<T> taps;
    std::vector<T*> out;
  };
  std::vector<OfDirection> directions(s.directions);
  for (int i = 0; i < s.directions; ++i) {
    auto& [geometry, taps, out] = directions[i];
    geometry = Geometry::row(s.height, s.width, s.mirrored(i));
    if (a.dweight) taps.state(s, a.h + i * s.map() * h, a.h0 ? a.h0 + i * h : zeros.data(), nullptr);
    for (size_t t = 0; t < taps.size(); ++t) out.push_back(a.dweight + (i * s.taps + t) * h * 4 * h);
    if (a.dweight_ih) taps.input(s, a.input, zeros.data(), nullptr);
    for (size_t t = 0; out.size() < taps.size(); ++t)
      out.push_back(a.dweight_ih + (i * s.input_taps + t) * h * 4 * s.input_channels);
    if (a.dbias) taps.bias(nullptr), out.push_back(a.dbias + i * h * 4);
  }
  const int64_t rows = directions[0].taps.all_channels(), size = rows * columns;
  if (rows == 0) return;

  const int together = std::max(1, std::min(s.images, 128 / s.width)), batches = (s.images + together - 1) / together;
  const int64_t lines = int64_t(batches) * s.height;
  const int shares = std::max<int64_t>(1, std::min<int64_t>(team.threads, lines));
  const Buffer<T> sums = buffer<T>(s.directions * shares * size);  // [direction][share][row][column]

  auto add = [&](int i, int q) {
    const auto scratch = buffer<T>(k.scratch_size);
    T* sum = sums.get() + (int64_t(i) * shares + q) * size;
    std::fill(sum, sum + size, T(0));
    LineCells<T> cells(directions[i].geometry, s.pixels(), directions[i].taps);
    for (int64_t line = share(lines, q, shares); line < share(lines, q + 1, shares); ++line) {
      const int image0 = line / s.height * together;
      cells.seek(line % s.height, image0, std::min(s.images, image0 + together));
      k.add(cells.rows(), 4 * s.hidden, a.dx + i * s.map() * 4 * h, sum, scratch.get());
    }
  };
  auto total = [&](int i, int c0, int c1) {
    const T* of_row = sums.get() + int64_t(i) * shares * size;
    const auto& taps = directions[i].taps;
    for (size_t t = 0; t < taps.size(); ++t)
      for (int j = 0; j < taps[t].channels; ++j, of_row += columns)
        for (int c = c0; c < c1; ++c) {
          T sum = 0;
          for (int q = 0; q < shares; ++q) sum += of_row[size * q + c];
          directions[i].out[t][int64_t(c) * taps[t].channels + j] = sum;
        }
  };
  auto add_all = [&](int s0, int s1) {
    for (int i = 0; i < s.directions; ++i)
      for (int q = s0; q < s1; ++q) add(i, q);
  };
  team.parallel(shares, add_all, [&](int s0, int s1) {
    for (int i = 0; i < s.directions; ++i) total(i, share(4 * h, s0, shares), share(4 * h, s1, shares));
  });
}

#define INSTANTIATE(T)                                                           \
  template void forward<T>(const Shape&, const Forward<T>&, const Team&, int);   \
  template void backward<T>(const Shape&, const Backward<T>&, const Team&, int); \
  template void weight_gradient<T>(const Shape&, const WeightGradient<T>&, const Team&, int);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace pixelrnn::cpu
