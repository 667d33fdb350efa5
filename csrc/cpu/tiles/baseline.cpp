// Tiles for the compiler's default instruction set, with vectors that every processor has.
#include "../kernels.h"
#define PIXELRNN_ISA baseline
#define PIXELRNN_VECTOR_BYTES 16
#define PIXELRNN_VECTOR_REGISTERS 16
#include "table.h"
