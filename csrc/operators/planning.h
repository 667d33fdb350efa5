// Operators that plan CUDA kernels and need no GPU, no driver and no cuda.h. The library _C has them, so every build
// can plan for any GPU. The GPU operators plan with the same functions.
#pragma once
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "../cuda/sampler/block_plan.h"
#include "../cuda/scan/estimate.h"
#include "arguments.h"
#include "columns.h"

namespace pixelrnn::cuda {

inline Geometry geometry_of(const ScanSizes& s, bool diagonal, Corner corner) {
  return diagonal ? Geometry::diagonal(int(s.height), int(s.width), corner)
                  : Geometry::row(int(s.height), int(s.width), corner);
}
void check_lines(const ScanSizes&, bool diagonal);
Problem problem(const ScanSizes&, bool diagonal, Format, bool backward);

// The sizes, the format ("bf16", "fp16", "tf32" or "fp32") and the path (../cuda/scan/path.h) of a scan to plan.
struct PlannedScan {
  int64_t directions, images, height, width, hidden, taps;
  bool diagonal;
  std::string format, path;
  int64_t gates;
};
// Describes the kernels that would compute the scan in one launch, for the forward and for the backward. If there are
// none, the text is "step path: " and the reason. `plan_pass` plans one pass.
std::tuple<std::string, std::string> describe(
    const PlannedScan&, const std::function<Plan(const Problem&, const Restriction&)>& plan_pass);

// Plans for a GPU of a compute capability (90 means 9.0), which need not be present.
std::tuple<std::string, std::string> describe_plan(int64_t directions, int64_t images, int64_t height, int64_t width,
    int64_t hidden, int64_t taps, bool diagonal, std::string format, int64_t capability, std::string path,
    int64_t gates);

template <class F> auto dispatch_floats(const std::vector<Tensor>& tensors, const F& f) {
  STD_TORCH_CHECK(!tensors.empty(), "run_columns: expected buffers");
  switch (tensors[0].scalar_type()) {
    case ScalarType::Float: return f(float());
    case ScalarType::Double: return f(double());
    default:
      STD_TORCH_CHECK(false, "run_columns: expected buffers of float32 or float64, got ", tensors[0].scalar_type());
  }
}

// The programs of an image row (../columns/program.h and ../columns/row_program.h).
struct Codes { const std::vector<int64_t>&main, &mirrored, &before_row, &after_row; };
template <class T> BlockPlan<T> make_plan(const std::vector<Tensor>& tensors, const Codes& codes, int64_t margin,
    int64_t height, const Device& device, int64_t blocks) {
  const std::vector<TensorView> described = views(tensors);
  const ColumnProgram<T> main(described, codes.main, margin, kColumnBlocks),
      mirrored(described, codes.mirrored, margin, kColumnBlocks);
  const auto rows = [&](const std::vector<int64_t>& code) {
    return RowProgram<T>(described, code, main.images(), height);
  };
  STD_TORCH_CHECK(blocks == 0 || blocks == 1 || blocks == 2 || blocks == 4 || blocks == 8,
      "run_columns: expected a team of 1, 2, 4 or 8 blocks, got ", blocks);
  BlockPlan<T> plan = plan_block(main, mirrored, rows(codes.before_row), rows(codes.after_row), device, int(blocks));
  plan.args.height = int(height);
  return plan;
}

// Returns the number of launches for one column. The tensors may be on any device. Throws std::runtime_error with the
// reason if a GPU cannot run the program.
int64_t column_launches(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin);

// Returns the number of blocks for an image, the bytes of shared memory of a block, and the estimated seconds for one
// pixel of all images. `blocks` demands a number of blocks unless it is 0. `capability` is 10 * major + minor of a GPU,
// which need not be present. Throws std::runtime_error with the reason if draw_rows cannot run, or if `blocks` is 0 and
// another way is faster.
std::tuple<int64_t, int64_t, double> plan_rows(std::vector<Tensor> tensors, std::vector<int64_t> main,
    std::vector<int64_t> mirrored, std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin,
    int64_t height, int64_t blocks, int64_t capability);

// module.cpp and tests/helpers/emulated call these functions.
template <class Library> void define_planning(Library& m) {
  m.def(
      "describe_plan(int directions, int images, int height, int width, int hidden, int taps, bool diagonal, str "
      "format, int capability, str path, int gates=4) -> (str forward, str backward)");
  m.def("column_launches(Tensor[] tensors, int[] code, int margin) -> int");
  m.def(
      "plan_rows(Tensor[] tensors, int[] main, int[] mirrored, int[] before_row, int[] after_row, int margin, "
      "int height, int blocks, int capability) -> (int blocks, int shared_memory, float seconds)");
}
template <class Library> void implement_planning(Library& m) {
  m.impl("describe_plan", TORCH_BOX(&describe_plan));
  m.impl("column_launches", TORCH_BOX(&column_launches));
  m.impl("plan_rows", TORCH_BOX(&plan_rows));
}

}  // namespace pixelrnn::cuda
