"""Tests the host code of the CUDA kernels with a fake driver, which refuses what NVIDIA's driver refuses."""

import json
import os
import re
import subprocess

import pytest

from helpers import child
from pixelrnn_ext.operators.library import BUILD, why_no_cuda

from . import library as fake_driver

pytestmark = [pytest.mark.sweep, fake_driver.needs_fake_driver]

SCENARIOS = re.findall(r"^SCENARIO\((\w+)\)", (fake_driver.HERE / "host_code.cpp").read_text(), re.MULTILINE)
TWO_GPU_SCENARIOS = ["the_second_gpu_first", "two_threads_on_two_gpus"]
# {scenario: the compute capabilities for which the file of resident kernels did not compile}, on a GPU of 10.0. -90
# means PTX for 9.0 that the driver cannot compile.
BROKEN = {
    "ptx_in_place_of_a_file_left_out": (100,),
    "no_clusters_by_ptx_for_8_0": (90, 100),
    "steps_in_place_of_a_file_left_out": (75, 80, 86, 87, 90, 100, 120),
    "steps_in_place_of_ptx_that_the_driver_cannot_compile": (100, -90),
}


def run(scenario, folder, flags=()):
    (folder / "libcuda.so.1").symlink_to(fake_driver.build_driver(flags=flags))
    settings = {"FAKE_GPUS": "8.9 9.0" if scenario in TWO_GPU_SCENARIOS else "10.0" if scenario in BROKEN else "9.0"}
    if scenario == "ptx_that_an_older_driver_cannot_read":
        settings = {"FAKE_GPUS": "13.0", "FAKE_CUDA_VERSION": "12080"}
    environment = os.environ | fake_driver.library_path(folder) | settings
    command = [fake_driver.build_host_code(flags, BROKEN.get(scenario, ())), scenario]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{scenario}\n{done.stdout[-5000:]}{done.stderr[-20000:]}"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_host_code(scenario, tmp_path):
    run(scenario, tmp_path)


@pytest.mark.parametrize("scenario", ["two_threads_on_two_gpus", "many_threads_load_one_kernel_once"])
def test_threads_do_not_race(scenario, tmp_path):
    run(scenario, tmp_path, flags=("-fsanitize=thread",))


# Compute capabilities of a release for x86-64 (RELEASED in setup.py).
RELEASED = {"7.5", "8.0", "8.6", "9.0+PTX", "10.0", "12.0+PTX"}
ARCHS = BUILD["cuda_archs"] or ""
BUILT = set(ARCHS.split(";"))
# {compute capability: the code of a release that this GPU loads}. sm_ is machine code, compute_ is PTX.
CODE = {
    "7.0": None, "7.2": None, "7.5": "sm_75", "8.0": "sm_80", "8.6": "sm_86", "8.7": "sm_87", "8.9": "sm_86",
    "9.0": "sm_90", "10.0": "sm_100", "10.1": "compute_90", "10.3": "sm_100", "11.0": "compute_90", "12.0": "sm_120",
    "12.1": "sm_120", "13.0": "compute_120",
}  # fmt: skip
NO_CODE = (
    "expected a GPU of a compute capability that the kernels were built for "
    f"({ARCHS.replace(';', ', ').replace('+PTX', ' (and later)')}), got {{}}"
)


def expected_answers(gpu):
    code = CODE[gpu] if gpu != "8.7" or gpu in BUILT else None
    if code is None:
        return NO_CODE.format(gpu), f"pixelrnn_ext: {NO_CODE.format(gpu)}", []
    if gpu == "7.5":
        return "", "step path: expected a GPU of compute capability 8.0 or later, got 7.5", []
    return "", "a resident kernel", [code]


def shortened(answer):
    why, plan, loaded = answer
    for pattern, text in {"none: .*": "none: ...", "^forward_.*": "a resident kernel"}.items():
        why, plan = re.sub(pattern, text, why), re.sub(pattern, text, plan)
    return why, plan, sorted(set(loaded))


# One process imports torch, which takes long, and forks for each case.
@pytest.mark.skipif(why_no_cuda() is not None, reason=f"{why_no_cuda()}")
@pytest.mark.skipif(not BUILT >= RELEASED, reason=f"expected a build for all GPUs, got one for {sorted(BUILT)}")
def test_what_the_library_says_and_loads(tmp_path):
    """describe_current_plan() must describe the first of two GPUs."""
    says = {
        ("none", ""): "expected NVIDIA's driver, got none: ...",
        ("old", "9.0"): "expected NVIDIA's driver 525 or later, got one without cuCtxGetId",
        ("fake", ""): "expected a GPU, but NVIDIA's driver says: no CUDA-capable device is detected",
    }
    expected = {driver: (text, f"pixelrnn_ext: {text}", []) for driver, text in says.items()}
    expected |= {("fake", gpu): expected_answers(gpu) for gpu in CODE}
    expected |= {("fake", "7.0 9.0"): ("", *expected_answers("7.0")[1:]), ("fake", "9.0 7.0"): expected_answers("9.0")}
    fake, old = (str(fake_driver.build_driver(without)) for without in ("", "cuCtxGetId"))
    paths = {"none": None, "fake": fake, "old": old}
    (tmp_path / "libcuda.so.1").touch()
    cases = json.dumps([(paths[driver], gpus) for driver, gpus in expected])
    environment = child.environment() | fake_driver.library_path(tmp_path)
    command = fake_driver.HERE / "ask_library.py", tmp_path, cases
    done = child.python(*command, cwd=tmp_path, env=environment, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    answers = [shortened(json.loads(line)) for line in done.stdout.splitlines()]
    assert dict(zip(expected, answers, strict=True)) == expected
