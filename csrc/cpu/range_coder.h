// Integer probabilities from logits, and a range coder. Everything after one exponential is integer arithmetic.
// pixelrnn_ext/incremental/range_coder.py defines both.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

namespace pixelrnn::cpu {

// The probabilities of symbols, at least 1 each, in units of 2^-24.
class Distribution {
 public:
  static constexpr int kBits = 24, kMaxSymbols = 4096;  // small enough that cumulative() does not overflow 64 bits
  static constexpr uint64_t kTotal = uint64_t(1) << kBits;
  static constexpr double kMaxBelowTop = 18;  // e^-18 * 2^24 rounds to 0

  // A single logit belongs to symbol 1; symbol 0 then has the logit 0.
  template <class T> void set(const T* logits, int64_t n) {
    sums_.assign(1, 0);
    double top = n == 1 ? 0 : double(logits[0]);
    for (int64_t i = 0; i < n; ++i) top = logits[i] > top ? double(logits[i]) : top;
    if (n == 1) add(top);
    for (int64_t i = 0; i < n; ++i) add(top - double(logits[i]));
    total_ = sums_.back() ? sums_.back() : 1;  // the sum is 0 only for NaN or infinite logits
  }
  int64_t symbols() const { return int64_t(sums_.size()) - 1; }
  uint64_t cumulative(int64_t i) const { return sums_[i] * (kTotal - uint64_t(symbols())) / total_ + uint64_t(i); }
  // Returns the symbol with cumulative(symbol) <= value < cumulative(symbol + 1), or the last symbol.
  int64_t find(uint64_t value) const {
    int64_t low = 0, high = symbols();
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (cumulative(middle) <= value ? low : high) = middle;
    }
    return low;
  }

 private:
  void add(double below_top) {  // NaN adds a probability of 0
    sums_.push_back(
        sums_.back() + (below_top <= kMaxBelowTop ? uint64_t(std::exp(-below_top) * double(kTotal) + 0.5) : 0));
  }
  std::vector<uint64_t> sums_;
  uint64_t total_ = 1;
};

constexpr uint64_t kMinRange = uint64_t(1) << 48;  // a smaller range shifts out a byte

// A carry propagates into bytes already written. finish() writes the shortest number in the last interval, at least one
// byte. The decoder reads zeros behind the last byte.
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

// A stream that is being decoded. Its symbols belong to images first to last - 1.
struct Stream {
  int64_t first, last;
  uint64_t offset, range;
  int64_t position, end;  // index of the next byte, and end of the bytes; complete streams read at most 7 zeros beyond

  // Any bytes decode to some symbols. Only the caller can detect wrong bytes.
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
