"""The planner of the CUDA kernels, and resident_plan, which asks it: no GPU is needed for either."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import pixelrnn_ext as px
from pixelrnn_ext.operators import library

ROOT = Path(__file__).resolve().parents[1]
built = pytest.mark.skipif(library.why_no_cuda() is not None, reason=f"{library.why_no_cuda()}")
H100, A100, TURING = (9, 0), (8, 0), (7, 5)


@pytest.mark.skipif(library.why_no_cuda() is None, reason="the CUDA kernels are built")
def test_without_the_kernels_it_says_so():
    with pytest.raises(RuntimeError, match="resident_plan needs the CUDA kernels: "):
        px.resident_plan(28, 28, 16, capability=H100)


@built
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("size", "hidden", "images"), [(28, 16, 16), (28, 64, 16), (32, 128, 16), (32, 128, 1), (64, 128, 64)]
)
def test_the_papers_sizes_are_resident_on_an_h100(size, hidden, images, dtype):
    for layer in (dict(diagonal=True, directions=2), dict(diagonal=False, taps=3)):
        for plan in px.resident_plan(size, size, hidden, images=images, dtype=dtype, capability=H100, **layer):
            assert plan.startswith("step path: faster ") or "step path" not in plan


@built
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param(dict(capability=TURING), "expected a GPU of compute capability 8.0 or later, got 7.5", id="card"),
        pytest.param(
            dict(capability=H100, dtype=torch.float64), "expected float32, float16 or bfloat16, got float64", id="dtype"
        ),
        pytest.param(dict(capability=H100, diagonal=False, taps=5), "expected at most 3 taps, got 5", id="taps"),
        pytest.param(dict(capability=A100), "without clusters of thread blocks", id="clusters"),
    ],
)
def test_it_says_why_not(options, reason):
    for plan in px.resident_plan(32, 32, 128, **options):
        assert plan.startswith("step path: ") and reason in plan


@built
def test_a_cluster_lies_in_one_gpc():
    """32 clusters of 8 blocks that fill a multiprocessor are two waves, of 4 blocks they are one."""
    for images, blocks in ((8, 8), (16, 4)):
        plan = px.resident_plan(64, 64, 128, images=images, directions=2, capability=H100)
        assert f": {blocks} blocks an image" in plan.forward


@built
def test_errors():
    with pytest.raises(TypeError, match="expected dtype to be float32, float64, float16 or bfloat16, got torch.int32"):
        px.resident_plan(32, 32, 128, dtype=torch.int32, capability=H100)


# ---- the planner alone, as the program tests/native/plan.cpp
# ---------------------------------------------------------------
@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    """Runs the program, which is given standard input, and returns its lines."""
    gxx = shutil.which("g++")
    if gxx is None:
        pytest.skip("no g++")
    program = tmp_path_factory.mktemp("planner") / "plan"
    sources = [
        ROOT / "tests" / "native" / "plan.cpp",
        *(ROOT / "csrc" / "cuda" / name for name in ("plan.cpp", "estimate.cpp")),
    ]
    done = subprocess.run([gxx, "-std=c++17", "-O2", *sources, "-o", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    def run(command, text=""):
        return subprocess.run(
            [program, command], input=text, capture_output=True, text=True, check=True
        ).stdout.splitlines()

    return run


class Case(NamedTuple):
    name: str
    capability: int
    format: str
    backward: bool
    hidden: int
    taps: int
    size: tuple[int, int]
    images: int
    directions: int
    plan: str  # how it begins


CASES = [
    Case("MNIST h16, forward", 90, "bf16", False, 16, 2, (28, 28), 16, 2, "forward_bf16_2_1_256_single: 1 block"),
    Case("MNIST h16, backward", 90, "bf16", True, 16, 2, (28, 28), 16, 2, "backward_bf16_4_4_256_single: 1 block"),
    Case(
        "MNIST h16, forward in tf32", 90, "tf32", False, 16, 2, (28, 28), 16, 2, "forward_tf32_2_1_256_single: 1 block"
    ),
    Case(
        "MNIST h16, backward in fp32",
        90,
        "fp32",
        True,
        16,
        2,
        (28, 28),
        16,
        2,
        "backward_fp32_s_0_512_cluster: 2 blocks",
    ),
    Case("MNIST h16, 256 images", 90, "bf16", False, 16, 2, (28, 28), 256, 2, "forward_bf16_2_1_256_single: 1 block"),
    Case(
        "28x28 h64, forward of one image",
        90,
        "bf16",
        False,
        64,
        2,
        (28, 28),
        1,
        2,
        "forward_bf16_4_1_256_cluster: 8 blocks",
    ),
    Case("28x28 h64, backward", 90, "bf16", True, 64, 2, (28, 28), 16, 2, "backward_bf16_4_1_512_cluster: 4 blocks"),
    Case(
        "CIFAR h128, forward of one image",
        90,
        "bf16",
        False,
        128,
        2,
        (32, 32),
        1,
        2,
        "forward_bf16_8_4_256_cluster: 8 blocks",
    ),
    Case(
        "CIFAR h128, backward of one image",
        90,
        "bf16",
        True,
        128,
        2,
        (32, 32),
        1,
        2,
        "backward_bf16_4_1_512_cluster: 8 blocks",
    ),
    Case(
        "CIFAR h128, forward in tf32",
        90,
        "tf32",
        False,
        128,
        2,
        (32, 32),
        1,
        2,
        "forward_tf32_8s_1_256_cluster: 8 blocks",
    ),
    Case(
        "CIFAR h128, forward of 16 images",
        90,
        "bf16",
        False,
        128,
        2,
        (32, 32),
        16,
        2,
        "forward_bf16_8_4_256_cluster: 4 blocks",
    ),
    Case(
        "CIFAR h128, backward in fp32",
        90,
        "fp32",
        True,
        128,
        2,
        (32, 32),
        16,
        2,
        "backward_fp32_s_0_512_cluster: 8 blocks",
    ),
    Case(
        "CIFAR h128, forward of 256 images",
        90,
        "bf16",
        False,
        128,
        2,
        (32, 32),
        256,
        2,
        "forward_bf16_8_1_256_images: 8 blocks for 4 images",
    ),
    Case(
        "CIFAR h128, backward of 256 images",
        90,
        "bf16",
        True,
        128,
        2,
        (32, 32),
        256,
        2,
        "backward_bf16_20s_0_256_single: 1 block",
    ),
    Case("CIFAR h128, 256 images in fp32", 90, "fp32", False, 128, 2, (32, 32), 256, 2, "step path: faster"),
    Case(
        "Row LSTM h128, forward", 90, "bf16", False, 128, 3, (32, 32), 16, 1, "forward_bf16_s_1_512_cluster: 8 blocks"
    ),
    Case("64x64 h128, forward", 90, "bf16", False, 128, 2, (64, 64), 16, 2, "forward_bf16_8_4_256_cluster: 4 blocks"),
    Case("h256, backward", 90, "bf16", True, 256, 2, (32, 32), 16, 2, "backward_bf16_8_4_256_cluster: 8 blocks"),
    Case(
        "h256 in tf32",
        90,
        "tf32",
        False,
        256,
        2,
        (32, 32),
        16,
        2,
        "step path: the weights and lines of hidden size 256, 2 taps and lines of 32 cells need 330800 bytes of shared memory, a block may have 232448",
    ),
    Case("A100, MNIST h16", 80, "bf16", False, 16, 2, (28, 28), 16, 2, "forward_bf16_2_1_256_single: 1 block"),
    Case(
        "A100, CIFAR h128, forward", 80, "bf16", False, 128, 2, (32, 32), 16, 2, "forward_bf16_4s_4_512_single: 1 block"
    ),
    Case(
        "A100, CIFAR h128, backward",
        80,
        "bf16",
        True,
        128,
        2,
        (32, 32),
        16,
        2,
        "backward_bf16_20s_0_256_single: 1 block",
    ),
    Case(
        "A100, 64x64 h128, backward",
        80,
        "bf16",
        True,
        128,
        2,
        (64, 64),
        16,
        2,
        "step path: the weights and lines of hidden size 128, 2 taps and lines of 64 cells need 232464 bytes of shared memory, a block may have 166912 without clusters of thread blocks",
    ),
    Case("RTX 3090, h32", 86, "fp16", False, 32, 2, (32, 32), 16, 2, "forward_fp16_s_1_512_single: 1 block"),
    Case("B200, CIFAR h128", 100, "bf16", False, 128, 2, (32, 32), 16, 2, "forward_bf16_8_4_256_cluster: 4 blocks"),
    Case(
        "RTX 5090, CIFAR h128, backward in fp32",
        120,
        "fp32",
        True,
        128,
        2,
        (32, 32),
        16,
        2,
        "step path: the weights and lines of hidden size 128, 2 taps and lines of 32 cells need 114464 bytes of shared memory, a block may have 101376",
    ),
    Case(
        "a hidden size of 20",
        90,
        "bf16",
        False,
        20,
        2,
        (28, 28),
        16,
        2,
        "step path: expected a hidden size that is a multiple of 8, got 20",
    ),
    Case(
        "Turing",
        75,
        "bf16",
        False,
        16,
        2,
        (28, 28),
        16,
        2,
        "step path: expected a GPU of compute capability 8.0 or later, got 7.5",
    ),
]


def ask(planner, cases):
    formats = ("bf16", "fp16", "tf32", "fp32")
    text = "".join(
        f"{c.capability} {formats.index(c.format)} {int(c.backward)} {c.hidden} {c.taps} {c.size[0]} {c.size[1]} {c.images} {c.directions}\n"
        for c in cases
    )
    return planner("describe", text)


def test_a_plan_says_where_memory_bounds_it(planner):
    """256 images of 28x28 h16 in tf32, and 16 in bf16; a GPU day takes no cycles from the first
    (benchmarks/gpu_day/costs.py)."""
    plans = planner("describe", "90 2 0 16 2 28 28 256 2\n90 0 0 16 2 28 28 16 2\n")
    assert [" cycles a line, bound by memory, by " in plan for plan in plans] == [True, False]


def test_what_is_chosen(planner):
    found = ask(planner, CASES)
    assert {c.name: plan for c, plan in zip(CASES, found, strict=True) if not plan.startswith(c.plan)} == {}


def test_a_plan_says_what_it_expects_and_how_it_knows(planner):
    resident = r"\w+: \d blocks? (an image|for \d images), \d+ threads, \d+ bytes of shared memory, \d+ at once; expected [\d.]+ ms, \d+ cycles a line(, bound by memory)?, by {}"
    step = r"step path: (faster by {}: [\d.]+ ms, \w+ [\d.]+ ms|expected .*|the weights .*|no kernel .*)"
    source = r"(a model, nvcc [\d.]+|measurements on .+)"
    for plan in ask(planner, CASES):
        assert re.fullmatch(f"{resident}|{step}".replace("{}", source), plan), plan


def test_every_kernel_is_chosen_for_some_size(planner):
    """On some card, with each constant of the estimate as it is, or 25 % higher or lower. A kernel that never is has no
    place in variants.h."""
    found = dict(line.split(": ", 1) for line in planner("enumerate"))
    assert len(found) >= 50
    assert [name for name, why in found.items() if why == "never"] == []
