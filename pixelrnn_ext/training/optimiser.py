"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Iterable

import torch
from torch import nn

OPTIMISERS = ("rmsprop", "adamw")
SCHEDULES = ("constant", "linear", "cosine")
# What they keep for every parameter: the number of steps, and what has the parameter's shape.
_STATES = {torch.optim.RMSprop: ("step", "square_avg"), torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq")}


def make(name: str, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """RMSProp, the paper's (section 5.1), or AdamW."""
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, learning_rate, alpha=0.95, eps=1e-8, foreach=True)
    return torch.optim.AdamW(parameters, learning_rate, foreach=True)


def learning_rate(base: float, schedule: str, step: int, steps: int, warmup: int) -> float:
    """Of a step in [0, steps): a linear rise over ``warmup`` steps, then constant, or down to 0 at ``steps``."""
    if step < warmup:
        return base * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return base * {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}[schedule]


def state_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as ``<parameter's number>.<name>``."""
    state = optimiser.state_dict()["state"]
    return {f"{number}.{name}": value for number, of in state.items() for name, value in of.items()}


def load_state_tensors(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """What :func:`state_tensors` gave after a step.

    Raises:
        ValueError: it is not the whole state of the optimiser, or of one for other parameters.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    expected = {
        f"{number}.{kept}": torch.Size() if kept == "step" else parameter.shape
        for number, parameter in enumerate(parameters)
        for kept in _STATES[type(optimiser)]
    }
    got = {key: value.shape for key, value in tensors.items()}
    if got != expected:
        wrong = sorted(key for key in expected.keys() | got.keys() if expected.get(key) != got.get(key))
        name = type(optimiser).__name__
        raise ValueError(f"expected the state of {name} for every parameter, got another or none for {wrong[0]}")
    state: dict[int, dict] = {}
    for key, value in tensors.items():
        number, kept = key.split(".")
        state.setdefault(int(number), {})[kept] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
