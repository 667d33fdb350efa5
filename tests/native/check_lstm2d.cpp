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
    {"tall", 1, 7, 3, 7, true},
    {"wide", 1, 3, 9, 16, false},
    {"square, many units", 1, 4, 4, 64, false},
    {"few images together", 3, 2, 3, 16, true},
    {"images shared out", 7, 4, 5, 7, true},
};

constexpr Corner kTopLeft = {}, kTopRight = {false, true}, kBottomLeft = {true, false}, kBottomRight = {true, true};
struct Options {
  const char* name;
  std::vector<Corner> corners;
  bool ragged;
  int input_channels;
  Given given;
};
const Options kOptions[] = {
    {"top left", {kTopLeft}, false, 3, {}},
    {"bottom right, ragged, peepholes", {kBottomRight}, true, 5, {false, true, false, false, true}},
    {"two corners, states", {kTopRight, kBottomLeft}, false, 1, {false, true, true, true, false}},
    {"every corner, ragged, everything", {kTopLeft, kTopRight, kBottomLeft, kBottomRight}, true, 3,
        {false, true, true, true, true}},
};

// Of images that fill a map in part, whole or not at all, in no order.
std::vector<Extent> ragged(int images, int height, int width) {
  const Extent kinds[] = {
      {(height + 1) / 2, width}, {height, (width + 1) / 2}, {0, width}, {height, width}, {1, 1}, {height, 0}};
  std::vector<Extent> extents;
  for (int b = 0; b < images; ++b) extents.push_back(kinds[b % 6]);
  return extents;
}

Shape shape_of(const Kind& kind, const Size& size, const Options& options) {
  Shape s{int(options.corners.size()), size.images, size.height, size.width, size.hidden, true, {}, 2,
      options.input_channels, 1, 1, kind.family};
  std::copy(options.corners.begin(), options.corners.end(), s.corner);
  return s;
}

// Maps.

// f(name, map, number of maps, values of a pixel) of whatever has pixels, [maps][images][height][width][values].
template <class T, class F> void for_maps(const Shape& s, Outputs<T>& a, const F& f) {
  const bool joined = s.family == Family::kFive;  // all directions have one map of h
  f("h", a.h, joined ? 1 : s.directions, joined ? s.directions * s.hidden : s.hidden);
  f("c", a.c, s.directions, s.hidden);
  f("gates", a.gates, s.directions, s.columns());
  f("dx", a.dx, s.directions, s.columns());
  f("dinput", a.dinput, 1, s.input_channels);
}
template <class T, class F> void for_maps(const Shape& s, Inputs<T>& a, const F& f) {
  const bool joined = s.family == Family::kFive;
  f("input", a.input, 1, s.input_channels);
  f("dh", a.dh, joined ? 1 : s.directions, joined ? s.directions * s.hidden : s.hidden);
}

// f(value) of every value outside the images.
template <class T, class F> void for_outside(const Shape& s, std::vector<T>& map, int maps, int values, const F& f) {
  T* value = map.data();
  for (int i = 0; i < maps; ++i)
    for (int b = 0; b < s.images; ++b)
      for (int row = 0; row < s.height; ++row)
        for (int column = 0; column < s.width; ++column) {
          const Extent e = s.extents[b];
          const bool inside = row < e.height && column < e.width;
          for (int n = 0; n < values; ++n, ++value)
            if (!inside) f(*value);
        }
}
// Image b of a map.
template <class T>
std::vector<T> image(const Shape& s, int b, Extent e, const std::vector<T>& map, int maps, int values) {
  std::vector<T> out;
  for (int64_t i = 0; i < maps; ++i)
    for (int row = 0; row < e.height; ++row) {
      const auto begin = map.begin() + (((i * s.images + b) * s.height + row) * s.width) * values;
      out.insert(out.end(), begin, begin + int64_t(e.width) * values);
    }
  return out;
}

// A state of each image as a map of one pixel.
Shape state_shape(Shape s) {
  s.height = s.width = 1;
  return s;
}

// What holds of images that do not fill their maps.

