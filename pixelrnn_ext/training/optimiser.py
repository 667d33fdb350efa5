import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

OPTIMISERS = ("rmsprop", "adamw")
SCHEDULES = ("constant", "linear", "cosine")


class RMSprop(torch.optim.RMSprop):
    """RMSprop with decoupled weight decay, as in AdamW.

    torch's own RMSprop adds the weight decay to the gradient instead.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, decay: float, *, capturable: bool = False
    ) -> None:
        super().__init__(parameters, learning_rate, alpha=0.95, eps=1e-8, foreach=True, capturable=capturable)
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

    On a GPU the learning rate and the number of steps lie on the device, so that a CUDA graph can capture a step.
    """
    parameters = list(parameters)
    on_gpu = parameters[0].is_cuda
    optimiser: torch.optim.Optimizer
    if name == "rmsprop":
        optimiser = RMSprop(parameters, learning_rate, weight_decay or 0.0, capturable=on_gpu)
    else:
        decay = 0.01 if weight_decay is None else weight_decay
        optimiser = torch.optim.AdamW(
            parameters,
            learning_rate,
            weight_decay=decay,
            foreach=not on_gpu,
            fused=True if on_gpu else None,
            capturable=on_gpu,
        )
    if on_gpu:
        for group in optimiser.param_groups:
            group["lr"] = torch.full((), group["lr"], dtype=torch.float32, device=parameters[0].device)
        # Otherwise torch warns that a capturable optimiser is slower where no graph captures it.
        optimiser._warned_capturable_if_run_uncaptured = True
    return optimiser


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of the next steps, in place where it lies on a GPU."""
    for group in optimiser.param_groups:
        if not isinstance(group["lr"], Tensor):
            group["lr"] = rate
        elif group.get("rate") != rate:
            group["lr"].fill_(rate)
            group["rate"] = rate


def clip_gradients(parameters: list[nn.Parameter], largest: float) -> None:
    """Scales the gradients so that their joint norm is at most ``largest``. Reads no value of a GPU."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not parameters[0].is_cuda or not gradients:
        nn.utils.clip_grad_norm_(parameters, largest)
    else:
        divide_gradients(gradients, largest)


def divide_gradients(gradients: list[Tensor], largest: float) -> None:
    """Clips as ``torch.nn.utils.clip_grad_norm_`` does, up to rounding, with one launch less."""
    norm = nn.utils.get_total_norm(gradients)
    torch._foreach_div_(gradients, (norm + 1e-6).div_(largest).clamp_(min=1))


class MovingAverage(AveragedModel):
    """An exponential moving average of a model's parameters.

    torch's own class copies its counter from the CPU to a GPU in every step, which a CUDA graph cannot capture.
    """

    n_averaged: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self.decay: float = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        averages: list[Tensor] = [*self.module.parameters()]
        parameters: list[Tensor] = [*model.parameters()]
        if self.n_averaged == 0:
            torch._foreach_copy_(averages, parameters)
        else:
            torch._foreach_lerp_(averages, parameters, 1 - self.decay)
        for average, buffer in zip(self.module.buffers(), model.buffers()):
            average.copy_(buffer)
        self.n_averaged += 1


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
