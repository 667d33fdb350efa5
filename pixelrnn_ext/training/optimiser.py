import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

OPTIMISERS = ("rmsprop", "adamw")
SCHEDULES = ("constant", "linear", "cosine")


class RMSprop(torch.optim.RMSprop):
    """RMSprop with decoupled weight decay, as in AdamW.

    torch's own RMSprop adds the weight decay to the gradient instead.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float, decay: float) -> None:
        super().__init__(parameters, learning_rate, alpha=0.95, eps=1e-8, foreach=True)
        self.decay: float = decay

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        if self.decay:
            with torch.no_grad():
                for group in self.param_groups:
                    torch._foreach_mul_(group["params"], 1 - group["lr"] * self.decay)
        return super().step(closure)


# The state of each parameter: the number of steps, then tensors of the parameter's shape.
_STATES = {RMSprop: ("step", "square_avg"), torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq")}


def make(
    name: str, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float | None = None
) -> torch.optim.Optimizer:
    """Returns RMSProp, as in the paper (section 5.1), or AdamW.

    Every step first multiplies the parameters by 1 - learning rate * weight_decay. By default, ``weight_decay`` is 0
    for RMSProp and 0.01 for AdamW.
    """
    if name == "rmsprop":
        return RMSprop(parameters, learning_rate, weight_decay or 0.0)
    decay = 0.01 if weight_decay is None else weight_decay
    return torch.optim.AdamW(parameters, learning_rate, weight_decay=decay, foreach=True)


def learning_rate(base: float, schedule: str, step: int, steps: int, warmup: int) -> float:
    """Returns the learning rate of a step in [0, steps).

    It rises linearly to ``base`` during the first ``warmup`` steps, then follows the schedule.
    """
    if step < warmup:
        return base * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return base * {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}[schedule]


def state_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Returns an optimiser's state. A key is "<number of a parameter>.<name>", for example "0.square_avg"."""
    state = optimiser.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def load_state_tensors(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Restores the result of :func:`state_tensors`.

    Raises ValueError if it does not fit the optimiser's parameters.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    names = _STATES[type(optimiser)]
    expected = {
        f"{number}.{name}": torch.Size() if name == "step" else parameter.shape
        for number, parameter in enumerate(parameters)
        for name in names
    }
    got = {key: value.shape for key, value in tensors.items()}
    if got != expected:
        wrong = sorted(key for key in expected.keys() | got.keys() if expected.get(key) != got.get(key))
        name = type(optimiser).__name__
        raise ValueError(f"expected the state of {name} for every parameter, got another or none for {wrong[0]}")
    state = {number: {name: tensors[f"{number}.{name}"] for name in names} for number in range(len(parameters))}
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
