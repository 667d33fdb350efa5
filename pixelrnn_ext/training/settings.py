"""How to train."""

import math
from dataclasses import dataclass, fields
from typing import Any

from . import optimiser


@dataclass(frozen=True)
class Settings:
    """How to train. ``batch_size`` is that of all processes together.

    Attributes:
        steps, epochs: how long; one of them, 20 epochs if neither is given.
        optimiser, weight_decay, schedule, warmup: see optimiser.py.
        clip: largest norm of the gradient of the nats per dimension; 0 leaves it as it is.
        ema: decay of the moving average of the parameters, which is then what is scored; 0 keeps none.
        bf16: autocast of the training steps to bfloat16. flip: images are mirrored at random. shift: they
            are moved at random by up to so many pixels.
        samples: images in the picture after each epoch. save_every: steps between checkpoints inside an epoch.
    """

    batch_size: int = 16
    steps: int | None = None
    epochs: int | None = None
    optimiser: str = "rmsprop"
    learning_rate: float = 1e-3
    weight_decay: float | None = None
    schedule: str = "constant"
    warmup: int = 0
    clip: float = 1.0
    ema: float = 0.0
    bf16: bool = False
    flip: bool = False
    shift: int = 0
    seed: int = 0
    samples: int = 16
    save_every: int = 1000

    def __post_init__(self) -> None:
        for each in fields(self):
            kind: Any = each.type  # a class or a union, since annotations are not postponed here
            value, of = getattr(self, each.name), (kind | int if kind in (float, float | None) else kind)
            if not isinstance(value, of) or (isinstance(value, bool) and of is not bool):
                expected = getattr(kind, "__name__", kind)
                raise TypeError(f"expected {each.name} to be {expected}, got {type(value).__name__}")
        if self.steps is not None and self.epochs is not None:
            raise ValueError("expected steps or epochs, got both")
        if self.optimiser not in optimiser.OPTIMISERS:
            raise ValueError(
                f"expected optimiser to be one of {', '.join(optimiser.OPTIMISERS)}, got {self.optimiser!r}"
            )
        if self.schedule not in optimiser.SCHEDULES:
            raise ValueError(f"expected schedule to be one of {', '.join(optimiser.SCHEDULES)}, got {self.schedule!r}")
        for name in ("batch_size", "steps", "epochs", "save_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"expected {name} >= 1, got {value}")
        for name in ("warmup", "clip", "shift", "samples", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"expected {name} >= 0 and finite, got {value}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"expected learning_rate > 0 and finite, got {self.learning_rate}")
        if self.steps is not None:
            self.check_warmup(self.steps)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"expected seed in [0, 2**63), got {self.seed}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"expected ema in [0, 1), got {self.ema}")

    def check_warmup(self, steps: int) -> None:
        """ValueError where a training of so many steps would end before its learning rate has risen."""
        if self.warmup > steps:
            raise ValueError(f"expected a warmup within the {steps} steps of the training, got {self.warmup}")
