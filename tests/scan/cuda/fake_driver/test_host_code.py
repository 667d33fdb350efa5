"""The host code of the CUDA kernels over a driver that refuses what NVIDIA's refuses: no GPU, no kernel is compiled."""

import re

import pytest

from . import library as fake_driver

pytestmark = [pytest.mark.sweep, fake_driver.needs_fake_driver]  # compiles the host code

SCENARIOS = re.findall(r"^SCENARIO\((\w+)\)", (fake_driver.HERE / "host_code.cpp").read_text(), re.MULTILINE)
# These scenarios print what a test below looks at.
PRINTING = ["code_of_each_gpu", "what_the_driver_says"]
OF_TWO_GPUS = ["the_second_gpu_first", "two_threads_on_two_gpus"]

# By capability of the GPU: the code of a release that runs there, and the capability that plans are made for.
CODE = {
    "7.0": None,
    "7.2": None,
    "7.5": "sm_75 of capability 75",
    "8.0": "sm_80 of capability 80",
    "8.6": "sm_86 of capability 86",
    "8.7": "sm_87 of capability 87",
    "8.9": "sm_86 of capability 86",
    "9.0": "sm_90 of capability 90",
    "10.0": "sm_100 of capability 100",
    "10.1": "compute_90 of capability 90",
    "10.3": "sm_100 of capability 100",
    "11.0": "compute_90 of capability 90",
    "12.0": "sm_120 of capability 120",
    "12.1": "sm_120 of capability 120",
    "13.0": "compute_120 of capability 120",
}
NO_CODE = (
    "pixelrnn_ext: expected a GPU of a compute capability that the kernels were built for (7.5, 8.0, 8.6, 8.7, "
    "9.0 (and later), 10.0, 12.0 (and later)), got {}"
)


def test_the_fake_driver_refuses(tmp_path):
    fake_driver.run("refusals", gpus="9.0 8.0 8.7 8.9", folder=tmp_path)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in PRINTING])
def test_host_code(scenario, tmp_path):
    fake_driver.run("host_code", scenario, gpus="8.0 9.0" if scenario in OF_TWO_GPUS else "9.0", folder=tmp_path)


def test_each_gpu_gets_the_code_that_it_runs(tmp_path):
    lines = fake_driver.run("host_code", "code_of_each_gpu", gpus=" ".join(CODE), folder=tmp_path).splitlines()
    assert lines == [code or NO_CODE.format(gpu) for gpu, code in CODE.items()]


@pytest.mark.parametrize(
    ("gpus", "without", "says"),
    [
        pytest.param("9.0", "", "there is a driver", id="a GPU"),
        pytest.param(
            "", "", "expected a GPU, but NVIDIA's driver says: no CUDA-capable device is detected", id="no GPU"
        ),
        pytest.param(
            "9.0", "cuCtxGetId", "expected NVIDIA's driver 525 or later, got one without cuCtxGetId", id="an old driver"
        ),
    ],
)
def test_what_it_says_of_the_driver(gpus, without, says, tmp_path):
    said = fake_driver.run("host_code", "what_the_driver_says", gpus=gpus, folder=tmp_path, without=without)
    assert [line.removeprefix("pixelrnn_ext: ") for line in said.splitlines()] == [says, says]


@pytest.mark.parametrize("scenario", ["two_threads_on_two_gpus", "many_threads_load_one_kernel_once"])
def test_threads_do_not_race(scenario, tmp_path):
    gpus = "8.0 9.0" if scenario in OF_TWO_GPUS else "9.0"
    fake_driver.run("host_code", scenario, gpus=gpus, folder=tmp_path, flags=("-fsanitize=thread",))
