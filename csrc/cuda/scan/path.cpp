#include "path.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <stdexcept>

namespace pixelrnn::cuda {
namespace {

void check(bool holds, const std::string& expected, const std::string& got) {
  if (!holds) throw std::runtime_error("scan: expected " + expected + ", got '" + got + "'");
}

int number(const std::string& field) {
  int n = 0;
  const char* const end = field.data() + field.size();
  const auto read = std::from_chars(field.data(), end, n);
  check(field.empty() || (read.ec == std::errc() && read.ptr == end && n >= 0),
      "a number of blocks or groups in a path", field);
  return n;
}

}  // namespace

Path::Path(const std::string& text) {
  check(std::count(text.begin(), text.end(), ':') < 4, "at most 4 fields in a path", text);
  std::string field[4];
  std::istringstream fields(text);
  for (std::string& f : field) std::getline(fields, f, ':');
  step = field[0] == "step", resident = field[0] == "resident";
  check(step || resident || field[0] == "auto", "path 'auto', 'step' or 'resident'", text);
  variant = field[1], blocks = number(field[2]), groups = number(field[3]);
}

Restriction Path::restriction(Format format, bool backward, int gates) const {
  const bool known = has_variant(format, backward, variant, blocks, gates);
  const bool elsewhere =
      has_variant(format, !backward, variant, 0, gates) || has_variant(format, backward, variant, 0, gates);
  check(known || elsewhere || variant.empty(), "the name of a compiled kernel in a path", variant);
  return {8, blocks, groups, known ? variant : "", !resident};
}

}  // namespace pixelrnn::cuda
