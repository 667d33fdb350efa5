#pragma once
#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "line_cells.h"
#include "pages.h"

namespace pixelrnn::cpu {

constexpr int kCellsAtOnce = 24;  // cells of a line, over several images: enough to fill tiles, few enough for L1

// Whether n items divide almost evenly: the largest share is at most 4/3 of the average.
inline bool balanced(int64_t n, int shares) { return 4 * n >= 3 * ((n + shares - 1) / shares) * shares; }

// The operands of one direction. All maps begin at the first image scanned.
template <class T, class Maps> struct Direction {
  Taps<T> taps;
  Carried<T> carried;
  Maps maps;
};

// The weights of one direction, packed in the order in which a pass reads them.
template <class T> class Packing {
 public:
  Packing(const ScanKernels<T>& k, Pass pass, int hidden, int gates, const Taps<T>& taps)
      : k_(k), pass_(pass), hidden_(hidden), channels_(taps.channels()) {
    const int units = k.block_units(pass, hidden);
    blocks_ = (hidden + units - 1) / units;
    for (const auto& tap : taps) weight_.push_back(tap.weight);
    packed_ = buffer<T>((pass == Pass::kForward ? gates : 1) * taps.all_channels() * units * blocks_);
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
  std::vector<Weights<const T>> weight_;
  Buffer<T> packed_;
};

// How many images a share scans at once. Images of different sizes are scanned one by one.
inline int images_at_once(const Shape& s) {
  const int cells = s.diagonal ? std::min(s.height, s.width) : s.width;
  return s.extents ? 1 : std::max(1, (kCellsAtOnce + cells / 2) / cells);
}

// Deals the images, `times` times each, to shares with about equally many pixels.
class Deal {
 public:
  Deal(const Shape& s, int times, int shares) : n_(int64_t(times) * s.images), shares_(shares) {
    if (!s.extents) return;
    before_.push_back(0);
    for (int64_t i = 0; i < n_; ++i) {
      const Extent e = s.extents[i % s.images];
      before_.push_back(before_.back() + int64_t(e.height) * e.width);
    }
  }
  int64_t first(int q) const {
    if (before_.empty() || q == shares_) return share(n_, q, shares_);
    return std::lower_bound(before_.begin(), before_.end(), share(before_.back(), q, shares_)) - before_.begin();
  }
  bool balanced() const {
    if (before_.empty()) return cpu::balanced(n_, shares_);
    int64_t most = 0;
    for (int q = 0; q < shares_; ++q) most = std::max(most, before_[first(q + 1)] - before_[first(q)]);
    return 4 * before_.back() >= 3 * most * shares_;
  }

 private:
  const int64_t n_;
  const int shares_;
  std::vector<int64_t> before_;  // pixels of all earlier images, if image sizes differ
};

template <class T, class Maps> class Sweep {
 public:
  using Tile = void (*)(const Rows<T>&, int first, int count, int block, int hidden, const T* packed, const Maps&);
  using At = std::function<Direction<T, Maps>(int direction, int64_t image)>;

  // at: returns the operands of a direction from an image on.
  Sweep(const Shape& s, Pass pass, const ScanKernels<T>& k, Tile tile, const Team& team, At at)
      : s_(s),
        sense_(pass == Pass::kForward ? 1 : -1),
        most_(k.max_cells(pass, s.hidden)),
        lines_(s.geometry(0).lines),
        tile_(tile),
        shares_(team.threads),
        deal_(s, s.directions, shares_),
        apart_(!team.at_once || deal_.balanced()),
        at_(std::move(at)),
        barrier_(shares_) {
    for (int i = 0; i < s.directions; ++i) packings_.emplace_back(k, pass, s.hidden, s.gates, at_(i, 0).taps);
  }

  // Packs the weights of shares s0 <= s < s1. The scan needs the weights of all shares.
  void pack(int s0, int s1) const {
    for (const auto& packing : packings_) packing.pack(s0, s1, shares_);
  }
  void images(int direction, const Direction<T, Maps>& d, int64_t image, int images) const {
    LineCells<T> cells(s_, direction, image, d.taps, sense_);
    for (int step = 0; step < lines_; ++step) {
      const Rows<T> rows = cells.line(line(step), 0, images, d.carried);
      tiles(direction, d, rows, groups(rows), 0, groups(rows) * blocks());
    }
  }
  // Runs shares s0 <= s < s1 of the scan. Usually a share scans its own images, a few at a time, and never waits. If
  // this left threads idle, all shares work on every line and meet at a barrier, provided that they run concurrently.
  void whole(int s0, int s1) {
    if (!apart_) return lines(s0, s1);
    for (int q = s0; q < s1; ++q)
      for (int64_t scan = deal_.first(q), end = deal_.first(q + 1); scan < end;) {
        const int i = int(scan / s_.images), image = int(scan % s_.images);
        const int n = int(std::min<int64_t>({images_at_once(s_), s_.images - image, end - scan}));
        images(i, at_(i, image), image, n);
        scan += n;
      }
  }

 private:
  void lines(int s0, int s1) {
    std::vector<Direction<T, Maps>> directions;
    std::vector<LineCells<T>> cells;
    for (int i = 0; i < s_.directions; ++i) directions.push_back(at_(i, 0));
    for (int i = 0; i < s_.directions; ++i) cells.emplace_back(s_, i, 0, directions[i].taps, sense_);
    std::vector<Rows<T>> rows(directions.size());
    for (int step = 0; step < lines_; ++step) {
      int64_t all = 0;
      for (size_t i = 0; i < rows.size(); ++i) {
        rows[i] = cells[i].line(line(step), 0, s_.images, directions[i].carried);
        all += shared_groups(rows[i]) * blocks();
      }
      int64_t t0 = share(all, s0, shares_), t1 = share(all, s1, shares_);
      for (size_t i = 0; i < rows.size(); ++i) {
        const int groups = shared_groups(rows[i]);
        const int64_t n = groups * blocks();
        tiles(int(i), directions[i], rows[i], groups, std::clamp<int64_t>(t0, 0, n), std::clamp<int64_t>(t1, 0, n));
        t0 -= n, t1 -= n;
      }
      barrier_.arrive(s1 - s0);
    }
  }
  int line(int step) const { return sense_ > 0 ? step : lines_ - 1 - step; }
  // Runs tiles t0 <= t < t1, each a group of cells and a block of units. All groups of a block follow each other, so
  // that its weights stay in L1.
  void tiles(
      int direction, const Direction<T, Maps>& d, const Rows<T>& rows, int groups, int64_t t0, int64_t t1) const {
    for (int64_t t = t0; t < t1; ++t) {
      const int first = share(rows.cells, t % groups, groups), last = share(rows.cells, t % groups + 1, groups);
      tile_(rows, first, last - first, int(t / groups), s_.hidden, packings_[direction].packed(), d.maps);
    }
  }
  int groups(const Rows<T>& rows) const { return (rows.cells + most_ - 1) / most_; }
  // Returns the number of groups, rounded up to a multiple of the shares unless the blocks divide evenly.
  int shared_groups(const Rows<T>& rows) const {
    const int n = groups(rows);
    return blocks() % shares_ == 0 ? n : (n + shares_ - 1) / shares_ * shares_;
  }
  int64_t blocks() const { return packings_[0].blocks(); }

  const Shape& s_;
  const int sense_, most_, lines_;
  const Tile tile_;
  const int shares_;
  const Deal deal_;
  const bool apart_;
  const At at_;
  std::vector<Packing<T>> packings_;
  Barrier barrier_;
};

}  // namespace pixelrnn::cpu
