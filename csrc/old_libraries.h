// Included before everything else (setup.py) in a build for manylinux_2_28: for glibc 2.28 and the libstdc++ of GCC 8.
// It binds functions to their oldest versions, where the linker of a newer system would take its newest.
#pragma once
#include <features.h>

#if defined(__aarch64__)
#define PIXELRNN_FIRST "GLIBC_2.17"
#else
#define PIXELRNN_FIRST "GLIBC_2.2.5"
#endif
// glibc 2.29 changed how exp reports errors; glibc 2.34 moved dlopen, dlsym and dlerror to another library.
asm(".symver exp,exp@" PIXELRNN_FIRST);
asm(".symver dlopen,dlopen@" PIXELRNN_FIRST);
asm(".symver dlsym,dlsym@" PIXELRNN_FIRST);
asm(".symver dlerror,dlerror@" PIXELRNN_FIRST);
