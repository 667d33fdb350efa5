"""Tests that operators refuse tensors of two devices, CPU and meta.

The tests skip torch's dispatcher, so the operators have to check the devices.
"""

import pytest
import torch

from helpers.scans import OPS, Problem, define_gpu_scans

CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
SCANS = ["scan", "scan_gradients"]
OPERATORS = [*SCANS, "masked_conv2d", "masked_conv2d_backward"]


@pytest.fixture(scope="module")
def on_cpu():
    """Yields a GPU's operators for CPU tensors. No test runs their kernels."""
    library = define_gpu_scans("pixelrnn_devices")
    yield torch.ops.pixelrnn_devices
    library._destroy()


def arguments(name):
    if name in SCANS:
        p = Problem("fp64", "graves-peepholes", 3, (2, 3, 4), x=True, sizes=[(3, 4), (1, 2)])
        return tuple(p.scan()) if name == "scan" else p.gradient_arguments(OPS).flat
    x, weight, y = torch.randn(1, 2, 3, 4), torch.randn(5, 2, 3, 3), torch.randn(1, 5, 3, 4)
    if name == "masked_conv2d":
        return x, weight, torch.randn(5), "B", 1, 1, True
    return y, y, x, weight, "B", 1, 1, True, True, True, True


@pytest.mark.parametrize("name", OPERATORS)
def test_tensors_of_two_devices_are_refused(name, on_cpu):
    operator = getattr(on_cpu if name in SCANS else OPS, name).default
    args = arguments(name)
    tensors = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor)]
    assert len(tensors) >= 3
    names = [argument.name for argument in operator._schema.arguments]
    for i in tensors[1:]:
        moved = [a.to("meta") if j == i else a for j, a in enumerate(args)]
        message = f"{name}: expected all tensors on one device, got {names[tensors[0]]} on cpu and {names[i]} on meta"
        with pytest.raises(ValueError, match=message):
            operator.redispatch(CPU, *moved)
