// The state of the fake driver: contexts, modules, functions, streams, captures, and every call.
#pragma once
#include <cuda.h>

#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "code.h"
#include "gpus.h"

namespace fake {

// The primary context of a GPU. One that is made again after a reset has the address of the one before, and a new
// number.
struct Context {
  int device = 0;
  unsigned long long number = 0;  // 0: there is none
};
struct Module {
  unsigned long long context;
  Code code;
};
struct Function {
  unsigned long long context;
  std::string kernel;
  int most_dynamic = kSharedWithoutPermission - kStatic;
  static constexpr int kStatic = 16;  // bytes of the kernel's own shared memory
};
struct Stream { unsigned long long context; };
struct Capture {
  std::thread::id thread;
  CUstreamCaptureMode mode;
  bool broken = false;
};

struct State {
  bool initialised = false;
  unsigned long long contexts_made = 0;
  std::vector<Context> contexts;  // by GPU
  std::map<CUstream, Capture> captures;
  std::vector<std::string> calls;
};

// The state that a function of the driver needs, beside right arguments.
enum class Needs { nothing, initialisation, context, loading };

// One call of the driver: holds the lock of the state, refuses what every function refuses, and records the call as
// "FUNCTION DETAILS @CONTEXT", behind which " -> ERROR" stands where it was refused.
class Call {
 public:
  Call(const char* function, Needs);
  CUresult refused() const { return refused_; }
  CUresult result(CUresult);
  template <class T> Call& operator<<(const T& detail) {
    line_ << ' ' << detail;
    return *this;
  }
  State& state() { return state_; }
  Context& context() { return *context_; }
  const Gpu& gpu() { return gpus()[context_->device]; }

 private:
  CUresult refuse_loading();
  State& state_;
  const std::lock_guard<std::mutex> lock_;
  Context* context_ = nullptr;  // that is current in this thread
  CUresult refused_ = CUDA_SUCCESS;
  std::ostringstream line_;
};

struct Thread {
  Context* context = nullptr;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
};
extern thread_local Thread this_thread;

}  // namespace fake
