"""Tests operators/scan/gpu.py with a recurrence in PyTorch."""

import pytest
import torch

from helpers.checks import assert_close
from helpers.scans import DECOMPOSITION, OUTPUTS, Problem, case_problem, scan_cases
from pixelrnn_ext.operators.scan import eager, gpu, rules
from pixelrnn_ext.operators.scan.arguments import OPERANDS

from .python_recurrence import PythonRecurrence


def packed(s):
    """Returns the scan with weights in the memory of a Packer (pixelrnn_ext/operators/scan/packing.py)."""
    dense = {name: t.contiguous() for name, t in s.operands.items() if name in ("weight_hh", "bias")}
    if s.weight_ih is not None:
        dense["weight_ih"] = s.weight_ih.permute(0, 1, 4, 2, 3).contiguous().permute(0, 1, 3, 4, 2)
    return s.with_operands(dense)


def compare(problem, lies=lambda s: s):
    s, ops = lies(problem.scan()), PythonRecurrence()
    with torch.no_grad():
        outputs = gpu.scan(ops, s)
        for name, expected, got in zip(OUTPUTS[:2], eager.scan(s), outputs):
            assert_close(name, expected, got, 1e-13)
        saved = problem.gradient_arguments(DECOMPOSITION)._replace(h=outputs[1], c=outputs[2], gates=outputs[3], scan=s)
        for g in (saved, saved._replace(shares=False)):
            fakes, expected = rules._gradients_fake(*g.flat), eager.scan_gradients(g)
            for name, a, b, fake in zip(OPERANDS, expected, gpu.scan_gradients(ops, g), fakes, strict=True):
                assert (b.shape, b.dtype) == (fake.shape, fake.dtype), name
                assert not b.numel() or b.stride() == fake.stride(), name
                assert_close(name, a, b, 1e-12)


@scan_cases()
def test_the_gpus_side_is_the_decomposition(layer, layout, sources, states, ragged):
    compare(case_problem(layer, layout, sources, states, ragged))


@pytest.mark.parametrize("layer", ["row3", "bilstm", "graves-peepholes"])
def test_packed_weights(layer):
    compare(Problem("fp64", layer, 3, (2, 3, 4)), packed)


@pytest.mark.parametrize("maps", [(0, 3, 4), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("layer", ["row3", "bilstm", "graves-peepholes"])
def test_an_empty_batch_and_a_single_pixel(layer, maps):
    compare(Problem("fp64", layer, 3, maps))
