// Checks of what the operator run_columns trusts (csrc/cpu/column_program.h): programs, streams and values that are
// damaged at random are refused, or read and write nothing but their own buffers, which the address sanitizer sees.
//
//   check_program [short] [best]    short: fewer of them; best: the best instruction set only
#include "columns.h"

#include <stdexcept>

#include "../../csrc/cpu/column_program.h"

namespace {

using namespace check;
using cpu::View;

int64_t below(int64_t n) { return int64_t(generator()() % uint64_t(n)); }
bool one_in(int64_t n) { return below(n) == 0; }
template <class C> auto& any_of(C& all) { return all[below(int64_t(all.size()))]; }

// What damage likes: ends of ranges, of buffers and of integers.
int64_t awkward() {
  static const std::vector<int64_t> numbers = {-1, 0, 1, 2, 3, 5, 6, 16, 64, 65, 255, 256, 4096, 4097, int64_t(1) << 31,
      int64_t(1) << 48, int64_t(1) << 62, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()};
  return one_in(4) ? below(12) - 2 : any_of(numbers);
}

// A tensor with memory of its own, of exactly its size.
template <class U> struct Owned {
  std::vector<U> values;
  View view;
};
struct Tensors {
  int64_t columns = 4, images = one_in(8) ? 0 : 3;
  std::vector<Owned<double>> doubles;
  std::vector<Owned<int64_t>> integers;
  std::vector<Owned<uint8_t>> flags;
  std::vector<View> views;

  Tensors() { doubles.reserve(40), integers.reserve(40), flags.reserve(40); }
  template <class U> int64_t add(std::vector<Owned<U>>& all, View::Type type, std::vector<int64_t> sizes) {
    int64_t n = 1;
    for (int64_t size : sizes) n *= size;
    all.push_back({std::vector<U>(n), {}});
    all.back().view = {type, data(all.back().values), sizes, true};
    views.push_back(all.back().view);
    return int64_t(views.size()) - 1;
  }
  int64_t buffer(int64_t channels) {
    const int64_t index = add(doubles, View::kDouble, {columns, images, channels});
    for (double& x : doubles.back().values) x = (below(2001) - 1000) / 256.;
    return index;
  }
  int64_t vector(int64_t n) { return add(doubles, View::kDouble, {n}); }
  int64_t integer_buffer(int64_t channels, int64_t levels) {
    const int64_t index = add(integers, View::kInt64, {columns, images, channels});
    for (int64_t& x : integers.back().values) x = below(levels);
    return index;
  }
  int64_t flag_buffer(int64_t channels) {
    const int64_t index = add(flags, View::kBool, {columns, images, channels});
    for (uint8_t& x : flags.back().values) x = one_in(3);
    return index;
  }
};

// A program that is whole, with all kinds of steps.
struct Example {
  Tensors t;
  std::vector<int64_t> code;
  int64_t margin = 1;
  std::vector<cpu::Stream> streams;
  std::vector<uint8_t> bytes;

  explicit Example(cpu::ColumnBlocks blocks) {
    const int64_t colours = 1 + below(2), levels = 2 + below(6), wide = below(71), hidden = below(21);
    const int64_t image = t.buffer(colours), base = t.buffer(wide), out = t.buffer(wide), gates = t.buffer(4 * hidden),
                  c = t.buffer(hidden), h = t.buffer(hidden), sum = t.buffer(hidden),
                  logits = t.buffer(colours * (levels == 2 ? 1 : levels)), values = t.integer_buffer(colours, levels),
                  intervals = t.integer_buffer(colours, levels), known = t.flag_buffer(colours),
                  uniform = t.buffer(colours), scaled = t.vector(levels);
    const auto packed = [&](int64_t outputs, int64_t gates, int64_t block, int64_t channels) {
      return t.vector((outputs + block - 1) / block * block * gates * channels);
    };
    for (int64_t k = 0; k < colours; ++k) {
      emit(StepKind::kLinear, {base, out, 0, wide, below(2), packed(wide, 1, blocks.outputs, 2 * colours),
                                  blocks.outputs, 2, image, -1, colours, image, 0, colours});
      emit(StepKind::kCell, {gates, c, -1, c, h, h, sum, 0, hidden, packed(hidden, 4, blocks.units, wide + hidden),
                                blocks.units, 2, out, 0, wide, h, -1, hidden});
      emit(StepKind::kPointwise, {out, one_in(2) ? -1 : base, out, 0, wide, below(2)});
      switch (below(3)) {
        case 0: emit(StepKind::kDraw, {logits, uniform, known, values, scaled, image, k}); break;
        case 1: emit(StepKind::kEncode, {logits, values, intervals, scaled, image, k}); break;
        case 2: emit(StepKind::kDecode, {logits, known, values, scaled, image, k}); break;
      }
    }
    bytes.resize(below(40));
    for (uint8_t& byte : bytes) byte = uint8_t(below(256));
    for (int64_t s = 0, count = 1 + below(3), n = int64_t(bytes.size()); s < count; ++s)
      streams.push_back({t.images * s / count, t.images * (s + 1) / count, generator()(), ~uint64_t(0), n * s / count,
          n * (s + 1) / count});
  }
  void emit(StepKind kind, std::initializer_list<int64_t> operands) {
    code.push_back(int64_t(kind));
    code.insert(code.end(), operands);
  }

