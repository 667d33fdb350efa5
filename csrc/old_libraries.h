// setup.py includes this file first in a build for manylinux_2_28 (glibc 2.28, libstdc++ of GCC 8). It binds functions
// to their oldest versions; a linker on a newer system would choose the newest.
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
