// Scenarios for the host code of csrc/cuda with a fake NVIDIA driver. `host_code NAME` runs one scenario.
#include <cuda.h>

#include <map>
#include <sstream>
#include <thread>

#include "cuda/driver/kernel_loader.h"
#include "cuda/sampler/columns.h"
#include "training.h"

using namespace training;

namespace {

std::map<std::string, void (*)()>& scenarios() {
  static std::map<std::string, void (*)()> all;
  return all;
}
#define SCENARIO(name)                                               \
  void name();                                                       \
  const bool name##_added = scenarios().emplace(#name, name).second; \
  void name()

void run_in_thread(void (*work)()) { std::thread(work).join(); }

CUstream new_stream() {
  CUstream stream = nullptr;
  SUCCEEDS(cuStreamCreate(&stream, 0));
  return stream;
}
void run_on(int gpu) {
  SUCCEEDS(make_current(gpu));
  run_everything(new_stream());
}
CUstream capturing_stream() {
  const CUstream stream = new_stream();
  SUCCEEDS(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  return stream;
}
CUresult end_of_capture(CUstream stream) {
  CUgraph graph = nullptr;
  return cuStreamEndCapture(stream, &graph);
}
// Counts the calls that the driver refused, except cuCtxGetDevice without a context.
int count_refusals() {
  std::istringstream calls(fake_calls());
  int count = 0;
  for (std::string call; std::getline(calls, call);)
    count += call.find(" -> ") != std::string::npos && call != "cuCtxGetDevice -> 201";
  return count;
}

SCENARIO(each_kernel_is_prepared_once) {
  SUCCEEDS(make_current(0));
  const CUstream stream = new_stream();
  run_everything(stream);
  EQUAL(fake_count("cuLaunchKernelEx "), kLaunches);
  EQUAL(fake_count("cuModuleLoadData sm_90 @1 "), 2);  // resident kernels are one file, all other kernels another
  EQUAL(fake_count("cuModuleLoadData "), 2);
  EQUAL(count_refusals(), 0);
  const int loaded = fake_count("cuModuleGetFunction ");
  EQUAL(fake_count("cuFuncSetAttribute "), loaded);
  EQUAL(fake_count("cuModuleGetFunction pack_bf16 "), 1);
  fake_forget();
  run_everything(stream);
  EQUAL(fake_count("cuLaunchKernelEx "), kLaunches);
  // A thread may change its context, so the current one is asked for again. Nothing else is.
  const int kernels = 4 * 2 + 4 + 2, plans = 4;
  EQUAL(fake_count("cuCtxGetId "), kernels);
  EQUAL(fake_count("cuCtxGetDevice "), 2 * plans);
  EQUAL(fake_count("cu"), kLaunches + kernels + 2 * plans);
}

SCENARIO(the_loop_over_lines_only_launches) {
  SUCCEEDS(make_current(0));
  StepForwardArgs args{};
  args.shape.directions = args.shape.images = args.shape.hidden = args.shape.active = 3;
  CUfunction kernel = nullptr;
  SUCCEEDS(load_step_kernel(MapType::float64, 5, false, kernel));
  fake_forget();
  for (int line = 0; line < kLines; ++line) SUCCEEDS(step_forward(kernel, args, nullptr));
  EQUAL(fake_count("cuLaunchKernelEx step_forward_float64_5 grid 1 3 1 threads 256 shared 0 cluster 1 @1 "), kLines);
  EQUAL(fake_count("cu"), kLines);
}

SCENARIO(a_cluster_is_a_part_of_the_grid) {
  SUCCEEDS(make_current(0));
  const Plan plan = resident_plan(false, 4);
  fake_forget();
  run_resident(plan, nullptr);
  const int blocks = plan.tiling.blocks;
  EQUAL(blocks > 1, true);
  std::ostringstream launch;
  launch << "cuLaunchKernelEx " << plan.variant->name << " grid " << kBatch / plan.tiling.images * blocks << ' '
         << kDirections << " 1 threads " << plan.tiling.threads() << " shared " << plan.shared_memory << " cluster "
         << blocks << " @1 ";
  EQUAL(fake_count(launch.str().c_str()), 1);
}

SCENARIO(first_calls_inside_a_capture) {
  SUCCEEDS(make_current(0));
  const CUstream stream = capturing_stream();
  run_everything(stream);
  SUCCEEDS(end_of_capture(stream));
  EQUAL(count_refusals(), 0);
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  SUCCEEDS(cuThreadExchangeStreamCaptureMode(&mode));
  EQUAL(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

SCENARIO(first_calls_beside_a_capture_of_another_thread) {
  SUCCEEDS(make_current(0));
  const CUstream stream = capturing_stream();
  run_in_thread([] { run_on(0); });
  SUCCEEDS(end_of_capture(stream));
  EQUAL(count_refusals(), 0);
}

// A thread of autograd has no CUDA context, so its calls fail until make_current().
SCENARIO(a_thread_without_a_context) {
  run_on(0);
  fake_forget();
  run_in_thread([] {
    Device device;
    EQUAL(current_device(device), CUDA_ERROR_INVALID_CONTEXT);
    CUfunction kernel = nullptr;
    EQUAL(load_step_kernel(MapType::float32, 4, true, kernel), CUDA_ERROR_INVALID_CONTEXT);
    run_on(0);
  });
  EQUAL(fake_count("cuDevicePrimaryCtxRetain 0 "), 1);
  EQUAL(fake_count("cuModule"), 0);
}

SCENARIO(entering_twice_changes_nothing) {
  SUCCEEDS(make_current(0));
  fake_forget();
  SUCCEEDS(make_current(0));
  EQUAL(fake_count("cuDevicePrimaryCtxRetain "), 0);
  EQUAL(fake_count("cuCtxSetCurrent "), 0);
  EQUAL(make_current(1), CUDA_ERROR_INVALID_DEVICE);
}

// A GPU of compute capability 8.9 cannot run the code for 8.7, so it must load the code for 8.6.
SCENARIO(the_second_gpu_first) {
  Device device;
  SUCCEEDS(make_current(1));
  SUCCEEDS(current_device(device));
  EQUAL(device.capability, 90);
  run_everything(new_stream());
  EQUAL(fake_count("cuModuleLoadData sm_90 @1 "), 2);
  SUCCEEDS(make_current(0));
  SUCCEEDS(current_device(device));
  EQUAL(device.capability, 86);  // of the loaded code, not of the GPU
  run_everything(new_stream());
  EQUAL(fake_count("cuModuleLoadData sm_86 @2 "), 2);
  EQUAL(fake_count("cuModuleLoadData "), 4);
  fake_forget();
  run_on(1);
  EQUAL(fake_count("cuModule"), 0);
  EQUAL(count_refusals(), 0);
}

SCENARIO(two_threads_on_two_gpus) {
  auto work = [](int gpu) {
    SUCCEEDS(make_current(gpu));
    const CUstream stream = new_stream();
    for (int i = 0; i < 3; ++i) run_everything(stream);
  };
  std::thread first(work, 0), second(work, 1);
  first.join(), second.join();
  EQUAL(fake_count("cuLaunchKernelEx "), 2 * 3 * kLaunches);
  EQUAL(fake_count("cuModuleLoadData "), 4);
  EQUAL(count_refusals(), 0);
}

SCENARIO(many_threads_load_one_kernel_once) {
  SUCCEEDS(make_current(0));
  fake_forget();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back(run_on, 0);
  for (std::thread& thread : threads) thread.join();
  EQUAL(fake_count("cuModuleLoadData "), 2);
  EQUAL(fake_count("cuModuleGetFunction pack_bf16 "), 1);
  EQUAL(fake_count("cuFuncSetAttribute pack_bf16 "), 1);
  EQUAL(count_refusals(), 0);
}

SCENARIO(a_context_made_again_at_the_same_address) {
  SUCCEEDS(make_current(0));
  CUcontext before = nullptr, after = nullptr;
  SUCCEEDS(cuCtxGetCurrent(&before));
  run_everything(new_stream());
  SUCCEEDS(cuDevicePrimaryCtxReset(0));
  fake_forget();
  SUCCEEDS(make_current(0));
  SUCCEEDS(cuCtxGetCurrent(&after));
  EQUAL(before, after);
  run_everything(new_stream());
  EQUAL(fake_count("cuModuleLoadData sm_90 @2 "), 2);
  EQUAL(fake_count("cuLaunchKernelEx "), kLaunches);
}

// One file did not compile for 10.0 (BROKEN in test_host_code.py). All other code is that for 10.0.
SCENARIO(ptx_in_place_of_a_file_left_out) {
  SUCCEEDS(make_current(0));
  Device device;
  SUCCEEDS(current_device(device));
  EQUAL(device.capability, 100);
  run_everything(new_stream());
  EQUAL(fake_count("cuModuleLoadData sm_100 @1 "), 1);
  EQUAL(fake_count("cuModuleLoadData compute_90 @1 "), 1);
  EQUAL(count_refusals(), 0);
}

// Code for 8.0 has kernels for clusters, but they do nothing.
SCENARIO(no_clusters_by_ptx_for_8_0) {
  SUCCEEDS(make_current(0));
  EQUAL(resident_plan(false, 4).tiling.blocks, 1);
  EQUAL(fake_count("cuModuleLoadData compute_80 @1 "), 1);
}

void check_the_step_path() {
  SUCCEEDS(make_current(0));
  Device device;
  SUCCEEDS(current_device(device));
  Plan chosen;
  const Problem problem{Format::bf16, false, kHidden, 2, 63, 32, kBatch, kDirections, 4};
  SUCCEEDS(plan_on_current_device(problem, device, {}, chosen));
  EQUAL(chosen.describe(),
      "step path: no code of the kernels of hidden size 64, 2 taps and lines of 32 cells runs on this GPU "
      "(pixelrnn_ext.build_config() says what the build left out)");
  run_steps(4, new_stream());
}

SCENARIO(steps_in_place_of_a_file_left_out) {
  check_the_step_path();
  EQUAL(fake_count("cuModuleLoadData "), 1);
  bool has = true;  // no made-up file has the sampler's kernels
  SUCCEEDS(has_column_kernels(has));
  EQUAL(has, false);
  EQUAL(count_refusals(), 0);
}

// The driver is asked once to compile the PTX, although each of the file's kernels needs it.
SCENARIO(steps_in_place_of_ptx_that_the_driver_cannot_compile) {
  check_the_step_path();
  EQUAL(fake_count("cuModuleLoadData "), 2);
  EQUAL(count_refusals(), 1);
}

// A GPU of 13.0 runs the PTX for 12.0, if its driver is not older than the compiler.
SCENARIO(ptx_that_an_older_driver_cannot_read) {
  SUCCEEDS(make_current(0));
  std::string why;
  try {
    Device device;
    current_device(device);
  } catch (const std::runtime_error& error) { why = error.what(); }
  EQUAL(why,
      "pixelrnn_ext: expected a driver for CUDA 12.9 or later, because a GPU of compute capability 13.0 runs PTX here, "
      "got one for CUDA 12.8: update NVIDIA's driver, or install where this GPU is visible");
  EQUAL(fake_count("cuModuleLoadData "), 0);
}

}  // namespace

int main(int, char** arguments) {
  scenarios().at(arguments[1])();
  return 0;
}
