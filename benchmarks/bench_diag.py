"""Times the Diagonal LSTM's recurrence alone, and the DiagonalBiLSTM layer, on a CPU or on a GPU."""

import sys

from harness.command import main
from harness.in_jax import with_jax
from harness.requirements import PeakTarget, Target, ThreadsTarget
from pixelrnn_ext.benchmark import diagonal
from pixelrnn_ext.benchmark.problems import BASELINE, NATIVE, NATIVE_BF16, NATIVE_NCHW

CASES = [with_jax(case, diagonal=True, taps=2) for case in diagonal.CASES]
RECURRENCES, LAYERS = (
    {(case.size.batch, case.size.hidden): case for case in CASES if ("layer" in case.kind) == is_layer}
    for is_layer in (False, True)
)
# The least speed-up over an efficient loop in PyTorch, by (images, hidden units).
OVER_LOOP = {(16, 16): 11, (16, 64): 4.5, (16, 128): 4, (1, 128): 5}
# The least share of the processor's peak of multiply-adds.
SHARES = {(16, 16): 0.55, (1, 16): 0.25, (1, 64): 0.7}
TARGETS = [
    *(Target(RECURRENCES[size], NATIVE, BASELINE, faster=faster) for size, faster in OVER_LOOP.items()),
    *(PeakTarget(LAYERS[size], share) for size, share in SHARES.items()),
    ThreadsTarget(LAYERS[1, 16], threads=2, against=1, faster=1.6),
    *(Target(case, NATIVE_NCHW, NATIVE, at_most=1.05) for case in LAYERS.values()),
    *(
        Target(case, NATIVE_BF16, NATIVE, at_most=0.65)
        for (batch, hidden), case in LAYERS.items()
        if batch == 16 and hidden >= 64
    ),
    *(ThreadsTarget(case, threads=8, against=2, at_most=1.5) for case in CASES),
]

if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, CASES, TARGETS, gpu_cases=diagonal.GPU_CASES))
