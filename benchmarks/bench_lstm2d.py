"""Times the LSTM2d layer, with one or four directions, beside an efficient loop in PyTorch and beside nn.LSTM layers.
The images of a batch have equal sizes, or different (ragged) sizes."""

import sys

from harness.command import main
from harness.lstm2d import CASES, FOUR_GATES, ONE_DIRECTION, PADDED, VARIANTS, area_fraction
from harness.requirements import Target
from pixelrnn_ext.benchmark.problems import BASELINE, NATIVE, Case


def targets(case: Case) -> list[Target]:
    """Five gates need 1.25 times the matrix products of four gates, so 1.3 times the time is allowed."""
    (directions, ragged), hidden = VARIANTS[case], case.size.hidden
    found = [Target(case, NATIVE, FOUR_GATES, at_most=1.3)]
    if directions == 4:
        found.append(Target(case, NATIVE, ONE_DIRECTION, at_most=4.1))
    if ragged:
        found.append(Target(case, NATIVE, PADDED, at_most=1.05 * area_fraction(case.size)))
    if hidden <= 64:
        found.append(Target(case, NATIVE, BASELINE, faster=5 if directions == 1 else 4))
    return found


TARGETS = [target for case in CASES for target in targets(case)]

if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, CASES, TARGETS))
