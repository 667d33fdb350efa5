// Checks that coding gives the same bits with every compiler, libm, instruction set and number of threads, so that
// every machine decodes every file.
#include "columns.h"

#include <cfenv>

#include "../../csrc/cpu/grid.h"
#include "../../csrc/cpu/range_coder.h"

namespace {

using namespace check;

// Hashes that never change, because a coder with other results could not decode older files.
const std::map<std::string, uint64_t> kHashes = {
    {"colours", 0x064cfb4e5fb6b95a},
    {"colours, streams: 1", 0x3764334d7d0ff497},
    {"colours, streams: 2", 0x58af7dcc21beff50},
    {"colours, streams: 5", 0x85852913fd77d4da},
    {"large weights", 0x3c9f24e02ea6fdff},
    {"large weights, streams: 1", 0x54fe434a8c7d0ded},
    {"large weights, streams: 2", 0xf2d758f79462625f},
    {"large weights, streams: 5", 0x1d81fb768e8c2116},
    {"probabilities", 0xc4681d05d94e4864},
    {"several blocks", 0x276a670c036d91a1},
    {"several blocks, streams: 1", 0x52aba5f081a4d27f},
    {"several blocks, streams: 2", 0x1a4cd23270dbc26b},
    {"sigmoid", 0xe7b658665db90732},
    {"tanh", 0x3b9589142792408d},
    {"two levels", 0x14387edd96b997d2},
    {"two levels, streams: 1", 0x342c4e2141c53181},
    {"two levels, streams: 2", 0x1630754f05048033},
};

bool all_known = true;

void check_hash(const std::string& name, uint64_t hash) {
  const auto known = kHashes.find(name);
  if (known == kHashes.end() || known->second != hash) {
    printf("%s: the hash is {\"%s\", 0x%016llx}\n", where.c_str(), name.c_str(), (unsigned long long)hash);
    all_known = false;
  }
  ++checks;
}

// Checks two symbols with logits 0 and x, in both orders, for all x of the codec's grid from -20 to 0.
void check_probabilities() {
  std::vector<uint64_t> ends;
  cpu::Distribution distribution;
  for (int64_t k = 0; k <= 20 << 14; ++k)
    for (const bool swapped : {false, true}) {
      const double x = -std::ldexp(double(k), -14), logits[2] = {swapped ? x : 0, swapped ? 0 : x};
      distribution.set(logits, 2);
      ends.push_back(distribution.cumulative(1));
    }
  where = "any instruction set";
  check_hash("probabilities", hash_of(ends));
}

void check_activations(int level) {
  std::vector<double> x, y;
  for (int64_t k = -(20 << 14); k <= 20 << 14; ++k) x.push_back(std::ldexp(double(k), -14));
  y.resize(x.size());
  for (const bool is_tanh : {false, true}) {
    cpu::kernels<double>(level).activation(is_tanh, int64_t(x.size()), x.data(), y.data());
    for (double& value : y) value = (value + cpu::kGridMagic) - cpu::kGridMagic;
    where = cpu::instruction_set_name(level);
    check_hash(is_tanh ? "tanh" : "sigmoid", hash_of(y));
  }
}

struct Case {
  Size size;
  double weight_scale;  // factor of the weights and of c; if it is large, sums clamp and gates saturate
};
const Case kCases[] = {
    {{"two levels", 3, 40, 1, 1, 9, 7, true}, 1},
    {{"colours", 7, 5, 3, 256, 48, 27, true}, 1},
    {{"several blocks", 3, 3, 2, 17, 150, 40, true}, 8},
    {{"large weights", 5, 9, 3, 5, 33, 17, true}, 500},
};

void replace_draws(Network<double>& n, Row<int64_t>& intervals, StepKind kind) {
  for (auto& step : n.steps)
    if (step.kind == StepKind::kDraw) step.kind = kind, step.intervals = intervals.buffer();
}

uint64_t hash_buffers(const Network<double>& n) {
  uint64_t hash = kEmptyHash;
  for (const Row<double>* row : {&n.image, &n.wide, &n.c, &n.h, &n.state, &n.sum, &n.logits})
    hash = hash_of(row->values, hash);
  return hash;
}

std::vector<cpu::Stream> encode_streams(
    Network<double>& n, Row<int64_t>& intervals, int count, std::vector<uint8_t>& bytes) {
  std::vector<cpu::Stream> streams;
  for (int s = 0; s < count; ++s) {
    const int first = n.s.images * s / count, last = n.s.images * (s + 1) / count;
    cpu::Encoder encoder;
    for (int column = kMargin; column < kMargin + n.s.width; ++column)
      for (int k = 0; k < n.s.colours; ++k)
        for (int i = first; i < last; ++i) {
          if (n.known.values[(column * n.s.images + i) * n.s.colours + k]) continue;
          const uint64_t interval = intervals.at(column, i, k);
          encoder.encode(interval >> 32, interval & 0xffffffff);
        }
    encoder.finish();
    cpu::Stream stream{first, last, 0, ~uint64_t(0), int64_t(bytes.size()), 0};
    bytes.insert(bytes.end(), encoder.bytes.begin(), encoder.bytes.end());
    stream.end = int64_t(bytes.size());
    for (int i = 0; i < 8; ++i, ++stream.position)
      stream.offset = stream.offset << 8 | (stream.position < stream.end ? bytes[stream.position] : 0);
    streams.push_back(stream);
  }
  return streams;
}

int direction = FE_TONEAREST;
constexpr int kDirections[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};

// A floating-point environment that another library may leave: a rounding direction and, on x86-64, flush-to-zero. The
// destructor checks that the kernel restored it.
class Environment {
 public:
  Environment() {
    fegetenv(&before_);
    fesetround(direction);
#if defined(__x86_64__)
    if (direction != FE_TONEAREST) _mm_setcsr(_mm_getcsr() | kFlush);
#endif
  }
  ~Environment() {
    bool restored = fegetround() == direction;
#if defined(__x86_64__)
    restored = restored && (direction == FE_TONEAREST || (_mm_getcsr() & kFlush) == kFlush);
#endif
    fesetenv(&before_);
    if (!restored) fail("a thread's floating-point environment was not restored");
  }

