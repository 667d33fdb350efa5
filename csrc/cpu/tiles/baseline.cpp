// The CPU kernels for the compiler's default instruction set.
#include "../kernels.h"
#define PIXELRNN_BASELINE
#define PIXELRNN_ISA baseline
#define PIXELRNN_VECTOR_BYTES 16
#define PIXELRNN_VECTOR_REGISTERS 16
#include "table.h"
