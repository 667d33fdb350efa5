#include "columns.h"

#include "../../cuda/columns.h"
#include "../../cuda/estimate.h"
#include "../../cuda/resident.h"
#include "device.h"

namespace pixelrnn::cuda {
namespace {

template <class F> auto dispatch(const std::vector<Tensor>& tensors, const F& f) {
  STD_TORCH_CHECK(!tensors.empty(), "run_columns: expected buffers");
  switch (tensors[0].scalar_type()) {
    case ScalarType::Float: return f(float());
    case ScalarType::Double: return f(double());
    default:
      STD_TORCH_CHECK(false, "run_columns: expected buffers of float32 or float64, got ", tensors[0].scalar_type());
  }
}

void check_on_device_of(const Tensor& first, const Tensor& t) {
  STD_TORCH_CHECK(t.device() == first.device(), "run_columns: expected all tensors on one device, got ",
      device_name(first), " and ", device_name(t));
}

struct Codes { const std::vector<int64_t>&main, &mirrored, &before_row, &after_row; };
template <class T> BlockPlan<T> make_plan(
    const std::vector<Tensor>& tensors, const Codes& codes, int64_t margin, int64_t height, const Device& device) {
  const std::vector<TensorView> described = views(tensors);
  const ColumnProgram<T> main(described, codes.main, margin, kColumnBlocks),
      mirrored(described, codes.mirrored, margin, kColumnBlocks);
  const auto rows = [&](const std::vector<int64_t>& code) {
    return RowProgram<T>(described, code, main.images(), height);
  };
  BlockPlan<T> plan = plan_block(main, mirrored, rows(codes.before_row), rows(codes.after_row), device);
  plan.args.height = int(height);
  return plan;
}

// Describes the tensor's GPU, or if `capability` is not 0, a GPU of this compute capability.
Device device_of(int64_t capability, const Tensor& t) {
  if (capability) return known_device(int(capability));
  const DeviceScope scope(t);
  Device device;
  check(current_device(device));
  return device;
}

Tensor upload(std::vector<unsigned char>& memory, const Tensor& like) {
  Tensor copy = stable::new_empty(like, {int64_t(memory.size())}, ScalarType::Byte);
  const Tensor host = stable::from_blob(memory.data(), {int64_t(memory.size())}, {1},
      stable::Device(torch::headeronly::DeviceType::CPU), ScalarType::Byte);
  stable::copy_(copy, host);
  return copy;
}

}  // namespace

void run_columns(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin, double temperature,
    bool on_grid, Optional streams, Optional bytes) {
  STD_TORCH_CHECK(!on_grid && !streams && !bytes, "run_columns: expected a CPU to code images, got a GPU");
  dispatch(tensors, [&](auto zero) {
    for (const Tensor& t : tensors) check_on_device_of(tensors[0], t);
    const DeviceScope device(tensors[0]);
    const ColumnProgram<decltype(zero)> program(views(tensors), code, margin, kColumnBlocks);
    check(cuda::run_columns(program, temperature, device.stream()));
  });
}

int64_t column_launches(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin) {
  return dispatch(tensors, [&](auto zero) {
    return count_launches(ColumnProgram<decltype(zero)>(views(tensors), code, margin, kColumnBlocks));
  });
}

void draw_rows(std::vector<Tensor> tensors, std::vector<int64_t> main, std::vector<int64_t> mirrored,
    std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin, Tensor uniform, Tensor known,
    Tensor values, Optional logits, double temperature, int64_t first_row, int64_t last_row) {
  dispatch(tensors, [&](auto zero) {
    using T = decltype(zero);
    for (const Tensor& t : tensors) check_on_device_of(tensors[0], t);
    for (const Optional& t : {Optional(uniform), Optional(known), Optional(values), logits})
      if (t) check_on_device_of(tensors[0], *t);
    check_axes("values", values, "[images, colours, height, width]");
    const int64_t height = values.size(2);
    STD_TORCH_CHECK(0 <= first_row && first_row <= last_row && last_row <= height,
        "draw_rows: expected rows from 0 to ", height, ", got ", first_row, " to ", last_row);
    const DeviceScope device(tensors[0]);
    Device properties;
    check(current_device(properties));
    BlockPlan<T> plan = make_plan<T>(tensors, {main, mirrored, before_row, after_row}, margin, height, properties);
    BlockArgs<T> args = plan.args;
    const std::vector<int64_t> sizes{args.images, args.colours, args.height, args.width};
    check_sizes("uniform", uniform, sizes, ScalarType::Double), check_sizes("known", known, sizes, ScalarType::Bool);
    check_sizes("values", values, sizes, ScalarType::Long);
    if (logits)
      check_sizes("logits", *logits, {args.height, args.width, args.images, args.colours * args.logits}, tensors[0]);
    for (const Optional& t : {Optional(uniform), Optional(known), Optional(values), logits})
      STD_TORCH_CHECK(!t || t->is_contiguous(), "draw_rows: expected contiguous uniform, known, values and logits");
    const Tensor memory = upload(plan.memory, tensors[0]);
    args.memory = static_cast<const unsigned char*>(memory.const_data_ptr());
    args.row0 = int(first_row), args.row1 = int(last_row), args.temperature = temperature;
    args.uniform = static_cast<const double*>(uniform.const_data_ptr());
    args.known = static_cast<const uint8_t*>(known.const_data_ptr());
    args.values = static_cast<int64_t*>(values.mutable_data_ptr());
    args.logit_map = logits ? static_cast<T*>(logits->mutable_data_ptr()) : nullptr;
    check(cuda::draw_rows(plan, args, device.stream()));
  });
}

std::tuple<int64_t, int64_t> plan_rows(std::vector<Tensor> tensors, std::vector<int64_t> main,
    std::vector<int64_t> mirrored, std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin,
    int64_t height, int64_t capability) {
  return dispatch(tensors, [&](auto zero) {
    const Device device = device_of(capability, tensors[0]);
    const auto plan =
        make_plan<decltype(zero)>(tensors, {main, mirrored, before_row, after_row}, margin, height, device);
    const int64_t waves = (plan.args.images + device.multiprocessors - 1) / device.multiprocessors;
    return std::tuple<int64_t, int64_t>(
        plan.shared_memory, waves * (plan.args.main.rounds + plan.args.mirrored.rounds));
  });
}

}  // namespace pixelrnn::cuda
