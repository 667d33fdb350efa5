"""Tests that the other tests would find any fault in a resident kernel's synchronisation.

The emulator breaks one instruction of a kernel, such as a barrier. For every broken kernel (mutant), it must report an
error, or the results must be wrong.
"""

from functools import partial

import pytest
import torch

from emulator import build_cache
from helpers.emulated import library
from helpers.scans import LAYER_OPTIONS, Problem
from kernel_costs.kernel_list import kernels

from ..bounds import EMULATED
from ..gpus import Gpu
from ..kernel_paths import hidden_sizes

pytestmark = pytest.mark.emulated

# Faults in the communication between a cluster's blocks: (instruction, how it is broken).
CLUSTER_MUTANTS = {
    ("cluster arrive", "dropped"), ("cluster wait", "dropped"), ("peer address", "rank_0"),
    *(("mbarrier init", mode) for mode in ("dropped", "less", "more")), ("mbarrier fence", "dropped"),
    *(("mbarrier arrive", mode) for mode in ("dropped", "other", "less", "more")),
    *(("mbarrier wait", mode) for mode in ("dropped", "other", "parity", "block_scope")),
    *(("store to a peer", mode) for mode in ("dropped", "other")),
}  # fmt: skip

# {gates: [(layer, hidden size / smallest hidden size, height, width)]}. A test uses the first scan that its kernel can
# compute.
SCANS = {
    4: [
        ("bilstm", 1, 26, 3), ("bilstm", 1, 12, 3), ("row1", 1, 4, 26),
        ("bilstm", 2, 4, 3), ("row1", 1, 4, 2), ("row3", 1, 4, 12),
    ],
    5: [("stable", 1, 26, 3), ("stable", 1, 12, 3), ("stable", 2, 4, 3)],
}  # fmt: skip


class Launch:
    """A launch of a kernel, and the expected results. ``exists`` is false if the kernel can compute none of SCANS."""

    def __init__(self, emulated, kernel, blocks):
        # A forward kernel with several tiles for each warp gets only one group of warps here. Several groups would
        # divide a long line among themselves, and a warp would not compute all its tiles.
        path = f"auto:{kernel.suffix}:{blocks}:{1 if not kernel.backward and kernel.tiles_or_units > 1 else ''}"
        self.format, ops = kernel.format, emulated.ops
        self.exists = False
        for layer, factor, *size in SCANS[kernel.gates]:
            if not (smallest := hidden_sizes(kernel, blocks, LAYER_OPTIONS[layer].taps)):
                continue
            hidden = factor * smallest[0]
            corners = (0, 3) if kernel.gates == 5 else None
            problem = Problem(kernel.format, layer, hidden, (1, *size), corners=corners, merge="none", input=False)
            plan = problem.plan(ops, "sm_90", path)[kernel.backward]
            self.exists = plan.startswith(f"{kernel.name}: {blocks} block")
            if self.exists:
                break
        else:
            return
        exact, s = problem.scan(torch.float64, "step"), problem.scan(path=path)
        self.expected = ops.recurrence(*exact)
        self.launch = partial(ops.recurrence, *s)
        if kernel.backward:
            gate_type = torch.float16 if problem.dtype.itemsize == 2 else torch.float32
            saved = self.expected[1].float(), self.expected[2].to(gate_type)
            exact_operands = (t.double() for t in (problem.cotangent, *saved))
            self.expected = ops.recurrence_backward(*exact_operands, *exact)
            self.launch = partial(ops.recurrence_backward, problem.cotangent, *saved, *s)

    def is_wrong(self):
        try:
            got = self.launch()
        except RuntimeError as error:
            assert "emulator: " in str(error), error
            return True
        return any(not (a - b).norm() <= 4 * EMULATED[self.format] * a.norm() for a, b in zip(self.expected, got))


@pytest.mark.parametrize("kernel", [*kernels(), *kernels(5)], ids=lambda kernel: kernel.name)
def test_every_mutant_is_caught(kernel):
    emulated = library.load("sm_90")
    emulator = emulated.emulator
    mutants = [(site, mode) for site in emulator.sites(kernel.name) for mode in site.modes]
    kinds = {site.instruction for site, _ in mutants}
    assert "block barrier" in kinds
    assert (kernel.kind != "single") == (CLUSTER_MUTANTS <= {(site.instruction, mode) for site, mode in mutants})
    assert kernel.kind != "single" or not {kind for kind, _ in CLUSTER_MUTANTS} & kinds
    reached, survivors = set(), []
    launches = {blocks: launch for blocks in kernel.blocks if (launch := Launch(emulated, kernel, blocks)).exists}
    assert len(launches) >= min(2, len(kernel.blocks))
    emulator.set_schedule("burst")
    try:
        for blocks, launch in launches.items():
            emulator.clear_mutations()
            assert not launch.is_wrong(), "the kernel itself"
            for site, mode in mutants:
                emulator.mutation_reached()
                emulator.mutate(kernel.name, site.number, mode)
                wrong = launch.is_wrong()
                emulator.clear_mutations()
                if emulator.mutation_reached():
                    reached.add((site, mode))
                    if not wrong:
                        survivors.append((blocks, site.number, site.place, site.instruction, mode))
    finally:
        emulator.clear_mutations()
    assert survivors == []
    # If not every number of blocks is launched, instructions that address other blocks may not be reached.
    unreached = {site.instruction for site, _ in set(mutants) - reached}
    allowed = set() if launches.keys() == set(kernel.blocks) else {"peer address", "store to a peer"}
    assert unreached <= allowed, "not reached"


# The index of a hidden state in step.cuh. The shape is [images][pixels][directions][hidden].
JOINED = "((int64_t(image) * s.pixels + here) * s.directions + direction) * s.hidden + unit"
WRONG = {
    "the first direction's": JOINED.replace(" + direction)", ")"),
    "the other direction's": JOINED.replace("+ direction)", "+ (s.directions - 1 - direction))"),
    "not joined": "pixel * s.hidden + unit",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_index_of_the_joined_states_is_caught(wrong):
    folder = library.CSRC / "cuda" / "scan"
    header, kernels = ((folder / name).read_text() for name in ("step.cuh", "step_kernels.cu"))
    assert JOINED in header
    source = header.replace(JOINED, WRONG[wrong]) + kernels.replace('#include "step.cuh"', "")
    source = source.replace('#include "', f'#include "{folder}/')
    path = build_cache.folder() / f"step_{build_cache.hash_of(source)}.cu"
    build_cache.write(path, source)
    loaded = library.load(step_kernels=path)
    gpu = Gpu("sm_90", loaded.ops, "cpu", loaded.emulator)
    for merge in ("none", "sum"):
        with pytest.raises((AssertionError, RuntimeError)):
            gpu.compare(Problem("fp32", "bilstm", 5, (2, 3, 4), merge=merge), "step")
