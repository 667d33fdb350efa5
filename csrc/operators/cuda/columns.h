// The operators of sampling on a GPU.
#pragma once
#include <tuple>

#include "../columns.h"
#include "tensors.h"

namespace pixelrnn::cuda {

// Launches the program of an image row (../../cuda/columns.h). If a known pixel value is not one of the possible
// values, the kernel uses the largest possible value as the network's input.
void run_columns(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin, double temperature,
    bool on_grid, Optional streams, Optional bytes);

// Returns the number of launches for one column. The tensors may be on any device. Throws std::runtime_error with the
// reason if a GPU cannot run the program.
int64_t column_launches(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin);

// Draws rows first_row to last_row - 1 of all images in one launch (../../cuda/block_kernel.h). `plan` comes from
// upload_rows for the same tensors. uniform (float64), known (bool) and values (int64) are [images, colours, height,
// width]. logits is [height, width, images, channels], or absent.
void draw_rows(std::vector<Tensor> tensors, Tensor plan, Tensor uniform, Tensor known, Tensor values, Optional logits,
    double temperature, int64_t first_row, int64_t last_row);

// Plans the programs, and copies the plan and a cluster's weights to the GPU. Returns a tensor on the CPU that owns the
// plan, the tensors and the GPU memory. Only draw_rows reads it.
Tensor upload_rows(std::vector<Tensor> tensors, std::vector<int64_t> main, std::vector<int64_t> mirrored,
    std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin, int64_t height, int64_t blocks);

// Returns the number of blocks for an image, the bytes of shared memory of a block, and the estimated seconds for one
// pixel of all images. `blocks` demands a number of blocks unless it is 0. `capability` is 10 * major + minor, or 0 for
// the tensors' GPU. Throws std::runtime_error with the reason if draw_rows cannot run, or if `blocks` is 0 and another
// way is faster.
std::tuple<int64_t, int64_t, double> plan_rows(std::vector<Tensor> tensors, std::vector<int64_t> main,
    std::vector<int64_t> mirrored, std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin,
    int64_t height, int64_t blocks, int64_t capability);

// module.cpp and tests/helpers/emulated call this function.
template <class Library> void define_sampling(Library& m) {
  m.def("column_launches(Tensor[] tensors, int[] code, int margin) -> int");
  m.def(
      "draw_rows(Tensor(a!)[] tensors, Tensor plan, Tensor uniform, Tensor known, Tensor(b!) values, "
      "Tensor(c!)? logits, float temperature, int first_row, int last_row) -> ()");
  m.def(
      "upload_rows(Tensor[] tensors, int[] main, int[] mirrored, int[] before_row, int[] after_row, int margin, "
      "int height, int blocks) -> Tensor");
  m.def(
      "plan_rows(Tensor[] tensors, int[] main, int[] mirrored, int[] before_row, int[] after_row, int margin, "
      "int height, int blocks, int capability) -> (int blocks, int shared_memory, float seconds)");
}
template <class Library> void implement_sampling(Library& m) {
  m.impl("run_columns", TORCH_BOX(&run_columns));  // the CPU library _C defines this operator
  m.impl("draw_rows", TORCH_BOX(&draw_rows));
  m.impl("upload_rows", TORCH_BOX(&upload_rows));
}
template <class Library> void implement_sampling_plans(Library& m) {
  m.impl("column_launches", TORCH_BOX(&column_launches));
  m.impl("plan_rows", TORCH_BOX(&plan_rows));
}

}  // namespace pixelrnn::cuda
