// How a kernel's address reaches host code: every kernel NAME(Args) of this folder has an `extern "C" const void* const
// NAME_entry`, which launch() takes. Host code therefore needs no CUDA compiler.
#pragma once

#define PIXELRNN_DECLARE_ENTRY(name) extern "C" const void* const name##_entry

#if defined(__CUDACC__)
#define PIXELRNN_DEFINE_ENTRY(name, Args) \
  extern "C" const void* const name##_entry = reinterpret_cast<const void*>(name)
#else  // run by tests/emulator
#define PIXELRNN_DEFINE_ENTRY(name, Args)                                             \
  static void name##_run(const void* args) { name(*static_cast<const Args*>(args)); } \
  extern "C" const void* const name##_entry = reinterpret_cast<const void*>(name##_run)
#endif
