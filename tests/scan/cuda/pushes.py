"""Counts what blocks of a cluster store in each other's memory, for test_compiled_kernels.py.

The emulator sees the address of each store. A case counts the bytes that a block stores on one line whose cells are all
active, and the aligned segments of 128 bytes that the stores of a warp touch.
"""

from typing import NamedTuple

import torch

from helpers.scans import OPS, Problem


class Case(NamedTuple):
    """A pass of a Diagonal LSTM in a kernel of kernel_list.h, with ``images`` images of ``cells`` rows."""

    format: str
    backward: bool
    hidden: int
    cells: int
    suffix: str
    blocks: int
    images: int = 1

    @property
    def kernel(self):
        kind = "" if self.suffix.endswith("_images") else "_cluster"
        return f"{'backward' if self.backward else 'forward'}_{self.format}_{self.suffix}{kind}"


CASES = {
    "forward h64": Case("bf16", False, 64, 28, "4_1_256", 8),
    "forward h128": Case("bf16", False, 128, 32, "8_4_256", 8),
    "forward h128, 4 blocks": Case("bf16", False, 128, 32, "8_4_256", 4),
    "forward h128, 4 images": Case("bf16", False, 128, 32, "8_1_256_images", 8, 4),
    "forward h128 in tf32": Case("tf32", False, 128, 32, "8s_1_256", 8),
    "forward h128 in fp16": Case("fp16", False, 128, 32, "8_4_256", 8),
    "forward h128, 4 images in fp16": Case("fp16", False, 128, 32, "8_1_256_images", 8, 4),
    "backward h64": Case("bf16", True, 64, 28, "8_4_256", 4),
    "backward h128": Case("bf16", True, 128, 32, "8_4_256", 8),
}


def of_launch(emulated, case, width):
    """Returns how many bytes all blocks of a launch store in other blocks, and how many segments the stores touch."""
    problem = Problem(case.format, "diagonal", case.hidden, (case.images, case.cells, width), input=False)
    s = problem.scan(path=f"resident:{case.suffix}:{case.blocks}")
    plan = problem.plan(emulated.ops, "sm_90", s.path)[case.backward]
    assert plan.startswith(f"{case.kernel}: {case.blocks} blocks"), plan
    saved = []
    if case.backward:
        _, _, c, gates = OPS.scan(*problem.scan(torch.float64))
        saved = c.float(), gates.to(torch.float16 if problem.dtype.itemsize == 2 else torch.float32)
    emulated.emulator.profile()
    if case.backward:
        emulated.ops.recurrence_backward(problem.cotangent, *saved, *s)
    else:
        emulated.ops.recurrence(*s)
    costs = [cost for cost in emulated.emulator.profile() if cost.space == "peer"]
    return sum(cost.lanes * int(cost.bytes) for cost in costs), sum(cost.paid for cost in costs)


def count(emulated, case):
    """Returns the bytes and the segments of a block and line.

    A map that is wider by a pixel has one more line whose cells are all active.
    """
    few, more = (of_launch(emulated, case, case.cells + extra) for extra in (0, 1))
    return tuple((b - a) / case.blocks for a, b in zip(few, more))
