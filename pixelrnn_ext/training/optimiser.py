"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Iterable

import torch
from torch import nn

OPTIMISERS = ("rmsprop", "adamw")
SCHEDULES = ("constant", "linear", "cosine")


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
    """What :func:`state_tensors` gave."""
    state: dict[int, dict] = {}
    for key, value in tensors.items():
        number, name = key.split(".")
        state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
