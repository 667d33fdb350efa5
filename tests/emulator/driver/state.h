#pragma once
#include <cuda.h>

#include <deque>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "code.h"
#include "gpus.h"
#include "runtime.h"

namespace emulator {

// A GPU's primary context. A device reset changes `number`, but not the address.
struct Context {
  int device = 0;
  unsigned long long number = 0;  // 0 if there is no context now
};
struct Module {
  unsigned long long context;
  Code code;
};
struct Function {
  unsigned long long context;
  std::string kernel;
  const Translated* translated;  // null if a launch runs nothing
  int static_shared;
  int max_dynamic = kSharedWithoutOptIn - static_shared;
};
struct Stream { unsigned long long context; };
struct Capture {
  std::thread::id thread;
  CUstreamCaptureMode mode;
  bool broken = false;
};

inline constexpr const char* schedule_names[] = {"forward", "reverse", "random", "burst", "starve"};

struct State {
  bool initialised = false;
  unsigned long long contexts_made = 0;
  std::deque<Context> contexts;  // a thread keeps a pointer to its context
  std::map<CUstream, Capture> captures;
  std::vector<std::string> calls;
  Launch launch;         // settings for later launches
  int extra_shared = 0;  // bytes added to every kernel's static shared memory
  std::mutex mutex;
};
inline State& the_state() {
  static State one;
  return one;
}
struct Thread {
  Context* context = nullptr;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::string invalid_value;  // text for CUDA_ERROR_INVALID_VALUE of the current call
};
inline thread_local Thread this_thread;

// The precondition of a driver function. A function with the precondition `loading` loads code, so it needs a context.
// No stream capture may forbid loading at that time.
enum class Needs { nothing, initialisation, context, loading };

// A call of a driver function. The class locks the emulated driver's state during the call, and checks the function's
// precondition. It records the call as "FUNCTION DETAILS @CONTEXT", with " -> ERROR" on failure.
class Call {
 public:
  Call(const char* function, Needs needs) {
    line_ << function;
    this_thread.invalid_value = "invalid argument";
    if (needs == Needs::nothing) return;
    if (!state_.initialised) refused_ = result(CUDA_ERROR_NOT_INITIALIZED);
    else if (needs == Needs::initialisation) return;
    else if (!context_) refused_ = result(CUDA_ERROR_INVALID_CONTEXT);
    else if (!context_->number) refused_ = result(CUDA_ERROR_CONTEXT_IS_DESTROYED);
    else if (needs == Needs::loading && (refused_ = check_loading())) result(refused_);
  }
  CUresult refused() const { return refused_; }
  CUresult result(CUresult error = CUDA_SUCCESS) {
    if (context_ && context_->number) line_ << " @" << context_->number;
    if (error) line_ << " -> " << error;
    // A library with translated kernels records no calls, because the list of calls would grow too long.
    if (translated_kernels().empty()) state_.calls.push_back(line_.str());
    return error;
  }
  template <class T> Call& operator<<(const T& detail) {
    line_ << ' ' << detail;
    return *this;
  }
  State& state() { return state_; }
  Context& context() { return *context_; }
  const Gpu& gpu() { return gpus()[context_->device]; }

 private:
  State& state_ = the_state();
  const std::lock_guard<std::mutex> lock_{state_.mutex};
  Context* const context_ = this_thread.context;
  CUresult refused_ = CUDA_SUCCESS;
  std::ostringstream line_;

  // Refuses to load code during a stream capture, as documented for cuThreadExchangeStreamCaptureMode.
  CUresult check_loading() {
    if (this_thread.mode == CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_SUCCESS;
    CUresult error = CUDA_SUCCESS;
    for (auto& [stream, capture] : state_.captures) {
      const bool here = capture.thread == std::this_thread::get_id() && capture.mode != CU_STREAM_CAPTURE_MODE_RELAXED;
      const bool anywhere =
          this_thread.mode == CU_STREAM_CAPTURE_MODE_GLOBAL && capture.mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
      if (!here && !anywhere) continue;
      capture.broken = true;
      error = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return error;
  }
};

}  // namespace emulator
