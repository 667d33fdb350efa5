// Each refusal of the fake driver, which is asked directly: a test of host code over a driver that takes everything
// would show nothing. The GPUs are of 9.0, 8.0, 8.7 and 8.9.
#include <cuda.h>

#include <thread>

#include "check.h"
#include "code.h"

namespace {

constexpr int kOptIn = 227 << 10;  // bytes of a block of 9.0

CUcontext enter(int gpu) {
  CUcontext context = nullptr;
  SUCCEEDS(cuDevicePrimaryCtxRetain(&context, gpu));
  SUCCEEDS(cuCtxSetCurrent(context));
  return context;
}

CUmodule load(int capability) {
  static const std::string code90 = fake::make_machine_code(90, {"kernel"}),
                           code80 = fake::make_machine_code(80, {"kernel"});
  CUmodule module = nullptr;
  SUCCEEDS(cuModuleLoadData(&module, (capability == 90 ? code90 : code80).data()));
  return module;
}

struct Launch {
  unsigned x = 1, y = 1, z = 1, threads = 32, shared = 0, cluster = 0;
  CUlaunchAttributeID attribute = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  CUstream stream = nullptr;

  CUresult operator()(CUfunction kernel) const {
    CUlaunchAttribute attributes{};
    attributes.id = attribute;
    attributes.value.clusterDim.x = cluster;
    attributes.value.clusterDim.y = attributes.value.clusterDim.z = 1;
    CUlaunchConfig config{};
    config.gridDimX = x, config.gridDimY = y, config.gridDimZ = z;
    config.blockDimX = threads, config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = shared, config.hStream = stream;
    config.attrs = &attributes, config.numAttrs = cluster > 0;
    int argument = 0;
    void* arguments[] = {&argument};
    return cuLaunchKernelEx(&config, kernel, arguments, nullptr);
  }
};

void check_before_initialisation() {
  int count = 0;
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  EQUAL(cuDeviceGetCount(&count), CUDA_ERROR_NOT_INITIALIZED);
  EQUAL(cuDevicePrimaryCtxRetain(&context, 0), CUDA_ERROR_NOT_INITIALIZED);
  EQUAL(cuModuleLoadData(&module, ""), CUDA_ERROR_NOT_INITIALIZED);
  SUCCEEDS(cuInit(0));
}

void check_devices_and_contexts() {
  int value = 0;
  CUdevice device = 0;
  CUmodule module = nullptr;
  EQUAL(cuDeviceGet(&device, 4), CUDA_ERROR_INVALID_DEVICE);
  EQUAL(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0), CUDA_ERROR_INVALID_VALUE);
  EQUAL(cuCtxGetDevice(&device), CUDA_ERROR_INVALID_CONTEXT);
  EQUAL(cuModuleLoadData(&module, ""), CUDA_ERROR_INVALID_CONTEXT);
  EQUAL(Launch()(nullptr), CUDA_ERROR_INVALID_CONTEXT);
}

