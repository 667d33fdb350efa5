"""Lower bounds (floors) in microseconds for a scan of one direction on an H100 SXM.

The floors come from a model of latency, arithmetic and memory traffic. The backward includes the gradient of the
weight.
"""

from typing import NamedTuple


class Floor(NamedTuple):
    forward: float
    backward: float


class CaseFloors(NamedTuple):
    by_precision: dict[str, Floor]
    required: bool  # whether the targets below apply


FORWARD_TARGET, BACKWARD_TARGET = 2.0, 2.5  # upper limits of measured time / floor
LOOP_TARGET = 50.0  # lower limit of the speed-up over the loop in PyTorch, forward plus backward
LSTM_TARGET = 1.0  # upper limit of time / time of cuDNN's LSTM for equal work
# These are upper limits of three ratios of LSTM2d's times: five gates to four gates, four directions to one direction,
# and images of different sizes to images padded to one size.
GATES_TARGET, DIRECTIONS_TARGET, RAGGED_TARGET = 1.35, 1.25, 1.1


def _case(fp32, tf32, bf16, required=True):
    by_precision = {"fp32": Floor(*fp32), "tf32": Floor(*tf32), "bf16": Floor(*bf16), "fp16": Floor(*bf16)}
    return CaseFloors(by_precision, required)


# The floors of bf16 hold for fp16, too. The diagonal scan of 128 hidden units needs several blocks for its 16-bit
# weights, so its floor includes a cluster barrier.
FLOORS = {
    "diagonal B16 28x28 h16": _case((12, 18), (12, 18), (12, 17)),
    "row k=3 B16 28x28 h16": _case((6, 10), (6, 10), (6, 9)),
    "diagonal B16 32x32 h128": _case((64, 128), (25, 43), (25, 36)),
    "row k=3 B16 32x32 h128": _case((96, 192), (25, 38), (13, 22)),
    "diagonal B64 64x64 h256": _case((4100, 8200), (800, 1360), (400, 680), required=False),
    "row k=3 B64 64x64 h256": _case((6150, 12300), (830, 1670), (420, 830), required=False),
}
