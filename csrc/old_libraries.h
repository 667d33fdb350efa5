// Binds functions of the C library to their oldest versions. A linker on a newer system would choose the newest
// versions. setup.py includes this file first in a build for manylinux_2_28 (glibc 2.28 and the libstdc++ of GCC 8).
#pragma once
#include <features.h>

#if defined(__aarch64__)
#define PIXELRNN_FIRST "GLIBC_2.17"
#else
#define PIXELRNN_FIRST "GLIBC_2.2.5"
#endif
// Newer versions exist of exp since glibc 2.29, and of dlopen, dlsym and dlerror since glibc 2.34.
asm(".symver exp,exp@" PIXELRNN_FIRST);
asm(".symver dlopen,dlopen@" PIXELRNN_FIRST);
asm(".symver dlsym,dlsym@" PIXELRNN_FIRST);
asm(".symver dlerror,dlerror@" PIXELRNN_FIRST);
