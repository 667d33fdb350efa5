"""Makes layers for tests on the GPUs of gpus.py.

The emulator gets no layers in half precision, since it uses CPU tensors, for which such layers compute in float32.
"""

import copy

import torch

from helpers.checks import assert_close
from helpers.scans import DTYPES, make_layer

from .gpus import MAX_BLOCKS, on_gpus

NATIVE = ("native", "step", "resident")


def can_run(gpu, name, backend, format, *_):
    """The only emulated GPU that tests layers is sm_90."""
    no_kernel = format == "fp64" or name in ("row5", "graves-peepholes", "halved-peepholes")
    has_format = gpu == "real" or (gpu == "sm_90" and format in ("fp32", "fp64"))
    return has_format and (backend != "resident" or (MAX_BLOCKS[gpu] >= 1 and not no_kernel))


def on_gpus_with_layers(names=("row3", "bilstm"), backends=("step", "resident"), formats=("fp32", "bf16")):
    cases = [(name, backend, format) for name in names for backend in backends for format in formats]
    return on_gpus(["name", "backend", "format"], cases, can_run)


def layer_and_maps(gpu, name, backend, format="fp32", hidden=None, maps=None, **options):
    """Returns a layer, its input, and float64 copies of both for the reference backend."""
    hidden, maps = hidden or (16 if gpu.emulator else 32), maps or ((3, 5, 6) if gpu.emulator else (5, 9, 12))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = format == "tf32"
    layer = make_layer(name, 3, hidden, backend=backend, dtype=DTYPES[format], **options).to(gpu.device)
    x = torch.randn(maps[0], 3, *maps[1:], device=gpu.device, dtype=DTYPES[format])
    exact = copy.deepcopy(layer).double()
    exact.backend = "reference"
    return layer, x, exact, x.double()


def compare(gpu, format, expected, got, factor=1):
    for name, value in expected.items():
        assert_close(name, value, got[name], factor * gpu.bound(name, format))
