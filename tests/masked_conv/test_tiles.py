"""Tests the launches of the masked convolution's GPU kernels, without a GPU."""

import contextlib
import itertools

import pytest
import torch

from pixelrnn_ext.operators.masked_conv import gpu_tiles
from pixelrnn_ext.operators.masked_conv.gpu_tiles import Gemm

GPUS = {"sm_75": 64 << 10, "sm_86": 99 << 10, "sm_80": 163 << 10, "sm_90": 227 << 10}
GEMMS = [Gemm(*sizes) for sizes in itertools.product((1, 64, 12_544, 10**7), (1, 20, 64, 512), (1, 16, 1024), (1, 5))]


@pytest.mark.parametrize("value_bytes", [2, 4], ids="{}bytes".format)
def test_the_bits_do_not_depend_on_the_gpu(value_bytes):
    for gemm in GEMMS:
        chosen = [gpu_tiles.choose_tiles(gemm, value_bytes, shared) for shared in GPUS.values()]
        assert len({tiles[:4] for tiles in chosen}) == 1
        for tiles, shared in zip(chosen, GPUS.values()):
            stage = value_bytes * (2 * tiles.rows + tiles.columns) * tiles.depth
            assert 1 <= tiles.stages <= shared / stage


@pytest.mark.parametrize(
    ("gemm", "tiles"),
    [
        (Gemm(12_544, 16, 16), (128, 16, 32)),
        (Gemm(16_384, 512, 128), (128, 128, 32)),
        (Gemm(12_544, 32, 1), (64, 64, 16)),
        (Gemm(10**6, 8, 64), (128, 16, 32)),
    ],
    ids=["MNIST-1x1", "CIFAR-gates", "first-layer", "few-channels"],
)
def test_tiles_fit_the_sizes(gemm, tiles):
    assert gpu_tiles.choose_tiles(gemm, 4, GPUS["sm_90"])[:3] == tiles


class Kernel:
    """A fake Triton kernel or tuner, which records launches and runs nothing."""

    arg_names = ("x", "height")

    def __init__(self):
        self.launched = []

    def __getitem__(self, grid):
        return lambda *args, **constants: self.launched.append((grid, constants))


@pytest.fixture
def tiled():
    made = gpu_tiles.TiledKernel(Kernel(), "M", "N", "K", ["height"])
    made.tuner = Kernel()
    return made


def launch(tiled, height=3):
    tiled.launch(Gemm(64, 64, 64), lambda sizes: (sizes["M"], sizes["N"]), torch.zeros(1), height)
    return len(tiled.kernel.launched), len(tiled.tuner.launched)


@pytest.fixture
def capturing(monkeypatch):
    """Simulates the capture of a CUDA graph while ``on`` is true in the returned dict."""
    state = {"on": False, "mode": 0, "exchanged": []}

    def exchange(mode):
        state["exchanged"].append(mode.value)
        state["mode"], mode.value = mode.value, state["mode"]

    monkeypatch.setattr(gpu_tiles, "_is_capturing", lambda tensor: state["on"])
    monkeypatch.setattr(gpu_tiles, "_exchange_capture_mode", exchange)
    return state


def test_nothing_is_measured_unless_asked_for(tiled, capturing, monkeypatch):
    torch.use_deterministic_algorithms(False)
    assert launch(tiled) == (1, 0)
    grid, constants = tiled.kernel.launched[0]
    chosen = gpu_tiles.choose_tiles(Gemm(64, 64, 64), 4, 1 << 30)
    assert grid == (chosen.rows, chosen.columns)
    assert list(constants) == ["M", "N", "K", "num_warps", "num_stages"] and tuple(constants.values()) == chosen
    monkeypatch.setattr(gpu_tiles, "AUTOTUNE", True)
    assert launch(tiled) == (1, 1)
    torch.use_deterministic_algorithms(True)
    assert launch(tiled) == (2, 1)


def test_a_shape_is_not_measured_while_a_graph_is_captured(tiled, capturing, monkeypatch):
    torch.use_deterministic_algorithms(False)
    monkeypatch.setattr(gpu_tiles, "AUTOTUNE", True)
    assert launch(tiled, height=3) == (0, 1)
    capturing["on"] = True
    assert launch(tiled, height=4) == (1, 1)  # a capture must not time the tiles of a new height
    assert launch(tiled, height=3) == (1, 2)
    capturing["on"] = False
    assert launch(tiled, height=4) == (1, 3)


def test_kernels_can_be_loaded_while_a_graph_is_captured(capturing):
    x = torch.zeros(1)
    with gpu_tiles.launch_context(x):
        pass
    assert capturing["exchanged"] == []
    capturing["on"] = True
    with contextlib.suppress(ZeroDivisionError), gpu_tiles.launch_context(x):
        assert capturing["mode"] == 2
        raise ZeroDivisionError
    assert capturing["exchanged"] == [2, 0] and capturing["mode"] == 0
