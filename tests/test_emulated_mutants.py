"""Every synchronisation of every resident kernel, and every address of a peer, is broken in turn: the checks must
object.

A mutant is a switch in the translated PTX (tests/emulator): no barrier, a block's barrier instead of the cluster's, an
arrival that releases nothing, no wait, no __syncwarp, the wrong peer, no push; of a barrier in shared memory too few or
too many arrivals or bytes, the other buffer's barrier, the other parity.
"""

import pytest
import torch

from emulated import library
from emulated.kernels import kernels
from scans import DTYPES, GEOMETRIES, REFERENCE, Problem, hidden_sizes
from test_emulated import RATIO

pytestmark = pytest.mark.emulated


# What breaks the exchange between blocks.
OF_CLUSTERS = {
    ("cluster arrive", "dropped"), ("cluster wait", "dropped"), ("peer address", "rank_0"),
    *(("transfer barrier", mode) for mode in ("dropped", "less", "more")), ("transfer barrier fence", "dropped"),
    *(("transfer arrive", mode) for mode in ("dropped", "other", "less", "more")),
    *(("transfer wait", mode) for mode in ("dropped", "other", "parity")),
    *(("store to a peer", mode) for mode in ("dropped", "other")),
}  # fmt: skip


class Launch:
    """One launch of a kernel, and what it should give."""

    def __init__(self, emulated, kernel, blocks):
        # A forward of several tiles has one group of warps and as long a line as it takes, so that every tile of a warp
        # is used.
        self.path = f"auto:{kernel.suffix}:{blocks}:{1 if not kernel.backward and kernel.own > 1 else ''}"
        self.format = kernel.format
        # Row LSTMs of one tap are for kernels whose registers take no more with so many blocks, short lines for those
        # whose threads have one cell, three taps for those that have weights in registers and in shared memory.
        for geometry, times, *size in (
            ("bilstm", 1, 26, 3), ("bilstm", 1, 12, 3), ("row1", 1, 4, 26),
            ("bilstm", 2, 4, 3), ("row1", 1, 4, 2), ("row3", 1, 4, 12),
        ):  # fmt: skip
            hidden = hidden_sizes(kernel, blocks, GEOMETRIES[geometry][1])[0]
            problem = Problem(kernel.format, geometry, times * hidden, 1, *size)
            plan = problem.plan(emulated.ops, "sm_90", self.path)[kernel.backward]
            self.exists = plan.startswith(f"{kernel.name}: {blocks} block")
            if self.exists:
                break
        else:
            return
        self.scan = problem.diagonal, problem.reverse
        i = {name: t.double() for name, t in problem.inputs.items()}
        h, c, gates = REFERENCE.line_scan(i["x"], i["weight"], i["h0"], i["c0"], None, None, None, 1, *self.scan)
        if kernel.backward:
            half = problem.dtype.itemsize == 2
            saved = c.float(), gates.to(torch.float16 if half else torch.float32)
            self.arguments = [problem.cotangent, problem.inputs["weight"], problem.inputs["c0"], *saved]
            self.operator = emulated.ops.recurrence_backward
            wide = problem.cotangent.double(), i["weight"], i["h0"], i["c0"], saved[0].double(), saved[1].double()
            self.expected = REFERENCE.line_scan_backward(*wide, *self.scan)[:1]
        else:
            self.arguments = [problem.inputs[name] for name in ("x", "weight", "h0", "c0")]
            self.operator, self.expected = emulated.ops.recurrence, (h, c, gates)

    def is_wrong(self):
        """Whether there is a report, or wrong numbers."""
        try:
            got = self.operator(*self.arguments, *self.scan, self.path, self.format == "tf32")[: len(self.expected)]
        except RuntimeError as error:
            assert "emulator: " in str(error), error
            return True
        return any(not (a - b).norm() <= 4 * RATIO[self.format] * a.norm() for a, b in zip(self.expected, got))


class Launch2d(Launch):
    """Of a kernel of cells of five gates, against the step path in float64."""

    def __init__(self, emulated, kernel, blocks):
        self.path = f"auto:{kernel.suffix}:{blocks}:{1 if not kernel.backward and kernel.own > 1 else ''}"
        self.format, self.scan, ops = kernel.format, ([0, 3], "stable"), emulated.ops
        for times, height in ((1, 26), (1, 12), (2, 4)):
            hidden, size = times * hidden_sizes(kernel, blocks, 2)[0], (height, 3)
            plan = ops.describe_plan(2, 1, *size, hidden, 2, True, kernel.format, 90, self.path, 5)[kernel.backward]
            self.exists = plan.startswith(f"{kernel.name}: {blocks} block")
            if self.exists:
                break
        else:
            return

        def draw(*shape, scale=1.0):
            return (scale * torch.randn(shape)).to(DTYPES[kernel.format])

        x, weight = draw(2, 1, *size, 5 * hidden), draw(2, 2, hidden, 5, hidden, scale=0.8 / (2 * hidden) ** 0.5)
        h0, c0, dh = draw(2, hidden), draw(2, hidden), draw(1, *size, 2, hidden)
        step = *self.scan, "step", False
        saved = ops.recurrence2d(x.double(), weight.double(), h0.double(), c0.double(), None, None, *step)
        if kernel.backward:
            c, gates = saved[1].float(), saved[2].to(torch.float16 if dh.itemsize == 2 else torch.float32)
            self.operator, self.arguments = ops.recurrence2d_backward, (dh, weight, c0, None, None, c, gates)
            wide = (None if t is None else t.double() for t in self.arguments)
            self.expected = ops.recurrence2d_backward(*wide, *step)
        else:
            self.operator, self.arguments, self.expected = ops.recurrence2d, (x, weight, h0, c0, None, None), saved


@pytest.mark.parametrize("kernel", [*kernels(), *kernels(5)], ids=lambda kernel: kernel.name)
def test_every_mutant_is_caught(kernel):
    emulated = library.load("sm_90")
    emulator = emulated.emulator
    mutants = [(site, mode) for site in emulator.sites(kernel.name) for mode in site.modes]
    kinds = {site.instruction for site, _ in mutants}
    assert "block barrier" in kinds
    assert (kernel.kind != "single") == (OF_CLUSTERS <= {(site.instruction, mode) for site, mode in mutants})
    assert kernel.kind != "single" or not {kind for kind, _ in OF_CLUSTERS} & kinds
    reached, survivors = set(), []
    of_family = Launch if kernel.gates == 4 else Launch2d
    launches = {blocks: launch for blocks in kernel.blocks if (launch := of_family(emulated, kernel, blocks)).exists}
    assert len(launches) >= min(2, len(kernel.blocks))
    emulator.schedule("burst")
    try:
        for blocks, launch in launches.items():
            emulator.mutate_none()
            assert not launch.is_wrong(), "the kernel itself"
            for site, mode in mutants:
                emulator.mutation_reached()
                emulator.mutate(kernel.name, site.number, mode)
                wrong = launch.is_wrong()
                emulator.mutate_none()
                if emulator.mutation_reached():
                    reached.add((site, mode))
                    if not wrong:
                        survivors.append((blocks, site.number, site.place, site.instruction, mode))
    finally:
        emulator.mutate_none()
    assert survivors == []
    # A kernel whose registers hold too little for 8 blocks, which have 64 units at least, never pushes to so many
    # peers.
    unreached = {site.instruction for site, _ in set(mutants) - reached}
    assert unreached <= (set() if launches.keys() == set(kernel.blocks) else {"peer address", "store to a peer"}), (
        "not reached"
    )
