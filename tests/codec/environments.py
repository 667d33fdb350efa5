"""Codes in other floating-point environments: `python -m codec.environments POOL`, in the folder
tests. test_environments.py runs it.

POOL is the environment in which PyTorch's threads start, by its name in ENVIRONMENTS. The main thread codes in the
default environment, and where POOL is that one in all others, too. It prints a JSON object: by environment, backend and
model the file's digest, or the sentence that refuses.
"""

import ctypes
import functools
import hashlib
import json
import platform
import sys
from contextlib import contextmanager

import torch

from pixelrnn_ext.codec import Codec

from .examples import images_of, model_of, multiscale

DOWN, UP, ZERO = (0x400, 0x800, 0xC00) if platform.machine() == "x86_64" else (0x800000, 0x400000, 0xC00000)
ENVIRONMENTS = {"default": (0, False), "down": (DOWN, False), "up": (UP, False), "zero": (ZERO, False)}
ENVIRONMENTS |= {"flush": (0, True)}
MATHS = ctypes.CDLL(None)


@contextmanager
def environment(name):
    direction, flush = ENVIRONMENTS[name]
    assert MATHS.fesetround(direction) == 0 and torch.set_flush_denormal(flush) in (True, not flush)
    before = found()
    try:
        yield
        assert torch.equal(found(), before), "a thread's environment was not restored"
    finally:
        MATHS.fesetround(0)
        torch.set_flush_denormal(False)


def found():
    """Sums by all threads that are others in other environments, as integers."""
    left = torch.tensor([1.0, 1.0, -1.0, 1.5 * 2.0**-1022, 2.0**-1030], dtype=torch.float64).repeat(2**16)
    right = torch.tensor([2.0**-60, 1.5 * 2.0**-53, -(2.0**-60), -(2.0**-1022), 2.0**-1030], dtype=torch.float64)
    return (left + right.repeat(2**16)).view(torch.int64)


def models():
    for backend in ("auto", "reference"):
        yield f"{backend} row", model_of("row", 3, 17, backend=backend), (3, 3, 5), None
        yield f"{backend} diagonal", model_of("diagonal", 1, 5, backend=backend), (3, 3, 5), None
        # So large that all threads compute a part of one pass.
        yield f"{backend} cnn", model_of("cnn", 1, 5, backend=backend, hidden_channels=32), (64, 4, 8), None
        condition = 5 * torch.randn(3, 2, 3, 5, generator=torch.Generator().manual_seed(0))
        yield f"{backend} conditional", model_of("row", condition_channels=2, backend=backend), (3, 3, 5), condition
        model = multiscale(levels=256)
        model.small_model.backend = model.large_model.backend = backend
        yield f"{backend} multi-scale", model, (3, 4, 6), None


def outcomes(calls):
    """The digest of what each call returns, or the sentence that it raises."""
    for call in calls:
        try:
            result = call()
        except (RuntimeError, ValueError) as error:
            yield str(error)
        else:
            yield hashlib.sha256(result if isinstance(result, bytes) else result.numpy().tobytes()).hexdigest()[:16]


def calls_of(network, images, condition):
    codec = Codec(network)
    file = codec.compress(images, condition, streams=3)
    return [
        functools.partial(network.compress, images, condition, streams=3),
        functools.partial(codec.compress, images, condition, streams=3),
        functools.partial(codec.decompress, file, condition),
    ]


def with_a_late_change(call):
    """The last report of progress changes the environment."""
    try:
        return call(progress=lambda done, all: MATHS.fesetround(UP if done == all else 0))
    finally:
        MATHS.fesetround(0)


def main(pool):
    torch.set_num_threads(2)
    with environment(pool):
        found()  # starts the threads
    before = found()
    result = {}
    for model, network, size, condition in models():
        images = images_of(network, *size)
        if pool != "default":
            compress = functools.partial(network.compress, images, condition, streams=3)
            result[f"{pool}, {model}"] = [*outcomes([compress])]
            continue
        calls = calls_of(network, images, condition)
        for name in ENVIRONMENTS:
            with environment(name):
                result[f"{name}, {model}"] = [*outcomes(calls)]
        if model.endswith("row"):
            late = [functools.partial(with_a_late_change, call) for call in calls]
            result[f"late, {model}"] = [*outcomes(late)]
    assert torch.equal(found(), before), "a thread's environment was not restored"
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
