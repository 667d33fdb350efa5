"""The library _C_cuda over drivers and GPUs that are not there: what it says, and which of its code it loads."""

import json
import re
import subprocess
import sys

import pytest

from helpers import child
from pixelrnn_ext.operators import library

from . import library as fake_driver

RELEASED = {"7.5", "8.0", "8.6", "9.0+PTX", "10.0", "12.0+PTX"}  # of setup.py, on x86-64
BUILT = set((library.BUILD["cuda_archs"] or "").split(";"))

pytestmark = [
    pytest.mark.sweep,  # compiles the driver
    fake_driver.needs_fake_driver,
    pytest.mark.skipif(library.why_no_cuda() is not None, reason=f"{library.why_no_cuda()}"),
    pytest.mark.skipif(
        not BUILT >= RELEASED, reason=f"expected a build for all GPUs, got one for {', '.join(sorted(BUILT))}"
    ),
]


def resident(code):
    return "", "a resident kernel", [code]


def nothing(says):
    return says, f"pixelrnn_ext: {says}", []


def no_code(gpu):
    return nothing(f"expected a GPU of a compute capability that the kernels were built for (...), got {gpu}")


# By driver and its GPUs, of which the first one is current: what why_no_gpu() and describe_plan() say, the code loaded.
EXPECTED = {
    ("none", ""): nothing("expected NVIDIA's driver, got none: ..."),
    ("old", "9.0"): nothing("expected NVIDIA's driver 525 or later, got one without cuCtxGetId"),
    ("fake", ""): nothing("expected a GPU, but NVIDIA's driver says: no CUDA-capable device is detected"),
    ("fake", "7.0"): no_code("7.0"),
    ("fake", "7.5"): ("", "step path: expected a GPU of compute capability 8.0 or later, got 7.5", []),
    ("fake", "8.0"): resident("sm_80"),
    ("fake", "8.6"): resident("sm_86"),
    ("fake", "8.7"): resident("sm_87") if "8.7" in BUILT else no_code("8.7"),
    ("fake", "8.9"): resident("sm_86"),
    ("fake", "9.0"): resident("sm_90"),
    ("fake", "10.0"): resident("sm_100"),
    ("fake", "10.3"): resident("sm_100"),
    ("fake", "11.0"): resident("compute_90"),
    ("fake", "12.0"): resident("sm_120"),
    ("fake", "12.1"): resident("sm_120"),
    ("fake", "13.0"): resident("compute_120"),
    ("fake", "7.0 9.0"): ("", no_code("7.0")[1], []),
    ("fake", "9.0 7.0"): resident("sm_90"),
}

SHORT = {r"none: .*": "none: ...", r"\(7\.5, .*\)": "(...)", r"^forward_bf16_.*": "a resident kernel"}


def shortened(answer):
    why, plan, loaded = answer
    for pattern, text in SHORT.items():
        why, plan = re.sub(pattern, text, why), re.sub(pattern, text, plan)
    return why, plan, sorted(set(loaded))


# One test, since the process that asks imports torch.
def test_what_the_library_says_and_loads(tmp_path):
    paths = {"none": None, "fake": str(fake_driver.library()), "old": str(fake_driver.library(without="cuCtxGetId"))}
    (tmp_path / "libcuda.so.1").touch()
    cases = json.dumps([(paths[driver], gpus) for driver, gpus in EXPECTED])
    done = subprocess.run(
        [sys.executable, fake_driver.HERE / "ask_library.py", tmp_path, cases],
        env=child.environment() | fake_driver.found_first(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    answers = [shortened(json.loads(line)) for line in done.stdout.splitlines()]
    assert dict(zip(EXPECTED, answers, strict=True)) == EXPECTED
