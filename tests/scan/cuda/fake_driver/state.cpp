#include "state.h"

#include "control.h"

namespace fake {
namespace {

std::mutex& mutex() {
  static std::mutex one;
  return one;
}
State& the_state() {
  static State one;
  return one;
}

}  // namespace

thread_local Thread this_thread;

Call::Call(const char* function, Needs needs) : state_(the_state()), lock_(mutex()), context_(this_thread.context) {
  line_ << function;
  if (needs == Needs::nothing) return;
  if (!state_.initialised) refused_ = result(CUDA_ERROR_NOT_INITIALIZED);
  else if (needs == Needs::initialisation) return;
  else if (!context_) refused_ = result(CUDA_ERROR_INVALID_CONTEXT);
  else if (!context_->number) refused_ = result(CUDA_ERROR_CONTEXT_IS_DESTROYED);
  else if (needs == Needs::loading && (refused_ = refuse_loading())) result(refused_);
}

// The rules of cuThreadExchangeStreamCaptureMode.
CUresult Call::refuse_loading() {
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

CUresult Call::result(CUresult error) {
  if (context_ && context_->number) line_ << " @" << context_->number;
  if (error) line_ << " -> " << error;
  state_.calls.push_back(line_.str());
  return error;
}

}  // namespace fake

const char* fake_calls() {
  static thread_local std::string text;
  const std::lock_guard<std::mutex> lock(fake::mutex());
  text.clear();
  for (const std::string& call : fake::the_state().calls) text += call + '\n';
  return text.c_str();
}
int fake_count(const char* beginning) {
  const std::lock_guard<std::mutex> lock(fake::mutex());
  int count = 0;
  for (const std::string& call : fake::the_state().calls) count += (call + ' ').rfind(beginning, 0) == 0;
  return count;
}
void fake_forget() {
  const std::lock_guard<std::mutex> lock(fake::mutex());
  fake::the_state().calls.clear();
}
