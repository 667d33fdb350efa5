// Host code knows a kernel by its entry: every kernel NAME(Args) of this folder has a NAME_entry, which launch() takes.
// That is its name, under which kernel_loader.cpp finds it. Host code therefore needs no CUDA compiler. Where
// tests/emulator runs the kernels, which are then functions of this process, it is the function's address.
#pragma once

#if defined(PIXELRNN_BY_NAME)  // setup.py
#define PIXELRNN_DECLARE_ENTRY(name) [[maybe_unused]] static constexpr char name##_entry[] = #name
#else
#define PIXELRNN_DECLARE_ENTRY(name) extern "C" const void* const name##_entry
#endif

#if defined(__CUDACC__)  // NVRTC, too
#define PIXELRNN_DEFINE_ENTRY(name, Args) static_assert(true)
#else
#define PIXELRNN_DEFINE_ENTRY(name, Args)                                             \
  static void name##_run(const void* args) { name(*static_cast<const Args*>(args)); } \
  extern "C" const void* const name##_entry = reinterpret_cast<const void*>(name##_run)
#endif
