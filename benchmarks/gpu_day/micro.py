"""Measures what single instructions cost, and names the constants of the model that the microbenchmarks replace."""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from .run_micro import benchmarks, work
from .worker import Gone, TimedOut, Worker

COMPILING = 60.0  # seconds at most
TOGETHER = 30.0  # where none of them hangs
FLAGGED = 0.2  # of the model's value: what is further off is to be corrected there


class Constant(NamedTuple):
    """A constant of the model of a line (tests/sass_model/model.py), its value there, and what measures it."""

    name: str
    model: float
    cycles: str  # of the microbenchmarks
    what: str


# Blocks of 128 threads are one warp a scheduler, of 256 two.
CONSTANTS = [
    Constant("BLOCK_BARRIER", 25, "block_barrier_256", "bar.sync, 256 threads"),
    Constant("BLOCK_BARRIER", 25, "block_barrier_512", "bar.sync, 512 threads"),
    Constant("CLUSTER_BARRIER", 250, "cluster_barrier_relaxed_2", "arrive.relaxed and wait, 2 blocks"),
    Constant("CLUSTER_BARRIER", 250, "cluster_barrier_relaxed_8", "arrive.relaxed and wait, 8 blocks"),
    Constant("FENCE", 300, "cluster_barrier_release_2 - cluster_barrier_relaxed_2", "arrive.release over that, 2"),
    Constant("FENCE", 300, "cluster_barrier_release_8 - cluster_barrier_relaxed_8", "arrive.release over that, 8"),
    Constant("FENCE", 300, "cluster_release_stores_8 - cluster_relaxed_stores_8", "the same with stores in flight"),
    Constant("FENCE", 300, "fence", "fence.acq_rel.gpu, no stores in flight"),
    Constant("FENCE", 300, "fence_stores - stores", "fence.acq_rel.gpu, stores in flight"),
    Constant("TRANSFER", 250, "round_trip_2 / 2", "st.async, wait, load: half of there and back, 2 blocks"),
    Constant("TRANSFER", 250, "round_trip_8 / 2", "the same, four pairs in a cluster of 8"),
    Constant("TRANSFER", 250, "exchange_2", "every warp to every peer, 2 blocks of 256 threads"),
    Constant("TRANSFER", 250, "exchange_8", "every warp to every peer, 8 blocks of 256 threads"),
    Constant("LATENCY SYNCS", 30, "wait_cta", "arrive and try_wait.acquire.cta"),
    Constant("CCTL.IVALL", 0, "wait_cluster - wait_cta", "try_wait.acquire.cluster over it"),
    Constant("BRANCH", 8, "(branch_every_8 - branch_every_64) / (1 / 8 - 1 / 64)", "taken branch"),
    Constant("LATENCY HMMA", 33, "mma_16816_chains_1", "mma.sync.m16n8k16, each needs the one before"),
    Constant("LATENCY HMMA", 33, "mma_1688_chains_1", "mma.sync.m16n8k8 in tf32, each needs the one before"),
    Constant("PIPES tensor", 6, "mma_16816_chains_2 / 2", "mma.sync.m16n8k16, 2 chains"),
    Constant("PIPES tensor", 6, "mma_16816_chains_4 / 4", "mma.sync.m16n8k16, 4 chains"),
    Constant("PIPES tensor", 6, "mma_16816_chains_4_warps_2 / 8", "mma.sync.m16n8k16, 4 chains, 2 warps a scheduler"),
    Constant("PIPES tensor", 6, "mma_1688_chains_2 / 2", "mma.sync.m16n8k8, 2 chains"),
    Constant("PIPES tensor", 6, "mma_1688_chains_4 / 4", "mma.sync.m16n8k8, 4 chains"),
    Constant("PIPES tensor", 6, "mma_1688_chains_4_warps_2 / 8", "mma.sync.m16n8k8, 4 chains, 2 warps a scheduler"),
    Constant("LATENCY MUFU", 20, "ex2_chains_1", "ex2, each needs the one before"),
    Constant("PIPES special function", 8, "ex2_chains_4 / 4", "ex2, 4 chains"),
    Constant("PIPES special function", 8, "ex2_chains_4_warps_2 / 8", "ex2, 4 chains, 2 warps a scheduler"),
    Constant("LATENCY LDG", 300, "load_global", "ld.global.cg, a hit in L2"),
    Constant("LATENCY LDS", 29, "load_shared", "ld.shared"),
    Constant("LATENCY LDSM", 33, "load_matrix", "ldmatrix.x4"),
    Constant("LATENCY SHFL", 24, "shuffle", "shfl.sync"),
]
# The largest errors that CUDA's documentation promises, in units of the last place: csrc/cuda/primitives.cuh.
ERRORS = {"ex2_error": 2.0, "rcp_error": 1.0}


def constants(found: list[dict]) -> list[tuple[Constant, float | None]]:
    """The constants with what was measured of them; None where a microbenchmark of theirs has no result."""
    cycles = {entry["name"]: entry["cycles"] for entry in found if "cycles" in entry}

    def value(formula):
        formula = compile(formula, "CONSTANTS", "eval")
        return eval(formula, {}, cycles) if cycles.keys() >= set(formula.co_names) else None

    return [(constant, value(constant.cycles)) for constant in CONSTANTS]


def measure(architecture: str, seconds: float, report: Callable[[dict], None]) -> None:
    """Reports {"name", "status", "cycles" or "ulp", "note"} of every microbenchmark: one that fails costs no other.

    ``architecture`` is the GPU's, as in 9.0.
    """
    end, names = time.monotonic() + seconds, list(benchmarks())
    with tempfile.TemporaryDirectory() as folder, closing(Worker(work)) as worker:
        file = Path(folder) / "kernels.cubin"
        list(worker.ask((architecture, file, []), min(seconds, COMPILING)))
        while names and (left := end - time.monotonic()) >= 1:
            try:
                for event in worker.ask((architecture, file, list(names)), min(left, TOGETHER)):
                    report({"status": "ok", **event})
                    names.remove(event["name"])
            except Gone as error:
                if not names or (isinstance(error, TimedOut) and left <= TOGETHER):
                    break
                # The first without a result was running. In a process of their own, the others can go on.
                report({"name": names.pop(0), "status": "failed", "note": str(error)})
    for name in names:
        report({"name": name, "status": "not run", "note": "the time ran out"})