 private:
  // FTZ and DAZ of the register MXCSR, which flush subnormal numbers to zero.
  static constexpr unsigned kFlush = 0x8040;
  fenv_t before_;
};

void (*inner_run)(int, void (*)(void*, int, int), void*);
cpu::Team altered_team(TeamSize d) {
  cpu::Team lent = team(d);
  inner_run = lent.run;
  lent.run = [](int shares, void (*body)(void*, int, int), void* context) {
    cpu::Team{0, inner_run}.parallel(shares, [&](int first, int last) {
      const Environment environment;
      body(context, first, last);
    });
  };
  return lent;
}

std::string place(int level, TeamSize d) {
  return describe(level, d) + ", rounding direction " + std::to_string(direction);
}

// Checks grid points, the ties between them, and the nearest numbers on both sides of each tie.
void check_rounding(int level, TeamSize d) {
  std::vector<double> x;
  for (int k = 0; k < 1 << 17; ++k)
    for (const double y : {k / 2., std::nextafter(k / 2., -1.), std::nextafter(k / 2., 1e9), k * 0x1p47})
      for (const double sign : {-1., 1.}) x.push_back(sign * std::ldexp(y, -14));
  std::vector<double> expected = x;
  for (double& y : expected) y = std::clamp(std::ldexp(std::nearbyint(std::ldexp(y, 14)), -14), -3., 3.) + 0.;
  where = place(level, d);
  cpu::round_to_grid(x.data(), int64_t(x.size()), 14, 3, altered_team(d), level);
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] != expected[i]) fail("round_to_grid returns " + std::to_string(x[i]));
  ++checks;
}

void check_case(const Case& c, int level, TeamSize d) {
  const Size& size = c.size;
  where = size.name + (", " + place(level, d));
  generator.seed(7);
  Network<double> sent(size, level, true, c.weight_scale);
  Row<int64_t> intervals(size, size.colours);
  for (size_t i = 0; i < sent.values.values.size(); ++i) sent.values.values[i] = int64_t(i * i + i / 3) % sent.levels();
  replace_draws(sent, intervals, StepKind::kEncode);
  cpu::run_columns<double>(
      sent.steps, {kMargin, size.width, size.images, 1, true, nullptr, 0, nullptr}, altered_team(d), level);
  check_hash(size.name, hash_of(intervals.values, hash_buffers(sent)));

  for (int count : {1, 2, 5}) {
    if (count > size.images) continue;
    std::vector<uint8_t> bytes;
    std::vector<cpu::Stream> streams = encode_streams(sent, intervals, count, bytes);
    check_hash(size.name + (", streams: " + std::to_string(count)), hash_of(bytes));
    generator.seed(7);
    Network<double> got(size, level, true, c.weight_scale);
    for (size_t i = 0; i < got.values.values.size(); ++i) {
      const bool is_known = got.known.values[i] || i < size_t(kMargin * size.images * size.colours);
      got.values.values[i] = is_known ? sent.values.values[i] : 0;
    }
    replace_draws(got, intervals, StepKind::kDecode);
    cpu::run_columns<double>(got.steps,
        {kMargin, size.width, size.images, 1, true, streams.data(), int64_t(streams.size()), bytes.data()},
        altered_team(d), level);
    if (got.values.values != sent.values.values || hash_buffers(got) != hash_buffers(sent))
      fail("the decoded values differ from the encoded ones");
    for (const cpu::Stream& s : streams)
      if (s.position < s.end || s.position > s.end + 7) fail("a stream does not end with its images");
    ++checks;
  }
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_probabilities();
  for (int level : levels()) {
    check_activations(level);
    for (const Case& c : kCases)
      for (TeamSize d : {TeamSize{1, 1}, TeamSize{2, 2}, TeamSize{4, 4}, TeamSize{3, 0}}) check_case(c, level, d);
    for (const int other : kDirections) {
      direction = other;
      check_rounding(level, {4, 4});
      if (other != FE_TONEAREST)
        for (const Case& c : kCases) check_case(c, level, {2, 2});
    }
    direction = FE_TONEAREST;
  }
  where = "all hashes";
  if (!all_known) fail("expected those in kHashes, so that earlier files decode");
  return report();
}
