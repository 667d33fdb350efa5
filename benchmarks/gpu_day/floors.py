"""Lower bounds in microseconds for a scan of one direction on an H100 SXM, to compare measurements with.

The bounds model latency, arithmetic and memory traffic. Backward includes the weight's gradient.
"""

from typing import NamedTuple


class Floor(NamedTuple):
    forward: float
    backward: float


class CaseFloors(NamedTuple):
    by_precision: dict[str, Floor]
    required: bool  # whether the targets apply


FORWARD_TARGET, BACKWARD_TARGET = 2.0, 2.5  # largest ratios to the floor
LOOP_TARGET = 50.0  # least speed-up over the eager loop, forward plus backward
LSTM_TARGET = 1.0  # largest ratio to cuDNN's LSTM on equal work
# The largest ratios of LSTM2d's times: five gates over four gates, four directions over one, and ragged images over
# padded images. The longest ragged image fills the map.
GATES_TARGET, DIRECTIONS_TARGET, RAGGED_TARGET = 1.35, 1.25, 1.1


def _case(fp32, tf32, bf16, required=True):
    by_precision = {"fp32": Floor(*fp32), "tf32": Floor(*tf32), "bf16": Floor(*bf16), "fp16": Floor(*bf16)}
    return CaseFloors(by_precision, required)


# fp16 runs as fast as bf16. The 16-bit weights of the 32x32 h128 diagonal do not fit in one block, so its floor assumes
# a cluster of blocks, whose barrier takes longer.
FLOORS = {
    "diagonal B16 28x28 h16": _case((12, 18), (12, 18), (12, 17)),
    "row k=3 B16 28x28 h16": _case((6, 10), (6, 10), (6, 9)),
    "diagonal B16 32x32 h128": _case((64, 128), (25, 43), (25, 36)),
    "row k=3 B16 32x32 h128": _case((96, 192), (25, 38), (13, 22)),
    "diagonal B64 64x64 h256": _case((4100, 8200), (800, 1360), (400, 680), required=False),
    "row k=3 B64 64x64 h256": _case((6150, 12300), (830, 1670), (420, 830), required=False),
}
