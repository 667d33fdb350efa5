#include "columns.h"

#include <cstring>
#include <memory>

#include "../../cuda/sampler/columns.h"
#include "../../cuda/scan/resident.h"
#include "device.h"

namespace pixelrnn::cuda {
namespace {

void check_on_device_of(const Tensor& first, const Tensor& t) {
  STD_TORCH_CHECK(t.device() == first.device(), "run_columns: expected all tensors on one device, got ",
      device_name(first), " and ", device_name(t));
}

// Describes a GPU of this compute capability, or the tensor's GPU if `capability` is 0.
Device device_of(int64_t capability, const Tensor& t) {
  if (capability) return known_device(int(capability));
  const DeviceScope scope(t);
  Device device;
  check(current_device(device));
  return device;
}

// In GPU memory, a cluster's weights follow the plan, aligned to 128 bytes.
template <class T> int64_t stream_offset(const BlockPlan<T>& plan) {
  return int64_t(plan.memory.size() + 127) / 128 * 128;
}
template <class T> int64_t memory_bytes(const BlockPlan<T>& plan) {
  return stream_offset(plan) + plan.stream_values * int64_t(sizeof(T));
}

// Returns the address, dtype and sizes of each tensor, which are all that a plan knows of it.
std::vector<int64_t> facts_of(const std::vector<Tensor>& tensors) {
  std::vector<int64_t> facts;
  for (const Tensor& t : tensors) {
    const auto sizes = t.sizes();
    facts.insert(facts.end(), {int64_t(reinterpret_cast<intptr_t>(t.const_data_ptr())), int64_t(t.scalar_type()),
                                  int64_t(t.is_contiguous()), t.dim()});
    facts.insert(facts.end(), sizes.begin(), sizes.end());
  }
  return facts;
}

// The plan of upload_rows() for draw_rows(). It owns the tensors to which it points, so that no other tensors can get
// their addresses. Python holds it as a tensor of bytes, on the CPU.
template <class T> struct KeptPlan {
  const KeptPlan* self = this;  // a copy of the bytes, which owns nothing, has another address
  BlockPlan<T> plan;
  std::vector<Tensor> tensors;
  std::vector<int64_t> facts;
  Tensor memory;  // on the GPU

  // Moves a plan to the tensor that owns it.
  static Tensor keep(std::unique_ptr<KeptPlan> kept) {
    KeptPlan* const p = kept.get();
    Tensor bytes = stable::from_blob(p, {int64_t(sizeof(KeptPlan))}, {1},
        stable::Device(torch::headeronly::DeviceType::CPU), ScalarType::Byte, [p](void*) { delete p; });
    kept.release();
    return bytes;
  }

  // Returns the plan in a tensor that keep() has returned for the same tensors. Otherwise throws an error.
  static const BlockPlan<T>& of(const Tensor& bytes, const std::vector<Tensor>& tensors) {
    const bool can_be_kept = bytes.is_cpu() && bytes.scalar_type() == ScalarType::Byte && bytes.is_contiguous() &&
                             bytes.numel() == int64_t(sizeof(KeptPlan));
    const auto* kept = can_be_kept ? static_cast<const KeptPlan*>(bytes.const_data_ptr()) : nullptr;
    const bool is_kept = kept && std::memcmp(kept, &kept, sizeof(kept)) == 0;
    STD_TORCH_CHECK(is_kept && kept->facts == facts_of(tensors),
        "draw_rows: expected the plan that upload_rows returned for these tensors, got ",
        is_kept ? "the plan of others" : "other bytes");
    return kept->plan;
  }
};

}  // namespace

void run_columns(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin, double temperature,
    bool on_grid, Optional streams, Optional bytes) {
  STD_TORCH_CHECK(!on_grid && !streams && !bytes, "run_columns: expected a CPU to code images, got a GPU");
  dispatch_floats(tensors, [&](auto zero) {
    for (const Tensor& t : tensors) check_on_device_of(tensors[0], t);
    const DeviceScope device(tensors[0]);
    const ColumnProgram<decltype(zero)> program(views(tensors), code, margin, kColumnBlocks);
    check(cuda::run_columns(program, temperature, device.stream()));
  });
}

int64_t column_launches_on_gpu(std::vector<Tensor> tensors, std::vector<int64_t> code, int64_t margin) {
  const int64_t launches = column_launches(tensors, code, margin);
  const DeviceScope scope(tensors[0]);
  bool has = false;
  check(has_column_kernels(has));
  expect(has, "expected code of the kernel that runs steps on this GPU, got none");
  return launches;
}

Tensor upload_rows(std::vector<Tensor> tensors, std::vector<int64_t> main, std::vector<int64_t> mirrored,
    std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin, int64_t height, int64_t blocks) {
  return dispatch_floats(tensors, [&](auto zero) {
    using T = decltype(zero);
    for (const Tensor& t : tensors) check_on_device_of(tensors[0], t);
    const DeviceScope device(tensors[0]);
    BlockPlan<T> plan = make_plan<T>(
        tensors, {main, mirrored, before_row, after_row}, margin, height, device_of(0, tensors[0]), blocks);
    Tensor memory = stable::new_zeros(tensors[0], {memory_bytes(plan)}, ScalarType::Byte);
    const int64_t bytes = int64_t(plan.memory.size());
    Tensor lists = stable::narrow(memory, 0, 0, bytes);
    stable::copy_(lists, stable::from_blob(plan.memory.data(), {bytes}, {1},
                             stable::Device(torch::headeronly::DeviceType::CPU), ScalarType::Byte));
    auto* const start = static_cast<unsigned char*>(memory.mutable_data_ptr());
    auto* const stream = reinterpret_cast<T*>(start + stream_offset(plan));
    check(pack_stream(plan, start, stream, device.stream()));
    plan.args.memory = start, plan.args.stream = stream;
    plan.memory = {}, plan.stream = {};  // they are on the GPU now
    auto kept = std::make_unique<KeptPlan<T>>();
    kept->plan = std::move(plan), kept->tensors = tensors, kept->facts = facts_of(tensors), kept->memory = memory;
    return KeptPlan<T>::keep(std::move(kept));
  });
}

void draw_rows(std::vector<Tensor> tensors, Tensor kept, Tensor uniform, Tensor known, Tensor values, Optional logits,
    double temperature, int64_t first_row, int64_t last_row) {
  dispatch_floats(tensors, [&](auto zero) {
    using T = decltype(zero);
    const BlockPlan<T>& plan = KeptPlan<T>::of(kept, tensors);
    for (const Optional& t : {Optional(uniform), Optional(known), Optional(values), logits})
      if (t) check_on_device_of(tensors[0], *t);
    BlockArgs<T> args = plan.args;
    STD_TORCH_CHECK(0 <= first_row && first_row <= last_row && last_row <= args.height,
        "draw_rows: expected rows from 0 to ", args.height, ", got ", first_row, " to ", last_row);
    const DeviceScope device(tensors[0]);
    const std::vector<int64_t> sizes{args.images, args.colours, args.height, args.width};
    check_sizes("uniform", uniform, sizes, ScalarType::Double), check_sizes("known", known, sizes, ScalarType::Bool);
    check_sizes("values", values, sizes, ScalarType::Long);
    if (logits)
      check_sizes("logits", *logits, {args.height, args.width, args.images, args.colours * args.logits}, tensors[0]);
    for (const Optional& t : {Optional(uniform), Optional(known), Optional(values), logits})
      STD_TORCH_CHECK(!t || t->is_contiguous(), "draw_rows: expected contiguous uniform, known, values and logits");
    args.row0 = int(first_row), args.row1 = int(last_row), args.temperature = temperature;
    args.uniform = static_cast<const double*>(uniform.const_data_ptr());
    args.known = static_cast<const uint8_t*>(known.const_data_ptr());
    args.values = static_cast<int64_t*>(values.mutable_data_ptr());
    args.logit_map = logits ? static_cast<T*>(logits->mutable_data_ptr()) : nullptr;
    check(cuda::draw_rows(plan, args, device.stream()));
  });
}

std::tuple<int64_t, int64_t, double> plan_rows_on_gpu(std::vector<Tensor> tensors, std::vector<int64_t> main,
    std::vector<int64_t> mirrored, std::vector<int64_t> before_row, std::vector<int64_t> after_row, int64_t margin,
    int64_t height, int64_t blocks, int64_t capability) {
  return dispatch_floats(tensors, [&](auto zero) {
    const Device device = device_of(capability, tensors[0]);
    auto plan =
        make_plan<decltype(zero)>(tensors, {main, mirrored, before_row, after_row}, margin, height, device, blocks);
    if (capability == 0) {
      const DeviceScope scope(tensors[0]);
      std::string why;
      check(why_not_run(plan, why));
      expect(why.empty(), why);
      if (!blocks) plan.expect_fastest();
    }
    return std::tuple<int64_t, int64_t, double>(plan.args.blocks, plan.shared_memory, plan.seconds);
  });
}

}  // namespace pixelrnn::cuda
