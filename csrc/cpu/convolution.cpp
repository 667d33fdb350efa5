#include "convolution.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "convolve_rows.h"
#include "pages.h"

namespace pixelrnn::cpu {
namespace {

// A thread convolves a band of image rows at a time. The band fits into the L2 cache together with the weights.
constexpr int64_t kBandBytes = 128 << 10;

// Returns the colour of each channel, as pixelrnn_ext/masks.py does.
std::vector<int> colour_groups(int channels, int colours) {
  const int size = channels / colours, larger = channels % colours;
  std::vector<int> group(channels);
  for (int i = 0; i < channels; ++i) group[i] = i < larger * (size + 1) ? i / (size + 1) : (i - larger) / size;
  return group;
}

class LiveWeights {
 public:
  explicit LiveWeights(const Convolution& s)
      : strict_(s.strict),
        centre_(s.kernel_height * s.kernel_width / 2),
        units_(s.out_channels / s.gates),
        out_(colour_groups(units_, s.colours)),
        in_(colour_groups(s.in_channels, s.colours)) {}
  bool operator()(int out, int in, int tap) const {
    return tap < centre_ || (tap == centre_ && in_[in] < out_[out % units_] + !strict_);
  }

 private:
  bool strict_;
  int centre_, units_;
  std::vector<int> out_, in_;
};

// Pixels side by side in one row of an image, which a convolution reads together for an output pixel. A band is some
// rows of an image, padded with zeros. For output pixel (r, c) of a band, the leftmost of the `pixels` pixels is pixel
// (r + `row`, c + `column`) of the padded band.
struct Piece { int row, column, pixels; };

// A band is some rows of an image, channels-last and padded with zeros, so that each row of the kernel reads contiguous
// memory.
template <class T> class Band {
 public:
  Band(const Convolution& s, const ConvolutionKernels<T>& k, int channels, int rows)
      : k_(k),
        channels_(channels),
        height_(s.height),
        width_(s.width),
        padding_(s.kernel_width / 2),
        planar_(!s.channels_last && channels > 1),
        buffer_(buffer<T>(int64_t(rows) * stride() * channels)) {
    std::fill_n(buffer_.get(), int64_t(rows) * stride() * channels, T(0));
  }
  int channels() const { return channels_; }
  int stride() const { return width_ + 2 * padding_; }
  int padding() const { return padding_; }
  const T* at(int row, int column) const { return map_ + (int64_t(row) * stride() + column) * channels_; }

  // Loads rows r0 <= r < r1 of an image, or only points to them if they need no copy. Rows outside the image become
  // zero. If y, the output of a ReLU, is not null, values become zero where y <= 0.
  void load(const T* map, const T* y, int image, int r0, int r1) {
    const int64_t size = int64_t(height_) * width_ * channels_;
    if (!padding_ && !planar_ && !y && r0 >= 0 && r1 <= height_) {
      map_ = map + image * size + int64_t(r0) * width_ * channels_;
      return;
    }
    map_ = buffer_.get();
    for (int r = r0; r < r1; ++r) {
      T* to = buffer_.get() + (int64_t(r - r0) * stride() + padding_) * channels_;
      const int64_t from = image * size + int64_t(r) * width_ * (planar_ ? 1 : channels_);
      const T* y_row = y ? y + from : nullptr;
      if (r < 0 || r >= height_) std::fill_n(to, int64_t(width_) * channels_, T(0));
      else if (planar_) k_.transpose(channels_, width_, map + from, y_row, size / channels_, to, channels_);
      else k_.copy(int64_t(width_) * channels_, map + from, y_row, to);
    }
  }

 private:
  const ConvolutionKernels<T>& k_;
  const int channels_, height_, width_, padding_;
  const bool planar_;
  const Buffer<T> buffer_;
  const T* map_ = nullptr;
};

// Collects pointers to the input values from which the convolution computes each output pixel of a band (some rows of
// an image). A bias is the weight of a constant 1, so the class also collects pointers to a constant 1.
template <class T> class BandCells {
 public:
  BandCells(const Band<T>& band, const std::vector<Piece>& pieces, int width, bool bias)
      : band_(band), pieces_(pieces), width_(width), has_bias_(bias) {
    for (const Piece& piece : pieces) channels_.push_back(piece.pixels * band.channels());
    if (bias) channels_.push_back(1);
  }
  const std::vector<int>& channels() const { return channels_; }
  // Returns the pointers for output pixels first to first + count - 1. index(row) must return the index of the row's
  // first pixel in the output, or in dy for a weight gradient.
  template <class F> Cells<T> at(int first, int count, const F& index) {
    cell_.resize(count), tap_.resize(channels_.size() * count);
    for (int i = 0; i < count;) {
      const int row = (first + i) / width_, column = (first + i) % width_, n = std::min(count - i, width_ - column);
      for (int j = 0; j < n; ++j) cell_[i + j] = index(row) + column + j;
      for (size_t k = 0; k < channels_.size(); ++k) {
        const bool is_piece = k < pieces_.size();
        const T* from = is_piece ? band_.at(row + pieces_[k].row, column + pieces_[k].column) : &Format<T>::one;
        const int64_t step = is_piece ? band_.channels() : 0;
        for (int j = 0; j < n; ++j) tap_[k * count + i + j] = from + j * step;
      }
      i += n;
    }
    return {count, int(channels_.size()), channels_.data(), tap_.data(), nullptr, nullptr, cell_.data(), nullptr, 0,
        has_bias_};
  }

 private:
  const Band<T>& band_;
  const std::vector<Piece> pieces_;
  const int width_;
  const bool has_bias_;
  std::vector<int> channels_;
  std::vector<const T*> tap_;
  std::vector<int64_t> cell_;
};

// Returns the pixels that a convolution reads above and to the left of an output pixel. The input gradient reads below
// and to the right (pieces_behind()).
std::vector<Piece> pieces_before(const Convolution& s) {
  std::vector<Piece> pieces;
  for (int i = 0; i < s.kernel_height / 2; ++i) pieces.push_back({i, 0, s.kernel_width});
  if (s.half_row()) pieces.push_back({s.kernel_height / 2, 0, s.half_row()});
  return pieces;
}
std::vector<Piece> pieces_behind(const Convolution& s) {
  std::vector<Piece> pieces;
  if (s.half_row()) pieces.push_back({0, s.kernel_width - s.half_row(), s.half_row()});
  for (int i = 1; i <= s.kernel_height / 2; ++i) pieces.push_back({i, 0, s.kernel_width});
  return pieces;
}

// The channels of packed weights. `first` has the first channel of each tap. The pixels of a piece follow each other
// without padding.
template <class T> struct PackedChannels {
  std::vector<int64_t> first;
  int64_t depth = 0;

  // A block of the packed weights has a multiple of depth_step channels.
  PackedChannels(const std::vector<Piece>& pieces, int channels, bool bias, int depth_step) {
    for (const Piece& piece : pieces) {
      for (int i = 0; i < piece.pixels; ++i) first.push_back(depth + i * int64_t(channels));
      depth += padded_channels<T>(piece.pixels * int64_t(channels));
    }
    if (bias) first.push_back(depth), depth += padded_channels<T>(1);
    depth = padded(depth, depth_step);
  }
};

// Packs the masked weight in blocks of output channels: [tap][input channel][output channel], then the biases. A tap is
// a kernel position. packed_index() gives the order of input and output channels. The transposed convolution exchanges
// input and output channels, and reverses the taps.
template <class T>
Buffer<T> pack(const Convolution& s, const ConvolutionKernels<T>& k, const T* weight, const T* bias, bool transposed,
    const Team& team) {
  const int sources = transposed ? s.out_channels : s.in_channels;
  const int results = transposed ? s.in_channels : s.out_channels;
  const int taps = s.live_taps(), all_taps = s.kernel_height * s.kernel_width;
  const auto pieces = transposed ? pieces_behind(s) : pieces_before(s);
  const PackedChannels<T> channels(pieces, sources, bias, k.depth_step);
  const int64_t depth = channels.depth;
  const LiveWeights is_live(s);
  std::vector<int> first{0};
  while (first.back() < results) first.push_back(first.back() + k.block_outputs(results, first.back()));
  auto packed = buffer<T>(depth * first.back());
  const int blocks = first.size() - 1, shares = std::min(team.threads, blocks);
  team.parallel(shares, [&](int s0, int s1) {
    for (int b = share(blocks, s0, shares); b < share(blocks, s1, shares); ++b) {
      const int units = first[b + 1] - first[b];
      T* block = packed.get() + first[b] * depth;
      if constexpr (kDepth<T> > 1) std::fill(block, block + units * depth, T(0));
      for (int u = 0; u < units; ++u) {
        const int result = first[b] + u;
        const auto to = [&](int tap, int64_t source) -> T& {
          return block[packed_index<T>(channels.first[tap] + source, u, units)];
        };
        for (int source = 0; source < sources; ++source) {
          const int out = transposed ? source : result, in = transposed ? result : source;
          const T* from = weight + (int64_t(out) * s.in_channels + in) * all_taps;
          for (int t = 0; t < taps; ++t) {
            const int tap = transposed ? taps - 1 - t : t;
            to(t, source) = result < results && is_live(out, in, tap) ? from[tap] : T(0);
          }
        }
        if (bias) to(taps, 0) = result < results ? bias[result] : T(0);
      }
    }
  });
  return packed;
}

// Calls f(share, image, r0, r1) for each band in shares s0 <= s < s1. A share is one thread's part of all image rows. A
// band is at most band_rows rows of one image.
template <class F> void for_bands(const Convolution& s, int shares, int s0, int s1, int band_rows, const F& f) {
  const int64_t all = int64_t(s.images) * s.height;
  for (int q = s0; q < s1; ++q)
    for (int64_t row = share(all, q, shares), end = share(all, q + 1, shares); row < end;) {
      const int r0 = row % s.height, rows = std::min<int64_t>({band_rows, s.height - r0, end - row});
      f(q, int(row / s.height), r0, r0 + rows);
      row += rows;
    }
}

template <class T> class Product {
 public:
  Product(const Convolution& s, const ConvolutionKernels<T>& k, const Band<T>& band, const std::vector<Piece>& pieces,
      int results, const T* packed, bool bias, int band_rows)
      : s_(s),
        k_(k),
        results_(results),
        depth_(PackedChannels<T>(pieces, band.channels(), bias, k.depth_step).depth),
        packed_(packed),
        cells_(band, pieces, s.width, bias),
        scratch_(buffer<T>(k.scratch_size(int(cells_.channels().size()), cells_.channels().data()))),
        direct_(s.channels_last || results == 1) {
    if (!direct_) map_ = buffer<T>(int64_t(band_rows) * s.width * results);
  }
  void write(T* to, bool relu, int image, int r0, int r1) {
    const int cells = (r1 - r0) * s_.width;
    to += image * s_.pixels() * results_ + int64_t(r0) * s_.width * (direct_ ? results_ : 1);
    T* y = direct_ ? to : map_.get();
    for (int c0 = 0; c0 < cells; c0 += kRunCells) tiles(c0, std::min(kRunCells, cells - c0), relu, y);
    if (!direct_) k_.transpose(cells, results_, y, nullptr, results_, to, s_.pixels());
  }

 private:
  void tiles(int c0, int n, bool relu, T* y) {
    const auto cells = cells_.at(c0, n, [&](int row) { return row * s_.width; });
    convolve_rows(k_, cells, results_, packed_, depth_, relu, y, scratch_.get());
  }

  const Convolution& s_;
  const ConvolutionKernels<T>& k_;
  const int results_;
  const int64_t depth_;
  const T* packed_;
  BandCells<T> cells_;
  const Buffer<T> scratch_;
  const bool direct_;
  Buffer<T> map_;
};

template <class T> int band_rows(const Convolution& s) {
  const int64_t row = int64_t(s.width + s.kernel_width - 1) * std::max(s.in_channels, s.out_channels) * sizeof(T);
  return std::clamp<int64_t>(kBandBytes / row, 1, s.height);
}
int shares_of(const Convolution& s, const Team& team) {
  return std::clamp<int64_t>(int64_t(s.images) * s.height, 1, team.threads);
}

}  // namespace

template <class T>
void convolve(const Convolution& s, const ConvolutionForward<T>& a, const Team& team, int instruction_set) {
  const auto& k = kernels<T>(instruction_set).convolution;
  const auto packed = pack(s, k, a.weight, a.bias, false, team);
  const int shares = shares_of(s, team), rows = band_rows<T>(s), halo = s.kernel_height / 2;
  team.parallel(shares, [&](int s0, int s1) {
    Band<T> band(s, k, s.in_channels, rows + halo);
    Product<T> product(s, k, band, pieces_before(s), s.out_channels, packed.get(), a.bias, rows);
    for_bands(s, shares, s0, s1, rows, [&](int, int image, int r0, int r1) {
      band.load(a.input, nullptr, image, r0 - halo, r1);
      product.write(a.output, s.relu, image, r0, r1);
    });
  });
}

// Each share (one thread's part of the rows) has its own sum of the weight gradient. Adding these sums in a fixed order
// makes the result reproducible.
template <class T>
void convolve_backward(const Convolution& s, const ConvolutionBackward<T>& a, const Team& team, int instruction_set) {
  const auto& k = kernels<T>(instruction_set).convolution;
  const auto& gradient = kernels<T>(instruction_set).weight_gradient;
  Buffer<T> packed;
  if (a.dinput) packed = pack<T>(s, k, a.weight, nullptr, true, team);
  const int taps = a.dweight ? s.live_taps() : 0;
  const int64_t columns = gradient.columns(s.out_channels);
  const int64_t size = (int64_t(taps) * s.in_channels + (a.dbias != nullptr)) * columns;
  const int shares = shares_of(s, team), rows = band_rows<T>(s), halo = s.kernel_height / 2;
  const auto sums = buffer<Sum<T>>(size * shares);
  team.parallel(shares, [&](int s0, int s1) {
    memset(sums.get() + size * s0, 0, sizeof(Sum<T>) * size * (s1 - s0));
    Band<T> dy(s, k, s.out_channels, rows + halo), input(s, k, s.in_channels, taps ? rows + halo : 0);
    Product<T> product(s, k, dy, pieces_behind(s), s.in_channels, packed.get(), false, rows);
    BandCells<T> cells(input, taps ? pieces_before(s) : std::vector<Piece>(), s.width, a.dbias);
    const auto scratch = buffer<T>(gradient.scratch_size(int(cells.channels().size()), cells.channels().data()));
    for_bands(s, shares, s0, s1, rows, [&](int q, int image, int r0, int r1) {
      dy.load(a.dy, s.relu ? a.y : nullptr, image, r0, r1 + halo);
      if (a.dinput) product.write(a.dinput, false, image, r0, r1);
      if (taps) input.load(a.input, nullptr, image, r0 - halo, r1);
      const auto index = [&](int row) { return int64_t(row) * dy.stride() + dy.padding(); };
      for (int c0 = 0, all = (r1 - r0) * s.width; size && c0 < all; c0 += kRunCells) {
        const auto run = cells.at(c0, std::min(kRunCells, all - c0), index);
        gradient.accumulate(run, s.out_channels, 0, columns, dy.at(0, 0), sums.get() + size * q, scratch.get());
      }
    });
  });

  const LiveWeights is_live(s);
  const int all_taps = s.kernel_height * s.kernel_width, parts = std::min(team.threads, s.out_channels);
  const auto sum = [&](int64_t row, int out) {
    Sum<T> total = 0;
    for (int q = 0; q < shares; ++q) total += sums[size * q + row * columns + out];
    return T(total);
  };
  team.parallel(parts, [&](int p0, int p1) {
    for (int o = share(s.out_channels, p0, parts); o < share(s.out_channels, p1, parts); ++o) {
      T* to = a.dweight + (a.dweight ? int64_t(o) * s.in_channels * all_taps : 0);
      for (int c = 0; a.dweight && c < s.in_channels; ++c)
        for (int t = 0; t < all_taps; ++t) *to++ = is_live(o, c, t) ? sum(int64_t(t) * s.in_channels + c, o) : T(0);
      if (a.dbias) a.dbias[o] = sum(int64_t(taps) * s.in_channels, o);
    }
  });
}

#define INSTANTIATE(T)                                                                           \
  template void convolve<T>(const Convolution&, const ConvolutionForward<T>&, const Team&, int); \
  template void convolve_backward<T>(const Convolution&, const ConvolutionBackward<T>&, const Team&, int);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(Bf16)
#undef INSTANTIATE

}  // namespace pixelrnn::cpu