template <class T> void check_outside(const Shape& s, Outputs<T> out, const std::string& where) {
  for_maps(s, out, [&](const char* name, std::vector<T>& map, int maps, int values) {
    for_outside(s, map, maps, values, [&](T value) {
      if (!(value == 0)) fail(where + ": " + name + " is not zero outside the images");
    });
    ++checks;
  });
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
    const auto take = [&](const char*, std::vector<T>& map, int maps, int values) {
      map = image(s, b, e, map, maps, values);
    };
    for_maps(s, of_one, take);
    Outputs<T> expected = unwritten(one, of_one), got = batch;
    scan_forward(one, of_one, expected, {1, 1}, level);
    scan_all_gradients(one, of_one, expected, {1, 1}, level);
    for_maps(s, got, take);
    for (auto* state : {&got.dh0, &got.dc0}) *state = image(state_shape(s), b, {1, 1}, *state, s.directions, s.hidden);
    if (!in.peepholes.empty())
      got.dpeepholes = image(state_shape(s), b, {1, 1}, got.dpeepholes, s.directions, 4 * s.hidden);
    check_same_bits(of_images(got), of_images(expected), where + ", image " + std::to_string(b) + " alone");
  }
}

template <class T> double check_case(const Kind& kind, const Size& size, const Options& options) {
  Shape s = shape_of(kind, size, options);
  const std::vector<Extent> extents = ragged(s.images, s.height, s.width);
  if (options.ragged) s.extents = extents.data();
  Given given = options.given;
  given.peepholes = given.peepholes && kind.may_have_peepholes;
  Inputs<T> in = random_inputs<T>(s, given);
  in.cell = kind.cell;
  if (kind.cell.formula == Formula::kMax)
    for (T& c : in.c0) c *= 250;  // so that some are clipped
  if (s.extents)                  // what is outside reaches nothing
    for_maps(s, in, [&](const char*, std::vector<T>& map, int maps, int values) {
      for_outside(s, map, maps, values, [](T& value) { value = std::numeric_limits<T>::quiet_NaN(); });
    });
  const std::string name = std::string(kind.name) + ", " + size.name + ", " + options.name;
  return check_scan(
      s, in, scalar_scan(s, in), name, [&](const Outputs<T>& out, const Deal& d, int level, const std::string& where) {
        if (!s.extents) return;
        check_outside(s, out, where);
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

// Images of unlike sizes are taken from the one with the most lines on, by shares that have about as many pixels.
void check_order() {
  for (int images : {1, 2, 5, 12})
    for (int directions : {1, 4})
      for (int shares : {1, 2, 3, 8}) {
        const std::vector<Extent> extents = ragged(images, 9, 17);
        Shape s{directions, images, 9, 17, 1, true, {}, 2};
        s.extents = extents.data();
        const cpu::Order order(s, shares);
        const auto extent = [&](int64_t scan) { return extents[order.order()[scan % images]]; };
        std::vector<int> seen(order.order(), order.order() + images);
        std::sort(seen.begin(), seen.end());
        for (int b = 0; b < images; ++b) {
          if (seen[b] != b) fail("an image is not in the order, or twice");
          if (b && s.geometry(0, extent(b)).lines > s.geometry(0, extent(b - 1)).lines)
            fail("images are not in the order of their lines");
        }
        int64_t all = 0, largest = 0;
        const int64_t scans = int64_t(directions) * images;
        const auto pixels = [&](int64_t scan) { return int64_t(extent(scan).height) * extent(scan).width; };
        for (int64_t scan = 0; scan < scans; ++scan) all += pixels(scan), largest = std::max(largest, pixels(scan));
        if (order.first(0) != 0 || order.first(shares) != scans) fail("shares are not of all scans");
        for (int q = 0; q < shares; ++q) {
          int64_t own = 0;
          for (int64_t scan = order.first(q); scan < order.first(q + 1); ++scan) own += pixels(scan);
          if (own > all / shares + 1 + largest) fail("a share has more than another could take");
        }
        ++checks;
      }
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_order();
  check_kinds<float>();
  check_kinds<double>();
  return passed();
}
