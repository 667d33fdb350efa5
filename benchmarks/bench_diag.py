"""Times the Diagonal LSTM's recurrence alone, and the DiagonalBiLSTM layer."""

import sys

from harness.command import main
from harness.requirements import Target
from pixelrnn_ext.benchmark.diagonal import CASES
from pixelrnn_ext.benchmark.problems import BASELINE, FLOOR, NATIVE

# In the first tuple, each number is the largest allowed ratio of our time for one case to the time of the matrix
# products alone. In the second tuple, each number is the least speed-up for one case over an efficient loop in PyTorch.
TARGETS = [
    *(
        Target(case, NATIVE, FLOOR, at_most=floor)
        for case, floor in zip(CASES, (1.2, 0.95, 0.9, 1.05, 1.3, 1.0, 0.9, 1.1))
    ),
    *(Target(case, NATIVE, BASELINE, faster=loop) for case, loop in zip(CASES, (11, 4.5, 4, 5))),
]

if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, CASES, TARGETS))
