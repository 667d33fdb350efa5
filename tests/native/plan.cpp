// The planner of the CUDA kernels without them and without a GPU, for tests/test_plan.py.
//
//   plan describe    reads problems, a line each, and prints their plans
//   plan enumerate   prints for each variant what has to change for it to be chosen: nothing; the constant that is 25 %
//   higher or lower;
//                    its own figures, 25 % lower; or that it is never chosen. And for which problem, on which card
//
// A problem: capability, format (0 to 3), backward, hidden, taps, height, width, images, directions.
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <string>

#include "../../csrc/cuda/estimate.h"

#define FORWARD(name, ...) extern "C" const void* const name##_entry = nullptr;
#define BACKWARD(name, ...) extern "C" const void* const name##_entry = nullptr;
PIXELRNN_VARIANTS
#undef FORWARD
#undef BACKWARD

using namespace pixelrnn::cuda;

static Problem problem(
    int format, bool backward, int hidden, int taps, int height, int width, int images, int directions) {
  const pixelrnn::Geometry g =
      taps == 2 ? pixelrnn::Geometry::diagonal(height, width) : pixelrnn::Geometry::row(height, width);
  return {Format(format), backward, hidden, taps, g.lines, g.cells, images, directions};
}

static int describe() {
  int capability, format, backward, hidden, taps, height, width, images, directions;
  while (std::cin >> capability >> format >> backward >> hidden >> taps >> height >> width >> images >> directions) {
    const Problem p = problem(format, backward, hidden, taps, height, width, images, directions);
    std::cout << plan(p, known_device(capability)).describe() << "\n";
  }
  return 0;
}

struct Named {
  const char* name;
  double Constants::* constant;
};
constexpr Named kConstants[] = {
    {"launch", &Constants::launch},
    {"first_line", &Constants::first_line},
    {"weights_of_cycle", &Constants::weights_of_cycle},
    {"clock", &Constants::clock},
    {"step_products", &Constants::step_products},
    {"cluster_doubt", &Constants::cluster_doubt},
    {"bandwidth", &Constants::bandwidth},
    {"line", &Constants::line},
    {"tile", &Constants::tile},
    {"pair", &Constants::pair},
    {"cell", &Constants::cell},
};

// Calls `use` for problems of every supported kind until it says that it has seen enough.
template <class Use> static void each_problem(const Use& use) {
  for (int capability : {80, 86, 90, 100, 120})
    for (int format = 0; format < 4; ++format)
      for (bool backward : {false, true})
        for (int taps : {1, 2, 3})
          for (int directions = 1; directions <= (taps == 2 ? 2 : 1); ++directions)
            for (int size : {4, 8, 16, 28, 32, 48, 64, 128, 256})
              for (int images : {1, 4, 16, 64, 256, 1024})
                for (int hidden = 8; hidden <= 512; hidden += hidden < 128 ? 8 : hidden < 256 ? 32 : 128)
                  use(capability, problem(format, backward, hidden, taps, size, size, images, directions));
}

static std::string text(int capability, const Problem& p) {
  const char* const formats[] = {"bf16", "fp16", "tf32", "fp32"};
  return std::string(formats[int(p.format)]) + ", capability " + std::to_string(capability) + ", hidden " +
         std::to_string(p.hidden) + ", taps " + std::to_string(p.taps) + ", " + std::to_string(p.lines) + " lines of " +
         std::to_string(p.cells) + ", images " + std::to_string(p.images) + ", directions " +
         std::to_string(p.directions);
}

static int enumerate() {
  std::map<std::string, std::string> why;  // by variant
#define FORWARD(name, ...) why[#name];
#define BACKWARD(name, ...) why[#name];
  PIXELRNN_VARIANTS
  auto is_known = [&](const Problem& p) {  // of its format and pass, whether all are reached
    const char* const formats[] = {"bf16", "fp16", "tf32", "fp32"};
    const std::string prefix = std::string(p.backward ? "backward_" : "forward_") + formats[int(p.format)];
    for (const auto& [name, found] : why)
      if (found.empty() && name.compare(0, prefix.size(), prefix) == 0) return false;
    return true;
  };
  auto note = [&](const Plan& chosen, const std::string& with, int capability, const Problem& p) {
    std::string& found = why[chosen.variant->name];
    if (found.empty()) found = with + "; " + text(capability, p);
  };
  auto choose = [&](const std::string& with, const Constants& constants) {
    each_problem([&](int capability, const Problem& p) {
      if (is_known(p)) return;
      const Plan chosen = plan(p, known_device(capability), {}, nullptr, constants);
      if (chosen.variant) note(chosen, with, capability, p);
    });
  };
  choose("nothing", {});
  for (const Named& named : kConstants)
    for (double factor : {0.75, 1.25}) {
      Constants constants;
      constants.*named.constant *= factor;
      choose(named.name, constants);
    }
  // The figures of one kernel at a time: lower, they are the constants of a kernel that would be chosen.
  each_problem([&](int capability, const Problem& p) {
    if (is_known(p)) return;
    const auto found = candidates(p, known_device(capability), {}, nullptr, {});
    const double launches = 2 * Constants{}.launch;
    double best = estimate_step(p, known_device(capability), {});
    for (const Plan& c : found) best = std::min(best, c.cost);
    for (const Plan& c : found)
      if (launches + 0.75 * (c.cost - launches) < best) note(c, "its own figures", capability, p);
  });
  for (const auto& [name, found] : why) std::cout << name << ": " << (found.empty() ? "never" : found) << "\n";
  return 0;
}

int main(int argc, char** argv) {
  if (argc == 2 && !std::strcmp(argv[1], "describe")) return describe();
  if (argc == 2 && !std::strcmp(argv[1], "enumerate")) return enumerate();
  std::fprintf(stderr, "expected describe or enumerate\n");
  return 2;
}
