// Binds functions of the C library to their oldest versions, because a linker would choose the newest ones. setup.py
// includes this file first in a build for manylinux_2_28 (glibc 2.28 and the libstdc++ of GCC 8).
#pragma once
#include <features.h>

#if defined(__aarch64__)
#define PIXELRNN_FIRST "GLIBC_2.17"
#else
#define PIXELRNN_FIRST "GLIBC_2.2.5"
#endif
// glibc 2.29 has a newer exp and log, and glibc 2.34 newer dlopen, dlsym and dlerror.
asm(".symver exp,exp@" PIXELRNN_FIRST);
asm(".symver log,log@" PIXELRNN_FIRST);
asm(".symver dlopen,dlopen@" PIXELRNN_FIRST);
asm(".symver dlsym,dlsym@" PIXELRNN_FIRST);
asm(".symver dlerror,dlerror@" PIXELRNN_FIRST);
