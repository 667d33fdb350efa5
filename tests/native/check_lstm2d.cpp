// Checks of LSTM2d's scan on a CPU (csrc/cpu): every cell from every corner, images of unlike sizes. As check_scan,
// against the scalar implementation; and each image of a batch is, to the bit, what it is alone.
//
//   check_lstm2d [short] [best]    as check_scan
#include "../../csrc/cpu/sweep.h"
#include "scalar_scan.h"

namespace {

using namespace check;
using cpu::Extent;
using cpu::Family;
using pixelrnn::Corner;

// What is scanned.

struct Kind {
  const char* name;
  Family family;
  Cell cell;
  bool may_have_peepholes;
};
const Kind kKinds[] = {
    {"four gates", Family::kFour, {}, false},
    {"stable", Family::kFive, {Formula::kStable}, false},
    {"forget", Family::kFive, {Formula::kForget, 1}, true},
    {"half of forget", Family::kFive, {Formula::kForget, 0.5}, true},
    {"leaky", Family::kFive, {Formula::kLeaky}, false},
    {"max", Family::kFive, {Formula::kMax}, false},
};

struct Size {
  const char* name;
  int images, height, width, hidden;
  bool in_short_list;
};
const Size kSizes[] = {
    {"one pixel", 1, 1, 1, 1, true},
    {"one row", 2, 1, 6, 33, true},
    {"one column", 2, 6, 1, 16, false},
    {"tall", 1, 7, 3, 16, true},
    {"wide", 1, 3, 9, 7, false},
    {"square, many units", 1, 4, 4, 64, false},
    {"four images", 4, 2, 3, 33, true},
    {"images shared out", 7, 4, 5, 7, true},
};

// Where images do not fill their map: in part, whole or not at all, in no order; or all but one of a few are whole.
using Extents = Extent (*)(int image, int height, int width);
Extent unlike(int image, int height, int width) {
  const Extent kinds[] = {
      {(height + 1) / 2, width}, {height, (width + 1) / 2}, {0, width}, {height, width}, {1, 1}, {height, 0}};
  return kinds[image % 6];
}
Extent one_empty(int image, int height, int width) { return {image == 2 ? 0 : height, width}; }

constexpr Corner kTopLeft = {}, kTopRight = {false, true}, kBottomLeft = {true, false}, kBottomRight = {true, true};
struct Options {
  const char* name;
  std::vector<Corner> corners;
  Extents extents;  // null: all images fill the map
  int input_channels;
  Given given;
};
const Options kOptions[] = {
    {"top left, one empty", {kTopLeft}, one_empty, 3, {}},
    {"bottom right, unlike, peepholes", {kBottomRight}, unlike, 5, {false, true, false, false, true}},
    {"two corners, states", {kTopRight, kBottomLeft}, nullptr, 1, {false, true, true, true, false}},
    {"every corner, unlike, everything", {kTopLeft, kTopRight, kBottomLeft, kBottomRight}, unlike, 3,
        {false, true, true, true, true}},
};

Shape shape_of(const Kind& kind, const Size& size, const Options& options) {
  Shape s{int(options.corners.size()), size.images, size.height, size.width, size.hidden, true, {}, 2,
      options.input_channels, 1, 1, kind.family};
  std::copy(options.corners.begin(), options.corners.end(), s.corner);
  return s;
}

// What holds of images that do not fill their maps.

// Image b of a map.
template <class T> std::vector<T> image(const Shape& s, int b, const std::vector<T>& map, Layout layout) {
  std::vector<T> out;
  for (int64_t i = 0; i < layout.maps; ++i)
    for (int row = 0; row < s.extents[b].height; ++row) {
      const auto begin = map.begin() + (((i * s.images + b) * s.height + row) * s.width) * layout.values;
      out.insert(out.end(), begin, begin + int64_t(s.extents[b].width) * layout.values);
    }
  return out;
}
// What image b has of [directions][images][values].
template <class T> std::vector<T> share_of(const Shape& s, int b, const std::vector<T>& all, int values) {
  std::vector<T> out;
  for (int64_t i = 0; i < s.directions; ++i) {
    const auto begin = all.begin() + (i * s.images + b) * values;
    out.insert(out.end(), begin, begin + values);
  }
  return out;
}

// Everything but the sums over images.
template <class T>
void check_alone(const Shape& s, const Inputs<T>& in, const Outputs<T>& batch, int level, const std::string& where) {
  for (int b = 0; b < s.images; ++b) {
    const Extent e = s.extents[b];
    if (e.height == 0 || e.width == 0) continue;
    Shape one = s;
    one.images = 1, one.height = e.height, one.width = e.width, one.extents = nullptr;
    Inputs<T> of_one = in;
    of_one.input = image(s, b, in.input, of_input(s));
    of_one.dh = image(s, b, in.dh, of_h(s));
    Outputs<T> alone = unwritten(one, of_one);
    scan_forward(one, of_one, alone, {1, 1}, level);
    scan_all_gradients(one, of_one, alone, {1, 1}, level);
    Outputs<T> of_batch;
    of_batch.h = image(s, b, batch.h, of_h(s)), of_batch.c = image(s, b, batch.c, of_c(s));
    of_batch.gates = image(s, b, batch.gates, of_gates(s)), of_batch.dx = image(s, b, batch.dx, of_gates(s));
    of_batch.dinput = image(s, b, batch.dinput, of_input(s));
    of_batch.dh0 = share_of(s, b, batch.dh0, s.hidden), of_batch.dc0 = share_of(s, b, batch.dc0, s.hidden);
    of_batch.dpeepholes = share_of(s, b, batch.dpeepholes, in.peepholes.empty() ? 0 : 4 * s.hidden);
    check_same_bits(of_images(of_batch), of_images(alone), where + ", image " + std::to_string(b) + " alone");
  }
}

template <class T> void check_zeros_outside(const Shape& s, Outputs<T> out, const std::string& where) {
  const auto check_zero = [&](T value) {
    if (!(value == 0)) fail(where + ": h or dinput is not zero outside the images");
  };
  for_outside(s, out.h, of_h(s), check_zero);
  for_outside(s, out.dinput, of_input(s), check_zero);
  ++checks;
}

template <class T> double check_case(const Kind& kind, const Size& size, const Options& options) {
  Shape s = shape_of(kind, size, options);
  std::vector<Extent> extents;
  for (int b = 0; options.extents && b < s.images; ++b) extents.push_back(options.extents(b, s.height, s.width));
  s.extents = data(extents);
  Given given = options.given;
  given.peepholes = given.peepholes && kind.may_have_peepholes;
  Inputs<T> in = random_inputs<T>(s, given);
  in.cell = kind.cell;
  if (kind.cell.formula == Formula::kMax)
    for (T& c : in.c0) c *= 250;  // so that some are clipped
  const auto poison = [](T& value) { value = std::numeric_limits<T>::quiet_NaN(); };
  for_outside(s, in.input, of_input(s), poison);
  for_outside(s, in.dh, of_h(s), poison);
  const std::string name = std::string(kind.name) + ", " + size.name + ", " + options.name;
  return check_scan(
      s, in, scalar_scan(s, in), name, [&](const Outputs<T>& out, const Deal& d, int level, const std::string& where) {
        if (!s.extents) return;
        check_zeros_outside(s, out, where);
        if (d.shares == 1) check_alone(s, in, out, level, where);
      });
}

template <class T> void check_kinds() {
  for (const Kind& kind : kKinds) {
    double error = 0;
    const int64_t before = checks;
    for (const Size& size : kSizes) {
      if (short_list && !size.in_short_list) continue;
      for (const Options& options : kOptions) error = std::max(error, check_case<T>(kind, size, options));
    }
    printf("%s, %s: %lld checks, largest error %.1e\n", kTypeName<T>, kind.name, (long long)(checks - before), error);
  }
}

// Images of unlike sizes are dealt whole, in turn, to shares that have about as many pixels.
void check_deals() {
  for (int images : {1, 2, 5, 12})
    for (int times : {1, 4})
      for (int shares : {1, 2, 3, 8}) {
        std::vector<Extent> extents;
        int64_t all = 0, largest = 0;
        for (int b = 0; b < images; ++b) extents.push_back(2 * b < images ? Extent{9, 17} : Extent{1, 2});
        const auto pixels = [&](int64_t i) { return int64_t(extents[i % images].height) * extents[i % images].width; };
        for (int i = 0; i < times * images; ++i) all += pixels(i), largest = std::max(largest, pixels(i));
        Shape s{1, images, 9, 17, 1, true, {}, 2};
        s.extents = extents.data();
        const cpu::Deal deal(s, times, shares);
        if (deal.first(0) != 0 || deal.first(shares) != times * images) fail("not all images are dealt");
        for (int q = 0; q < shares; ++q) {
          int64_t own = 0;
          for (int64_t i = deal.first(q); i < deal.first(q + 1); ++i) own += pixels(i);
          if (own > all / shares + largest) fail("a share has more pixels than another could take");
        }
        ++checks;
      }
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_deals();
  check_kinds<float>();
  check_kinds<double>();
  return passed();
}
