// The operators of sampling on a GPU.
#pragma once
#include <tuple>

#include "../planning.h"
#include "tensors.h"

namespace pixelrnn::cuda {

// Launches the program of an image row (../../cuda/sampler/columns.h). If a known pixel value is not one of the
// possible values, the kernel uses the largest possible value as the network's input.
void run_columns(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin, double temperature,
    bool on_grid, Optional streams, Optional bytes);

// Draws rows first_row to last_row - 1 of all images in one launch (../../cuda/sampler/block_kernel.h). `plan` comes
// from upload_rows for the same tensors. uniform (float64), known (bool) and values (int64) are [images, colours,
// height, width]. logits is [height, width, images, channels], or absent.
void draw_rows(std::vector<Tensor> tensors, Tensor plan, Tensor uniform, Tensor known, Tensor values, Optional logits,
    double temperature, int64_t first_row, int64_t last_row);

// Plans the programs, and copies the plan and a cluster's weights to the GPU. Returns a tensor on the CPU that owns the
// plan, the tensors and the GPU memory. Only draw_rows reads it.
Tensor upload_rows(std::vector<Tensor> tensors, std::vector<int64_t> main, std::vector<int64_t> mirrored,
    std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin, int64_t height, int64_t blocks);

// Like column_launches() (../planning.h), but refuses a GPU for which the build has no code of the kernel.
int64_t column_launches_on_gpu(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin);

// Plans for the tensors' GPU if `capability` is 0 (../planning.h), and asks that GPU.
std::tuple<int64_t, int64_t, double> plan_rows_on_gpu(std::vector<Tensor> tensors, std::vector<int64_t> main,
    std::vector<int64_t> mirrored, std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin,
    int64_t height, int64_t blocks, int64_t capability);

// module.cpp and tests/helpers/emulated call this function.
template <class Library> void define_sampling(Library& m) {
  m.def(
      "draw_rows(Tensor(a!)[] tensors, Tensor plan, Tensor uniform, Tensor known, Tensor(b!) values, "
      "Tensor(c!)? logits, float temperature, int first_row, int last_row) -> ()");
  m.def(
      "upload_rows(Tensor[] tensors, int[] main, int[] mirrored, int[] before_row, int[] after_row, int margin, "
      "int height, int blocks) -> Tensor");
}
template <class Library> void implement_sampling(Library& m) {
  // The CPU library _C defines the first three operators.
  m.impl("run_columns", TORCH_BOX(&run_columns));
  m.impl("plan_rows", TORCH_BOX(&plan_rows_on_gpu));
  m.impl("column_launches", TORCH_BOX(&column_launches_on_gpu));
  m.impl("draw_rows", TORCH_BOX(&draw_rows));
  m.impl("upload_rows", TORCH_BOX(&upload_rows));
}

}  // namespace pixelrnn::cuda
