// The code of a release (setup.py's RELEASED, with the 8.7 of AArch64), of kernels that have no instructions. As in the
// table that build_tools/device_code.py writes, the code for one GPU is in several files.
#include <list>

#include "../../../../csrc/cuda/device_code.h"
#include "../../../../csrc/cuda/variants.h"
#include "code.h"

#define FORWARD(G, name, ...) #name,
#define BACKWARD FORWARD
#define STEP(name)                                                                                                  \
  "step_forward_" #name "_4", "step_backward_" #name "_4", "step_forward_" #name "_5", "step_backward_" #name "_5", \
      "border_sums_" #name

namespace pixelrnn::cuda {
namespace {

const std::set<std::string> kResident = {PIXELRNN_KERNELS "pack_bf16", "pack_fp16", "pack_tf32", "pack_fp32",
    "pack5_bf16", "pack5_fp16", "pack5_tf32", "pack5_fp32"};
const std::set<std::string> kOthers = {STEP(float32), STEP(float64), STEP(float16), STEP(bfloat16), "neighbours_2",
    "neighbours_4", "neighbours_8", "neighbours_16"};

// The table points to text that lives as long as the process.
const char* keep(std::string text) {
  static std::list<std::string> kept;
  return kept.emplace_back(std::move(text)).data();
}
const char* names(const std::set<std::string>& kernels) {
  std::string text = " ";
  for (const std::string& kernel : kernels) text += kernel + " ";
  return keep(text);
}
DeviceCode machine_code(int capability, const std::set<std::string>& kernels) {
  return {capability, false, names(kernels), keep(fake::make_machine_code(capability, kernels))};
}
DeviceCode ptx(int capability, const std::set<std::string>& kernels) {
  return {capability, true, names(kernels), keep(fake::make_ptx(capability, kernels))};
}

}  // namespace

const DeviceCode device_code[] = {
    machine_code(75, kResident),
    machine_code(75, kOthers),  //
    machine_code(80, kResident),
    machine_code(80, kOthers),  //
    machine_code(86, kResident),
    machine_code(86, kOthers),  //
    machine_code(87, kResident),
    machine_code(87, kOthers),  //
    machine_code(90, kResident),
    machine_code(90, kOthers),  //
    ptx(90, kResident),
    ptx(90, kOthers),  //
    machine_code(100, kResident),
    machine_code(100, kOthers),  //
    machine_code(120, kResident),
    machine_code(120, kOthers),  //
    ptx(120, kResident),
    ptx(120, kOthers),  //
    {},
};

}  // namespace pixelrnn::cuda
