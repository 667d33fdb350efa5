"""Prints environment variables that make torch's libraries and our kernels compute as on another processor.

    env $(python tests/repository/other_processors.py 2) pytest -n 2

The number selects a row of ENVIRONMENTS. `.ci/run` passes the number of commits, so that all rows are used in turn.
"""

import sys

from pixelrnn_ext.operators import library

NAMES = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "PIXELRNN_INSTRUCTION_SET",
    "OMP_NUM_THREADS",
)
ENVIRONMENTS = [
    ("default", "AVX512_CORE", "AVX2", "avx2", "1"),
    ("avx2", "SSE41", "AVX512", "avx512", "2"),
    ("avx512", "AVX2", "AVX2", "baseline", "1"),
    ("avx2", "AVX512_CORE", "AVX512", "avx512_bf16", "4"),
]


def environment(number):
    lacking = {"avx2", "avx512", "avx512_bf16"}.difference(library.instruction_sets())
    chosen = zip(NAMES, ENVIRONMENTS[number % len(ENVIRONMENTS)])
    variables = {name: value for name, value in chosen if not any(word in value.lower() for word in lacking)}
    # Idle OpenMP threads soon sleep, because pytest's processes share the cores.
    return variables | {"GOMP_SPINCOUNT": "1000"}


if __name__ == "__main__":
    print(*(f"{name}={value}" for name, value in environment(int(sys.argv[1])).items()))
