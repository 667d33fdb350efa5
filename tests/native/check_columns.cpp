// Runs the sampler's steps (csrc/cpu/columns.h) without torch. tests/sampling/test_sampling.py checks the numbers.
#include "columns.h"

namespace {

using namespace check;

const Size kSizes[] = {
    {"one of everything", 1, 1, 1, 1, 1, 1, true},
    {"one image, several blocks", 1, 3, 3, 7, 150, 40, true},
    {"tiles of images with a rest", 7, 4, 2, 2, 33, 17, true},
    {"whole vectors", 13, 2, 1, 256, 64, 16, false},
    {"more images than a tile", 16, 3, 3, 5, 96, 35, true},
    {"a row of colours", 2, 9, 4, 3, 5, 6, false},
    {"no image", 0, 3, 2, 3, 8, 8, true},
};

template <class T> void check_case(const Size& size) {
  std::map<double, std::pair<std::vector<T>, std::vector<T>>> reference;  // image and logits, by temperature
  for (int level : levels())
    for (double temperature : {1., 0., 0.5}) {
      std::vector<T> serial;
      for (TeamSize d : {TeamSize{1, 1}, TeamSize{2, 2}, TeamSize{3, 2}, TeamSize{4, 4}}) {
        where = std::string(kTypeName<T>) + ", " + size.name + ", " + describe(level, d);
        generator.seed(7);
        Network<T> n(size, level);
        cpu::run_columns<T>(
            n.steps, {kMargin, size.width, size.images, temperature, false, nullptr, 0, nullptr}, team(d), level);
        if (has_nan(n.logits.values)) fail("a logit is NaN");
        if (d.shares == 1) {
          serial = n.logits.values;
          const auto& [image, logits] = reference.try_emplace(temperature, n.image.values, serial).first->second;
          if (same_bits(image, n.image.values))  // runs that drew different values have different logits
            check_close<T>("logits", serial, logits);
          for (const auto& [name, row] : {std::pair("image", &n.image), {"wide", &n.wide}, {"c", &n.c}, {"h", &n.h},
                   {"state", &n.state}, {"sum", &n.sum}, {"logits", &n.logits}})
            add_to_hash<T>(name, level, row->values);
        }
        if (!same_bits(serial, n.logits.values)) fail("the bits depend on the shares");
        ++checks;
      }
    }
}

template <class T> void check_columns() {
  for (const Size& size : kSizes)
    if (!short_list || size.in_short_list) check_case<T>(size);
}

}  // namespace

int main(int argc, char** argv) {
  read_arguments(argc, argv);
  check_columns<float>();
  check_columns<double>();
  return report();
}
