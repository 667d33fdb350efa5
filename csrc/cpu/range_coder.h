// Integer probabilities and a range coder, as pixelrnn_ext/incremental/range_coder.py defines them. The exponentials of
// the logits are rounded to integers, and all later arithmetic is on integers.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

namespace pixelrnn::cpu {

// Probabilities of symbols in units of 2^-24, each at least 1 unit.
class Distribution {
 public:
  // The total of all probabilities is 2^kBits. With kMaxSymbols symbols, cumulative() does not overflow 64 bits.
  static constexpr int kBits = 24, kMaxSymbols = 4096;
  static constexpr uint64_t kTotal = uint64_t(1) << kBits;
  // A symbol whose logit is more than 18 below the largest has the minimum probability of 1 unit, because e^-18 * 2^24
  // rounds to 0.
  static constexpr double kMaxBelowTop = 18;

  // Computes the probabilities of n symbols from their logits. If n is 1, there are two symbols, and symbol 0 has the
  // logit 0.
  template <class T> void set(const T* logits, int64_t n) {
    sums_.assign(1, 0);
    double top = n == 1 ? 0 : double(logits[0]);
    for (int64_t i = 0; i < n; ++i) top = logits[i] > top ? double(logits[i]) : top;
    if (n == 1) add(top);
    for (int64_t i = 0; i < n; ++i) add(top - double(logits[i]));
    total_ = sums_.back() ? sums_.back() : 1;  // the sum is 0 only if logits are NaN or infinite
  }
  int64_t symbols() const { return int64_t(sums_.size()) - 1; }
  uint64_t cumulative(int64_t i) const { return sums_[i] * (kTotal - uint64_t(symbols())) / total_ + uint64_t(i); }
  // Returns the symbol for which cumulative(symbol) <= value < cumulative(symbol + 1), or the last symbol if `value` is
  // too large.
  int64_t find(uint64_t value) const {
    int64_t low = 0, high = symbols();
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (cumulative(middle) <= value ? low : high) = middle;
    }
    return low;
  }

 private:
  // `below_top` is the largest logit minus the symbol's logit. NaN gives the minimum probability of 1 unit.
  void add(double below_top) {
    sums_.push_back(
        sums_.back() + (below_top <= kMaxBelowTop ? uint64_t(std::exp(-below_top) * double(kTotal) + 0.5) : 0));
  }
  std::vector<uint64_t> sums_;
  uint64_t total_ = 1;
};

// After each symbol, the coder writes or reads bytes until its range is at least kMinRange.
constexpr uint64_t kMinRange = uint64_t(1) << 48;

// A carry can change bytes that are already written. At the end, finish() chooses, among all numbers in the coder's
// final interval, the number that needs the fewest bytes. finish() writes at least one byte. The decoder reads zeros
// behind the last byte.
class Encoder {
 public:
  std::vector<uint8_t> bytes;

  void encode(uint64_t start, uint64_t stop) {
    const uint64_t unit = range_ >> Distribution::kBits;
    add(unit * start);
    range_ = unit * (stop - start);
    for (; range_ < kMinRange; range_ <<= 8) bytes.push_back(uint8_t(low_ >> 56)), low_ <<= 8;
  }
  void finish() {
    for (int bits = 8; bits <= 64; bits += 8) {
      const uint64_t rest = bits == 64 ? 0 : ~uint64_t(0) >> bits, up = ((low_ + rest) & ~rest) - low_;
      if (up >= range_) continue;
      add(up);
      for (int i = 0; i < bits; i += 8) bytes.push_back(uint8_t(low_ >> (56 - i)));
      return;
    }
  }

 private:
  void add(uint64_t amount) {
    low_ += amount;
    if (low_ < amount)
      for (size_t i = bytes.size(); i-- > 0 && ++bytes[i] == 0;) {}
  }
  uint64_t low_ = 0, range_ = ~uint64_t(0);
};

// A stream in decoding. Its symbols are the pixel values of images first to last - 1.
struct Stream {
  int64_t first, last;
  uint64_t offset, range;
  // `position` is the next byte. From `end` on, the decoder reads zeros. A complete stream needs at most 7 of them.
  int64_t position, end;

  // Wrong bytes stay undetected, because any bytes decode to some symbols.
  int64_t decode(const uint8_t* bytes, const Distribution& d) {
    const uint64_t unit = range >> Distribution::kBits, value = offset / unit;
    const int64_t symbol = d.find(value < Distribution::kTotal ? value : Distribution::kTotal - 1);
    const uint64_t start = d.cumulative(symbol), stop = d.cumulative(symbol + 1);
    offset -= unit * start;
    range = unit * (stop - start);
    for (; range < kMinRange; range <<= 8) {
      offset = offset << 8 | (position < end ? bytes[position] : 0);
      ++position;
    }
    return symbol;
  }
};

}  // namespace pixelrnn::cpu