  void damage() {
    switch (below(11)) {
      case 0:
      case 1: any_of(code) = awkward(); break;
      case 2: std::replace(code.begin(), code.end(), below(t.views.size()), below(t.views.size())); break;
      case 3: any_of(code) = any_of(code); break;  // another buffer, another step
      case 4: code.erase(code.begin() + below(code.size())); break;
      case 5: code.insert(code.begin() + below(code.size()), awkward()); break;
      case 6: margin = awkward(); break;
      case 7: {
        if (one_in(8)) streams.clear();
        if (streams.empty()) break;
        cpu::Stream& s = any_of(streams);
        int64_t* const numbers[] = {&s.first, &s.last, &s.at, &s.end};
        if (one_in(3)) (one_in(2) ? s.offset : s.range) = uint64_t(awkward());
        else *numbers[below(4)] = awkward();
        break;
      }
      case 8: {  // all of it twice, since steps read what others have written
        const std::vector<int64_t> once = code;
        code.insert(code.end(), once.begin(), once.end());
        break;
      }
      case 9:
      case 10: {
        std::vector<int64_t>& values = any_of(t.integers).values;
        std::vector<double>& numbers = any_of(t.doubles).values;
        if (one_in(2) && !values.empty()) any_of(values) = awkward();
        if (one_in(2) && !numbers.empty())
          any_of(numbers) = one_in(2) ? std::nan("") : std::ldexp(double(awkward()), int(below(960)));
        break;
      }
    }
  }
};

void check_programs(int64_t count) {
  int64_t accepted = 0, refused = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int level = first_level() + int(below(cpu::best_instruction_set() + 1 - first_level()));
    const cpu::ColumnBlocks blocks = cpu::column_blocks<double>(level);
    Example e(blocks);
    for (int64_t n = below(4); n > 0 && !e.code.empty(); --n) e.damage();
    const bool with_streams = !one_in(10);
    try {
      const cpu::ColumnProgram<double> program(e.t.views, e.code, e.margin, blocks);
      cpu::run_columns<double>(program.steps,
          program.run(below(2), below(2), with_streams ? &e.streams : nullptr, data(e.bytes), int64_t(e.bytes.size())),
          team(one_in(8) ? Deal{2, 2} : Deal{1, 1}), level);
      ++accepted;
    } catch (const std::runtime_error& error) {
      if (strncmp(error.what(), "run_columns: ", 13) != 0) fail(std::string("an error says: ") + error.what());
      ++refused;
    }
  }
  printf("%lld programs were run, %lld refused\n", (long long)accepted, (long long)refused);
  if (accepted < count / 5 || refused < count / 5) fail("the damage is not what it should be");
  checks += count;
}

// The other sizes of a tensor of no values may be immense.
void check_empty_tensor() {
  const int64_t immense = int64_t(1) << 40;
  if (View{View::kDouble, nullptr, {immense, immense, 0}, true}.numel() != 0) fail("an empty tensor has values");
  ++checks;
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_empty_tensor();
  check_programs(short_list ? 5'000 : 150'000);
  return passed();
}
