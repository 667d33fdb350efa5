"""Tests how many threads the CPU kernels use, and that more threads than cores cost little."""

import inspect
import os
import sys
from pathlib import Path

import pytest
import torch

import pixelrnn_ext as px
from helpers import child

UNLIMITED = "max 100000"


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", 8),
        ("150000 100000", 2),
        ("200000 100000", 2),
        ("1000 100000", 1),
        ("1e-300 1e300", 1),
        ("900000 100000", 8),
        ("0 100000", 8),
        ("100000", 8),
        ("", 8),
    ],
)
def test_the_limit_of_a_control_group(core, tmp_path, limit, cores):
    write(tmp_path / "user/job", cpu__max=limit)
    assert core.limited_cores(8, "0::/user/job\n", str(tmp_path)) == cores
    quota, _, period = limit.replace("max", "-1").partition(" ")
    write(tmp_path / "cpu/user/job", cpu__cfs_quota_us=quota, cpu__cfs_period_us=period)
    assert core.limited_cores(8, "5:memory:/\n4:cpu,cpuacct:/user/job\n0::/\n", str(tmp_path)) == cores
    assert core.limited_cores(8, "4:cpuset:/user/job\n", str(tmp_path)) == 8


@pytest.mark.parametrize("limits", [(3, 5), (5, 3), (3, None), (None, 3)], ids=str)
def test_the_smallest_limit_of_all_parents_counts(core, tmp_path, limits):
    for folder, limit in zip((tmp_path, tmp_path / "user/job"), limits, strict=True):
        write(folder, cpu__max=f"{limit}00000 100000" if limit else UNLIMITED)
    assert core.limited_cores(8, "0::/user/job\n", str(tmp_path)) == 3
    assert core.limited_cores(8, "0::/unseen/in/a/container\n", str(tmp_path)) == (limits[0] or 8)


def test_small_scans_get_fewer_threads(core):
    """(diagonal, images, height, width, hidden) -> threads of 8."""
    threads = {
        (True, 1, 8, 8, 16): 1,
        (True, 1, 28, 28, 16): 3,  # lines of 14 cells, on average
        (True, 1, 32, 32, 128): 8,
        (False, 1, 4, 4, 8): 1,
        (True, 2, 64, 64, 1): 8,
        (True, 2, 2, 2000, 1): 2,  # short lines: each thread gets an image
        (True, 8, 2, 2000, 1): 8,
        (True, 16, 28, 28, 16): 8,
        (True, 16, 3, 3, 4): 1,
        (True, 0, 28, 28, 16): 1,
        (True, 1, 0, 28, 16): 1,
    }
    assert threads == {sizes: core.useful_threads(8, 1, *sizes) for sizes in threads}
    assert all(core.useful_threads(1, 1, *sizes) == 1 for sizes in threads)
    # If a loop wakes four threads for each core, a small scan is not worth a loop.
    assert [core.useful_threads(2, woken, True, 1, 28, 28, 16) for woken in (1, 2, 4)] == [2, 2, 1]
    assert core.useful_threads(2, 4, True, 1, 32, 32, 128) == 2


def bits_of_a_gradient():
    """Returns a value for 1 to 8 threads, which depends on the bits of a gradient."""
    torch.manual_seed(0)
    layer, x, values = px.RowLSTM(4, 16), torch.randn(4, 4, 20, 20), []
    for threads in range(1, 9):
        torch.set_num_threads(threads)
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), layer.weight_hh)
        values.append(gradient.view(torch.int32).sum().item())
    return values


def bits_in_a_child(folder, *, first="", **variables):
    source = inspect.getsource(bits_of_a_gradient)
    program = f"import os, torch, pixelrnn_ext as px\n{first}\n{source}\nprint(bits_of_a_gradient())"
    environment = child.environment(without=["OMP_NUM_THREADS"]) | variables
    run = child.python("-c", program, cwd=folder, env=environment)
    assert run.returncode == 0, run.stderr
    return eval(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="binds a process to a core")
def test_more_threads_than_cores_compute_as_one_for_each_core(core, tmp_path):
    affinity = os.sched_getaffinity(0)
    cores = min(8, core.limited_cores(len(affinity), Path("/proc/self/cgroup").read_text(), "/sys/fs/cgroup"))
    bits = bits_in_a_child(tmp_path)
    assert bits[cores:] == bits[cores - 1 : cores] * (8 - cores)
    assert cores == 1 or bits[0] != bits[1], "the bits of this gradient should depend on the number of threads"
    assert bits_in_a_child(tmp_path, first=f"os.sched_setaffinity(0, {{{min(affinity)}}})") == bits[:1] * 8
    if len(affinity) == os.cpu_count():
        # OpenMP binds the first thread to one core, but the other threads to the other cores.
        assert bits_in_a_child(tmp_path, OMP_PROC_BIND="true") == bits


SECONDS_ON_ONE_CORE = """
import os, time, torch, pixelrnn_ext as px
layer, x = px.DiagonalLSTM(4, 16), torch.randn(1, 4, 28, 28)
def seconds(threads):
    torch.set_num_threads(threads)
    layer(x)  # starts the threads, and lets the kernels count all cores
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), {min(os.sched_getaffinity(0))})
    start = time.process_time()
    for _ in range(20):
        layer(x).sum().backward()
    return time.process_time() - start
layer(x)
print(*(seconds(threads) for threads in (1, 2, 8)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="binds threads to a core")
def test_threads_that_share_a_core_do_not_wait_for_long(tmp_path):
    """Other processes may leave only one core for all threads. The kernels do not know this beforehand."""
    environment = child.environment(without=["OMP_NUM_THREADS"]) | {"GOMP_SPINCOUNT": "1000"}
    run = child.python("-c", SECONDS_ON_ONE_CORE, cwd=tmp_path, env=environment)
    assert run.returncode == 0, run.stderr
    one, *several = map(float, run.stdout.split())
    # All threads' processor time: about 2 to 3 times that of one thread. With 4096 spins, it was 13 and 80 times.
    assert max(several) < 7 * one