void check_code() {
  CUmodule module = nullptr;
  auto machine_code = [&](int capability) {
    return cuModuleLoadData(&module, fake::make_machine_code(capability, {"kernel"}).data());
  };
  auto ptx = [&](int capability) { return cuModuleLoadData(&module, fake::make_ptx(capability, {"kernel"}).data()); };
  enter(0);
  for (int other : {75, 80, 89, 100, 120}) EQUAL(machine_code(other), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EQUAL(ptx(100), CUDA_ERROR_INVALID_PTX);
  EQUAL(cuModuleLoadData(&module, "no code at all"), CUDA_ERROR_INVALID_IMAGE);
  SUCCEEDS(machine_code(90));
  SUCCEEDS(ptx(75));
  CUfunction kernel = nullptr;
  EQUAL(cuModuleGetFunction(&kernel, module, "another_kernel"), CUDA_ERROR_NOT_FOUND);
  EQUAL(cuModuleGetFunction(&kernel, module, "kern"), CUDA_ERROR_NOT_FOUND);
  SUCCEEDS(cuModuleGetFunction(&kernel, module, "kernel"));
  enter(1);
  for (int other : {86, 87}) EQUAL(machine_code(other), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EQUAL(cuModuleGetFunction(&kernel, module, "kernel"), CUDA_ERROR_INVALID_HANDLE);
  enter(2);
  for (int other : {80, 86}) EQUAL(machine_code(other), CUDA_ERROR_NO_BINARY_FOR_GPU);
  SUCCEEDS(machine_code(87));
  SUCCEEDS(ptx(80));
  enter(3);
  EQUAL(machine_code(87), CUDA_ERROR_NO_BINARY_FOR_GPU);
  SUCCEEDS(machine_code(86));
}

CUfunction kernel_of(int gpu) {
  CUfunction kernel = nullptr;
  enter(gpu);
  SUCCEEDS(cuModuleGetFunction(&kernel, load(gpu == 0 ? 90 : 80), "kernel"));
  return kernel;
}

void check_launches() {
  const CUfunction kernel80 = kernel_of(1);
  CUstream stream80 = nullptr;
  SUCCEEDS(cuStreamCreate(&stream80, 0));
  Launch cluster;
  cluster.x = 16, cluster.cluster = 2;
  EQUAL(cluster(kernel80), CUDA_ERROR_INVALID_CLUSTER_SIZE);
  SUCCEEDS(Launch()(kernel80));

  const CUfunction kernel = kernel_of(0);
  auto launched = [&](auto change) {
    Launch launch;
    change(launch);
    return launch(kernel);
  };
  SUCCEEDS(launched([](Launch& l) { l.x = 0x7fffffff, l.y = l.z = 65535, l.threads = 1024, l.shared = 49136; }));
  EQUAL(launched([](Launch& l) { l.x = 0; }), CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([](Launch& l) { l.x = 0x80000000; }), CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([](Launch& l) { l.y = 0; }), CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([](Launch& l) { l.y = 65536; }), CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([](Launch& l) { l.z = 0; }), CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([](Launch& l) { l.z = 65536; }), CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([](Launch& l) { l.threads = 0; }), CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([](Launch& l) { l.threads = 1025; }), CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([](Launch& l) { l.shared = 49137; }), CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([](Launch& l) { l.x = 12, l.cluster = 8; }), CUDA_ERROR_INVALID_CLUSTER_SIZE);
  EQUAL(launched([](Launch& l) { l.x = 16, l.cluster = 16; }), CUDA_ERROR_INVALID_CLUSTER_SIZE);
  EQUAL(launched([](Launch& l) { l.cluster = 1, l.attribute = CU_LAUNCH_ATTRIBUTE_COOPERATIVE; }),
      CUDA_ERROR_INVALID_VALUE);
  EQUAL(launched([&](Launch& l) { l.stream = stream80; }), CUDA_ERROR_INVALID_HANDLE);
  EQUAL(Launch()(kernel80), CUDA_ERROR_INVALID_HANDLE);
  SUCCEEDS(launched([](Launch& l) { l.x = 16, l.cluster = 8; }));

  int value = 0;
  const auto dynamic = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
  EQUAL(cuFuncSetAttribute(kernel, dynamic, kOptIn), CUDA_ERROR_INVALID_VALUE);
  EQUAL(cuFuncSetAttribute(kernel, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, 1), CUDA_ERROR_INVALID_VALUE);
  EQUAL(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_BINARY_VERSION, kernel), CUDA_ERROR_INVALID_VALUE);
  EQUAL(cuFuncSetAttribute(kernel80, dynamic, 1), CUDA_ERROR_INVALID_HANDLE);
  SUCCEEDS(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kernel));
  SUCCEEDS(cuFuncSetAttribute(kernel, dynamic, kOptIn - value));
  SUCCEEDS(launched([=](Launch& l) { l.shared = kOptIn - value; }));
  EQUAL(launched([=](Launch& l) { l.shared = kOptIn - value + 1; }), CUDA_ERROR_INVALID_VALUE);
}

// Loading code, or asking about it, breaks a capture off unless the thread is in the relaxed mode.
void check_captures() {
  const CUfunction kernel = kernel_of(0);
  CUmodule module = nullptr;
  CUgraph graph = nullptr;
  CUstream stream = nullptr;
  int value = 0;
  SUCCEEDS(cuStreamCreate(&stream, 0));
  auto breaks = [&](CUstreamCaptureMode mode, auto call, CUresult error) {
    SUCCEEDS(cuStreamBeginCapture(stream, mode));
    EQUAL(call(), error);
    Launch launch;
    launch.stream = stream;
    EQUAL(launch(kernel), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    EQUAL(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  };
  const std::string code = fake::make_machine_code(90, {"kernel"});
  auto load = [&] { return cuModuleLoadData(&module, code.data()); };
  const auto global = CU_STREAM_CAPTURE_MODE_GLOBAL, local = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
  const CUresult refused = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  breaks(global, load, refused);
  breaks(local, load, refused);
  SUCCEEDS(load());
  CUfunction another = nullptr;
  breaks(global, [&] { return cuModuleGetFunction(&another, module, "kernel"); }, refused);
  breaks(global, [&] { return cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kernel); }, refused);
  breaks(
      global, [&] { return cuFuncSetAttribute(kernel, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 1); }, refused);
  breaks(global, [&] { return cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, kernel, 32, 0); }, refused);
  auto in_another_thread = [&](CUstreamCaptureMode mode) {
    CUresult error = CUDA_SUCCESS;
    std::thread([&] {
      enter(0);
      SUCCEEDS(cuThreadExchangeStreamCaptureMode(&mode));
      error = load();
    }).join();
    return error;
  };
  breaks(global, [&] { return in_another_thread(global); }, refused);
  breaks(global, [&] { return Launch()(kernel); }, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);

  SUCCEEDS(cuStreamBeginCapture(stream, global));
  SUCCEEDS(in_another_thread(CU_STREAM_CAPTURE_MODE_RELAXED));
  SUCCEEDS(cuStreamEndCapture(stream, &graph));
  EQUAL(cuStreamEndCapture(stream, &graph), CUDA_ERROR_ILLEGAL_STATE);
}

void check_a_destroyed_context() {
  const CUfunction kernel = kernel_of(0);
  SUCCEEDS(cuDevicePrimaryCtxReset(0));
  EQUAL(Launch()(kernel), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  enter(0);
  EQUAL(Launch()(kernel), CUDA_ERROR_INVALID_HANDLE);
}

}  // namespace

int main() {
  check_before_initialisation();
  check_devices_and_contexts();
  check_code();
  check_launches();
  check_captures();
  check_a_destroyed_context();
}
