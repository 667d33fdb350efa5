#include "planning.h"

#include <algorithm>
#include <iterator>

#include "../cuda/sampler/column_stages.h"
#include "../cuda/scan/path.h"

namespace pixelrnn::cuda {
namespace {

Device device_of(int64_t capability) {
  STD_TORCH_CHECK(capability > 0,
      "pixelrnn_ext: expected the compute capability of a GPU to plan for, such as 90 for 9.0, got ", capability);
  return known_device(int(capability));
}

}  // namespace

void check_lines(const ScanSizes& s, bool diagonal) {
  constexpr int64_t limit = int64_t(1) << 31;
  check_below("images", s.images, 1 << 28);
  check_below("hidden channels", s.hidden, 1 << 24);
  for (int64_t side : {s.height, s.width}) check_below("height and width", side, limit);
  check_below("pixels of an image", s.height * s.width, limit);
  const int64_t units = s.images * s.hidden;
  check_below("units of a cell", units, limit);
  check_below("units of a line", units * (diagonal ? s.height : s.width), limit);
}

Problem problem(const ScanSizes& s, bool diagonal, Format format, bool backward) {
  const Geometry g = geometry_of(s, diagonal, {});
  return {format, backward, int(s.hidden), int(s.taps), g.lines, g.cells, s.images, s.directions, int(s.gates)};
}

std::tuple<std::string, std::string> describe(
    const PlannedScan& s, const std::function<Plan(const Problem&, const Restriction&)>& plan_pass) {
  const auto found = std::find(std::begin(kFormatNames), std::end(kFormatNames), s.format);
  STD_TORCH_CHECK(found != std::end(kFormatNames),
      "describe_plan: expected format 'bf16', 'fp16', 'tf32' or 'fp32', got '", s.format, "'");
  STD_TORCH_CHECK(s.gates == 4 || s.gates == 5, "describe_plan: expected 4 or 5 gates, got ", s.gates);
  STD_TORCH_CHECK(s.directions > 0 && s.directions <= kMaxDirections && s.images >= 0 && s.height > 0 && s.width > 0 &&
                      s.hidden > 0 && s.taps > 0,
      "describe_plan: expected 1 to ", kMaxDirections,
      " directions, 0 or more images and other sizes of 1 or more, got ",
      shape_text(std::vector<int64_t>{s.directions, s.images, s.height, s.width, s.hidden, s.taps}),
      " of directions, images, height, width, hidden channels and taps");
  STD_TORCH_CHECK(s.diagonal ? s.taps == 2 : s.taps % 2 == 1, "describe_plan: expected ",
      s.diagonal ? "2 taps" : "an odd number of taps", ", got ", s.taps);
  const ScanSizes sizes{s.directions, s.images, s.height, s.width, s.hidden, s.gates, s.taps, 0, 0, false};
  check_lines(sizes, s.diagonal);
  auto describe_pass = [&](bool backward) {
    const Problem p = problem(sizes, s.diagonal, Format(found - kFormatNames), backward);
    return plan_pass(p, Path(s.path).restriction(p.format, backward, p.gates)).describe();
  };
  return {describe_pass(false), describe_pass(true)};
}

std::tuple<std::string, std::string> describe_plan(int64_t directions, int64_t images, int64_t height, int64_t width,
    int64_t hidden, int64_t taps, bool diagonal, std::string format, int64_t capability, std::string path,
    int64_t gates) {
  const Device device = device_of(capability);
  return describe({directions, images, height, width, hidden, taps, diagonal, format, path, gates},
      [&](const Problem& p, const Restriction& r) { return plan(p, device, r); });
}

int64_t column_launches(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin) {
  return dispatch_floats(tensors, [&](auto zero) {
    return count_launches(ColumnProgram<decltype(zero)>(views(tensors), code, margin, kColumnBlocks).steps);
  });
}

std::tuple<int64_t, int64_t, double> plan_rows(std::vector<Tensor> tensors, std::vector<int64_t> main,
    std::vector<int64_t> mirrored, std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin,
    int64_t height, int64_t blocks, int64_t capability) {
  const Device device = device_of(capability);
  return dispatch_floats(tensors, [&](auto zero) {
    const auto plan =
        make_plan<decltype(zero)>(tensors, {main, mirrored, before_row, after_row}, margin, height, device, blocks);
    return std::tuple<int64_t, int64_t, double>(plan.args.blocks, plan.shared_memory, plan.seconds);
  });
}

}  // namespace pixelrnn::cuda
