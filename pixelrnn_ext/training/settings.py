from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from .compiled import CHOICES
from .optimiser import OPTIMISERS, SCHEDULES

# A range of numbers: its description in error messages, and its check.
Range = tuple[str, Callable[[Any], bool]]
POSITIVE: Range = (">= 1", lambda value: value >= 1)
# An optimiser multiplies these numbers in float32, whose largest number is 3.4e38.
NOT_NEGATIVE: Range = (">= 0 and <= 1e30", lambda value: 0 <= value <= 1e30)
RATE: Range = ("> 0 and <= 1e30", lambda value: 0 < value <= 1e30)
SAMPLES: Range = ("in [0, 10000]", lambda value: 0 <= value <= 10**4)
DECAY: Range = ("in [0, 1)", lambda value: 0 <= value < 1)
SEED: Range = ("in [0, 2**63)", lambda value: 0 <= value < 2**63)


def _setting(
    default: Any, help: str, allowed: Range | None = None, *, choices: tuple[str, ...] = (), metavar: str | None = None
) -> Any:
    return field(default=default, metadata=dict(help=help, allowed=allowed, choices=choices, metavar=metavar))


@dataclass(frozen=True)
class Settings:
    """The settings of a training. The training ends after ``steps`` or ``epochs``, by default after 20 epochs."""

    batch_size: int = _setting(16, "of all processes together (%(default)s)", POSITIVE)
    accumulate: int = _setting(1, "parts of a batch, computed in turn to save memory (%(default)s)", POSITIVE)
    steps: int | None = _setting(None, "how many batches", POSITIVE)
    epochs: int | None = _setting(None, "how many times all images (20)", POSITIVE)
    optimiser: str = _setting("rmsprop", "%(default)s by default", choices=OPTIMISERS)
    learning_rate: float = _setting(1e-3, "(%(default)s)", RATE)
    weight_decay: float | None = _setting(
        None, "decoupled; the optimiser's own by default: rmsprop 0, adamw 0.01", NOT_NEGATIVE
    )
    schedule: str = _setting("constant", "of the learning rate, %(default)s by default", choices=SCHEDULES)
    warmup: int = _setting(0, "steps over which the learning rate rises (%(default)s)", NOT_NEGATIVE)
    clip: float = _setting(1.0, "largest norm of the gradient (%(default)s; 0: none)", NOT_NEGATIVE)
    ema: float = _setting(0.0, "score a moving average of the weights, such as 0.999", DECAY, metavar="DECAY")
    bf16: bool = _setting(False, "train under bfloat16 autocast")
    compile: str = _setting("off", "torch.compile of the loss (%(default)s)", choices=CHOICES)
    flip: bool = _setting(False, "mirror images at random")
    shift: int = _setting(0, "largest random move of an image (%(default)s)", NOT_NEGATIVE, metavar="PIXELS")
    seed: int = _setting(0, "(%(default)s)", SEED)
    samples: int = _setting(16, "in the picture after each epoch (%(default)s; 0: no picture)", SAMPLES)
    save_every: int = _setting(1000, "steps between checkpoints inside an epoch (%(default)s)", POSITIVE)

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check(setting.name, setting.type, getattr(self, setting.name), **setting.metadata)
        if self.steps is not None and self.epochs is not None:
            raise ValueError("expected steps or epochs, got both")
        if self.steps is not None:
            self.check_warmup(self.steps)

    def check_warmup(self, steps: int) -> None:
        if self.warmup > steps:
            raise ValueError(f"expected a warmup within the {steps} steps of the training, got {self.warmup}")


def _check(name: str, kind: Any, value: Any, allowed: Range | None, choices: tuple[str, ...], **_: Any) -> None:
    accepted = kind | int if kind in (float, float | None) else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        expected = getattr(kind, "__name__", kind)
        raise TypeError(f"expected {name} to be {expected}, got {type(value).__name__}")
    if choices and value not in choices:
        raise ValueError(f"expected {name} to be one of {', '.join(choices)}, got {value!r}")
    if allowed and value is not None and not allowed[1](value):
        raise ValueError(f"expected {name} {allowed[0]}, got {value}")
