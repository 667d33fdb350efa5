"""Diagonal LSTM: the recurrence alone, and the DiagonalBiLSTM layer."""

import torch
from torch import Tensor

from .. import reference as definitions
from ..layers import DiagonalBiLSTM
from . import baselines
from .problems import (
    AS_WRITTEN,
    BASELINE,
    NATIVE,
    Case,
    Differentiable,
    Problem,
    Recurrence,
    Size,
    native_recurrence,
    recurrence_problem,
)


def recurrence(size: Size, dtype: torch.dtype, natives: dict[str, Recurrence] | None = None) -> Problem:
    """One direction, from the input-to-state map to h. ``natives``: see recurrence_problem."""
    return recurrence_problem(
        size,
        dtype,
        taps=2,
        natives=natives or {NATIVE: native_recurrence(diagonal=True)},
        good_loop=baselines.diagonal_good_loop,
        loop_as_written=baselines.diagonal_loop_as_written,
        reference=definitions.diagonal_lstm,
    )


def layer(size: Size, dtype: torch.dtype, backends: tuple[str, ...] = (NATIVE,)) -> Problem:
    """Both directions with the input convolution, 2h -> h channels. Each of ``backends`` is a provider."""
    torch.manual_seed(0)
    channels, hidden = 2 * size.hidden, size.hidden
    x, dy = size.map(channels, dtype), size.map(hidden, dtype)
    layers = {
        name: DiagonalBiLSTM(channels, hidden, backend=backend, dtype=dtype)
        for name, backend in ((BASELINE, "reference"), *((backend, backend) for backend in backends))
    }
    parameters = layers[BASELINE].state_dict()
    names = ["input", *parameters]

    def provider(name: str) -> Differentiable:
        layers[name].load_state_dict(parameters)
        memory_format = torch.contiguous_format if name == BASELINE else torch.channels_last
        return Differentiable(
            name,
            lambda x, *_, layer=layers[name]: layer(x),
            [x.contiguous(memory_format=memory_format), *layers[name].parameters()],
            dy.contiguous(memory_format=memory_format),
            names,
        )

    def reference() -> dict[str, Tensor]:
        exact = DiagonalBiLSTM(channels, hidden, backend="reference", dtype=torch.float64)
        exact.load_state_dict(parameters)
        return Differentiable(
            "reference", lambda x, *_: exact(x), [x.double(), *exact.parameters()], dy.double(), names
        ).results()

    floors = [
        baselines.GemmFloor(size.cells, 2 * hidden + channels, hidden, dtype, directions=2, into_given_memory=given)
        for given in (False, True)
    ]
    return Problem([*map(provider, layers), *floors], reference)


CASES = [
    Case(kind, Size(batch, side, side, hidden), build, in_default=(batch, hidden) != (16, 128), against=against)
    for kind, build, against in (
        ("diagonal", recurrence, (BASELINE, AS_WRITTEN)),
        ("DiagonalBiLSTM layer", layer, (BASELINE,)),
    )
    for batch, side, hidden in ((16, 28, 16), (16, 28, 64), (16, 32, 128), (1, 32, 128))
]
