#pragma once
#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "line_cells.h"
#include "pages.h"

namespace pixelrnn::cpu {

// Returns whether n items divide almost evenly among `shares` shares (threads' parts): the largest share has at most
// 4/3 of the average number of items.
inline bool is_balanced(int64_t n, int shares) { return 4 * n >= 3 * ((n + shares - 1) / shares) * shares; }

template <class T, class Maps> struct Operands {
  Taps<T> taps;
  Carried<T> carried;
  Maps maps;
};

template <class T> class PackedWeights {
 public:
  PackedWeights(const ScanKernels<T>& k, Pass pass, int hidden, int gates, const Taps<T>& taps)
      : k_(k), pass_(pass), hidden_(hidden), channels_(taps.channels()) {
    const int units = k.block_units(pass, hidden);
    blocks_ = (hidden + units - 1) / units;
    for (const auto& tap : taps) weight_.push_back(tap.weight);
    packed_ =
        buffer<T>((pass == Pass::kForward ? gates : 1) *
                  padded(packed_depth<T>(int(channels_.size()), channels_.data()), k.depth_step) * units * blocks_);
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

// Returns how many images a thread scans at once.
inline int images_at_once(const Shape& s, int cells_at_once) {
  const int cells = s.diagonal ? std::min(s.height, s.width) : s.width;
  return s.sizes ? 1 : std::max(1, (cells_at_once + cells / 2) / cells);
}

// Divides the scans of all images into shares (one for each thread) with about equal numbers of pixels. An image has
// `times` scans, for example one for each direction.
class Split {
 public:
  Split(const Shape& s, int times, int shares) : n_(int64_t(times) * s.images), shares_(shares) {
    if (!s.sizes) return;
    before_.push_back(0);
    for (int64_t i = 0; i < n_; ++i) {
      const auto size = s.sizes[i % s.images];
      before_.push_back(before_.back() + int64_t(size.height) * size.width);
    }
  }
  int64_t first(int q) const {
    if (before_.empty() || q == shares_) return share(n_, q, shares_);
    return std::lower_bound(before_.begin(), before_.end(), share(before_.back(), q, shares_)) - before_.begin();
  }
  bool is_balanced() const {
    if (before_.empty()) return cpu::is_balanced(n_, shares_);
    int64_t largest = 0;
    for (int q = 0; q < shares_; ++q) largest = std::max(largest, before_[first(q + 1)] - before_[first(q)]);
    return 4 * before_.back() >= 3 * largest * shares_;
  }

 private:
  const int64_t n_;
  const int shares_;
  // before_[i] is the number of pixels in scans 0 to i - 1. Empty if all images fill their maps.
  std::vector<int64_t> before_;
};

// If each thread gets this many columns of cells, or a tile of them, threads take columns of their own.
constexpr int kOwnCells = 16;

template <class T, class Maps> class Sweep {
 public:
  using OperandsOf = std::function<Operands<T, Maps>(int direction, int64_t image)>;

  Sweep(const Shape& s, Pass pass, const ScanKernels<T>& k, ScanTile<T, Maps> tile, const Team& team,
      OperandsOf operands_of)
      : s_(s),
        sense_(pass == Pass::kForward ? 1 : -1),
        max_cells_(k.max_cells(pass, s.hidden)),
        cells_at_once_(k.cells_at_once),
        lines_(s.geometry(0).lines),
        tile_(tile),
        shares_(team.threads),
        split_(s, s.directions, shares_),
        own_images_(!team.concurrent || split_.is_balanced()),
        own_columns_(!s.diagonal && s.taps == 1 && !s.sizes &&
                     int64_t(s.images) * s.width >= std::min(max_cells_, kOwnCells) * shares_),
        operands_of_(std::move(operands_of)),
        barrier_(shares_) {
    for (int i = 0; i < s.directions; ++i) weights_.emplace_back(k, pass, s.hidden, s.gates, operands_of_(i, 0).taps);
    const auto channels = operands_of_(0, 0).taps.channels();
    scratch_size_ = padded(k.scratch_size(int(channels.size()), channels.data()), 32);
    scratch_ = buffer<T>(shares_ * scratch_size_);
  }

  // Packs the weights of shares s0 <= s < s1 (threads' parts). The scan may begin when all shares are packed.
  void pack(int s0, int s1) const {
    for (const auto& weights : weights_) weights.pack(s0, s1, shares_);
  }
  // Scans some images on the thread of share q.
  void scan_images(int q, int direction, const Operands<T, Maps>& d, int64_t image, int images) const {
    LineCells<T> line_cells(s_, direction, image, d.taps, sense_);
    for (int step = 0; step < lines_; ++step) {
      const auto cells = line_cells.line(line(step), 0, images, d.carried);
      run_tiles(q, direction, d, cells, groups(cells), 0, groups(cells) * blocks());
    }
  }
  // Runs shares s0 <= s < s1 (threads' parts) of the scan. If the images divide evenly, each share scans images of its
  // own, and never waits. Otherwise the shares divide each line. They wait for each other at its end, so all shares
  // must run at the same time. Shares do not wait if each has image columns of its own, which read no other columns.
  void run(int s0, int s1) {
    if (!own_images_) return scan_shared_lines(s0, s1);
    for (int q = s0; q < s1; ++q)
      for (int64_t scan = split_.first(q), end = split_.first(q + 1); scan < end;) {
        const int i = int(scan / s_.images), image = int(scan % s_.images);
        const int n = int(std::min<int64_t>({images_at_once(s_, cells_at_once_), s_.images - image, end - scan}));
        scan_images(q, i, operands_of_(i, image), image, n);
        scan += n;
      }
  }

 private:
  void scan_shared_lines(int s0, int s1) {
    std::vector<Operands<T, Maps>> directions;
    std::vector<LineCells<T>> line_cells;
    for (int i = 0; i < s_.directions; ++i) directions.push_back(operands_of_(i, 0));
    for (int i = 0; i < s_.directions; ++i) line_cells.emplace_back(s_, i, 0, directions[i].taps, sense_);
    std::vector<Cells<T>> cells(directions.size());
    for (int step = 0; step < lines_; ++step) {
      int64_t all = 0;
      for (size_t i = 0; i < cells.size(); ++i) {
        cells[i] = line_cells[i].line(line(step), 0, s_.images, directions[i].carried);
        all += shared_groups(cells[i]) * blocks();
      }
      if (own_columns_) {
        for (size_t i = 0; i < cells.size(); ++i) {
          const int groups = shared_groups(cells[i]);
          for (int64_t t = 0; t < groups * blocks(); t += groups)
            run_tiles(s0, int(i), directions[i], cells[i], groups, t + share(groups, s0, shares_),
                t + share(groups, s1, shares_));
        }
        continue;
      }
      int64_t t0 = share(all, s0, shares_), t1 = share(all, s1, shares_);
      for (size_t i = 0; i < cells.size(); ++i) {
        const int groups = shared_groups(cells[i]);
        const int64_t n = groups * blocks();
        run_tiles(
            s0, int(i), directions[i], cells[i], groups, std::clamp<int64_t>(t0, 0, n), std::clamp<int64_t>(t1, 0, n));
        t0 -= n, t1 -= n;
      }
      barrier_.arrive(s1 - s0);
    }
  }
  int line(int step) const { return sense_ > 0 ? step : lines_ - 1 - step; }
  // Computes tiles t0 <= t < t1 of a line on the thread of share q. Tiles of the same block of hidden units follow each
  // other, so that the block's weights stay in the L1 cache.
  void run_tiles(int q, int direction, const Operands<T, Maps>& d, const Cells<T>& cells, int groups, int64_t t0,
      int64_t t1) const {
    for (int64_t t = t0; t < t1; ++t) {
      const int first = share(cells.count, t % groups, groups), last = share(cells.count, t % groups + 1, groups);
      tile_(cells, first, last - first, int(t / groups), s_.hidden, weights_[direction].packed(), d.maps,
          scratch_.get() + q * scratch_size_);
    }
  }
  int groups(const Cells<T>& cells) const { return (cells.count + max_cells_ - 1) / max_cells_; }
  // Several threads may compute one line together. Their work is divided into tiles, each of which is one group of the
  // line's cells for one block of hidden units. The function returns the number of groups, rounded up so that all
  // threads get equally many tiles.
  int shared_groups(const Cells<T>& cells) const {
    const int n = groups(cells);
    return !own_columns_ && blocks() % shares_ == 0 ? n : (n + shares_ - 1) / shares_ * shares_;
  }
  int64_t blocks() const { return weights_[0].blocks(); }

  const Shape& s_;
  const int sense_, max_cells_, cells_at_once_, lines_;
  const ScanTile<T, Maps> tile_;
  const int shares_;
  const Split split_;
  const bool own_images_, own_columns_;
  const OperandsOf operands_of_;
  std::vector<PackedWeights<T>> weights_;
  int64_t scratch_size_;
  Buffer<T> scratch_;  // [share][scratch_size_]
  Barrier barrier_;
};

}  // namespace pixelrnn::cpu
