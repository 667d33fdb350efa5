"""The codec's files do not depend on a thread's rounding mode, or on its treatment of subnormal numbers.

The compiled code computes as in the default environment. The PyTorch code refuses to run in any other environment.
"""

import ctypes
import platform
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial

import pytest
import torch

from pixelrnn_ext.codec import Codec
from pixelrnn_ext.operators import library

from .examples import images_of, model_of

DOWN, UP, ZERO = (0x400, 0x800, 0xC00) if platform.machine() == "x86_64" else (0x800000, 0x400000, 0xC00000)
ENVIRONMENTS = {"down": (DOWN, False), "up": (UP, False), "zero": (ZERO, False), "flush": (0, True)}
MATHS = ctypes.CDLL(None)
REFUSED = "files cannot be coded here: expected every thread to round to the nearest number and to keep subnormal"
# (layer, options of the model, (N, H, W) of the images)
MODELS = {
    "row": ("row", dict(colours=3, levels=17), (3, 3, 5)),
    "diagonal": ("diagonal", dict(levels=5), (3, 3, 5)),
    "cnn": ("pixelcnn", dict(levels=5, hidden_channels=32), (64, 4, 8)),
    "conditional": ("row", dict(condition_channels=2), (3, 3, 5)),
    "multi-scale": ("multiscale-row", dict(levels=256), (3, 4, 6)),
}
each_model = pytest.mark.parametrize("name", MODELS)
each_backend = pytest.mark.parametrize("backend", ["auto", "reference"])


def environment_bits():
    """Returns the bits of floating-point sums as integers.

    The sums are different in any two rounding modes, and with and without subnormal numbers.
    """
    left = torch.tensor([1.0, 1.0, -1.0, 1.5 * 2.0**-1022, 2.0**-1030], dtype=torch.float64).repeat(2**16)
    right = torch.tensor([2.0**-60, 1.5 * 2.0**-53, -(2.0**-60), -(2.0**-1022), 2.0**-1030], dtype=torch.float64)
    return (left + right.repeat(2**16)).view(torch.int64)


@contextmanager
def environment(name):
    """Sets this thread's floating-point environment, and asserts that the ``with`` block keeps it."""
    direction, flush = ENVIRONMENTS[name]
    assert MATHS.fesetround(direction) == 0 and torch.set_flush_denormal(flush) in (True, not flush)
    before = environment_bits()
    try:
        yield
        assert torch.equal(environment_bits(), before), "a thread's environment was not restored"
    finally:
        MATHS.fesetround(0)
        torch.set_flush_denormal(False)


@cache
def coding(name, backend):
    layer, options, size = MODELS[name]
    model = model_of(layer, backend=backend, **options)
    images = images_of(model, *size)
    condition = 5 * torch.randn(3, 2, 3, 5) if model.condition_channels else None
    codec = Codec(model)
    by_model, by_codec = (partial(coder.compress, images, condition, streams=3) for coder in (model, codec))
    file = by_codec()
    return (by_model, file), (by_codec, file), (partial(codec.decompress, file, condition), images)


def check(backend, calls, **options):
    for call, expected in calls:
        if backend == "reference" or library.why_no_native():
            with pytest.raises(RuntimeError, match=REFUSED):
                call(**options)
        else:
            got = call(**options)
            assert got == expected if isinstance(got, bytes) else torch.equal(got, expected)


@pytest.mark.parametrize("where", ENVIRONMENTS)
@each_backend
@each_model
@pytest.mark.parametrize("threads", [1], indirect=True)
def test_an_environment_of_the_calling_thread(name, backend, where, threads):
    calls = coding(name, backend)
    with environment(where):
        check(backend, calls)


@each_backend
@each_model
def test_an_environment_of_the_other_threads(name, backend):
    """OpenMP's threads keep the rounding mode with which they started."""
    calls, default = coding(name, backend), environment_bits()

    def run():
        torch.set_num_threads(2)
        with environment("up"):
            environment_bits()
        before = environment_bits()
        assert not torch.equal(before, default)
        check(backend, calls)
        assert torch.equal(environment_bits(), before), "a thread's environment was not restored"

    with ThreadPoolExecutor(1) as executor:
        executor.submit(run).result()


@each_backend
@pytest.mark.parametrize("threads", [2], indirect=True)
def test_an_environment_that_changes_during_a_call(backend, threads):
    for call in coding("row", backend):
        try:
            check(backend, [call], progress=lambda done, rows: MATHS.fesetround(UP if done == rows else 0))
        finally:
            MATHS.fesetround(0)
