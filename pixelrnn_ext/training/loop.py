"""The training of a model: steps, evaluations, checkpoints, and a resumption that continues to the bit.

Everything random is a function of the seed and the step (batches.py), the learning rate is one of the step: parameters,
their average, the optimiser's state and the step's number are all there is to save.
"""

import math
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .. import models
from . import checkpoint, optimiser, output
from .batches import Order, training_batch
from .curve import CURVE, write_learning_curve
from .data import DataSet, conditions
from .distributed import World
from .drawing import draw
from .evaluation import nats_per_image
from .grid import write_grid
from .journal import Journal
from .optional import need
from .progress import bar, follow
from .stored_data import check_same, check_same_everywhere
from .tensorboard import Board

LOG_EVERY = 25  # steps between two points of the learning curve; the loss leaves the device no more often

Stop = Callable[[], bool]


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


@dataclass
class Progress:
    """``evaluated``, ``best_step``: steps after which the model was scored last and best; ``best``: nats per image."""

    step: int = 0
    evaluated: int = 0
    best: float = math.inf
    best_step: int = 0


class Likelihood(nn.Module):
    """A model's nats per dimension as a forward, since DistributedDataParallel wraps nothing else."""

    model: models.AutoregressiveModel

    def __init__(self, model: models.AutoregressiveModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        return -self.model.log_prob(images, condition).sum() / images.numel()


@dataclass
class Training:
    """One training in the folder ``out``: last.safetensors, best.safetensors (on validation), log.jsonl and pictures.

    Args:
        model: on the CPU; a model with ``condition_channels`` is given the data set's labels.
        facts: what a checkpoint says besides, such as the command.
        say: prints a line.
        overwrite: a training that is in the folder, and is not resumed, gives way to this one's first checkpoint.
        tensorboard: the log is written for TensorBoard, too.

    Raises:
        ValueError: model, data and settings do not fit.
    """

    model: models.AutoregressiveModel
    data: DataSet
    settings: Settings
    world: World
    out: Path
    facts: dict[str, Any] = field(default_factory=dict)
    say: Callable[[str], object] = print
    overwrite: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        settings, here = self.settings, self.world
        if settings.batch_size % here.size:
            raise ValueError(f"expected a batch size divisible by {here.size} processes, got {settings.batch_size}")
        check_fits(self.model, self.data)
        _, *sides = self.data.shape
        if settings.shift >= min(sides):
            raise ValueError(f"expected a shift smaller than the images' {min(sides)} pixels, got {settings.shift}")
        self.data.check_not_empty("train", "validation")
        check_same_everywhere(self.data, here)
        self.order: Order = Order(len(self.data.splits["train"]), settings.batch_size, settings.seed)
        epochs = 20 if settings.epochs is None else settings.epochs
        self.steps: int = settings.steps or epochs * self.order.steps_per_epoch
        settings.check_warmup(self.steps)
        self.model.to(here.device)
        self.average: AveragedModel | None = None
        if settings.ema:
            self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
        self.parameters: list[nn.Parameter] = list(self.model.parameters())
        self.optimiser: torch.optim.Optimizer = optimiser.make(
            settings.optimiser, self.parameters, settings.learning_rate, settings.weight_decay
        )
        self.likelihood: nn.Module = Likelihood(self.model)
        if here.size > 1:
            self.likelihood = DistributedDataParallel(self.likelihood)
        self.progress: Progress = Progress()
        self.resumed: bool = False
        self.journal: Journal | None = None
        self._has_checkpoint = False
        self.train_score: float | None = None
        self.images_per_second: float | None = None
        self._nats, self._counted = torch.zeros((), device=here.device), 0

    @property
    def scored_model(self) -> models.AutoregressiveModel:
        return self.model if self.average is None else cast(models.AutoregressiveModel, self.average.module)

    def resume(self, path: Path) -> dict[str, Any]:
        """Continues from a checkpoint that :meth:`save` wrote with this model, data and settings; its facts.

        Raises:
            OSError, ValueError: as checkpoint.load; it is of another model, or without the state of the optimiser.
        """
        tensors, facts = checkpoint.load(path)
        check_same(facts, self.data)
        checkpoint.fill(self.model, checkpoint.part(tensors, "model"), path)
        self.progress = Progress(**{each.name: facts["progress"][each.name] for each in fields(Progress)})
        if self.progress.step > self.steps:
            done = f"the {self.progress.step} steps that are done"
            raise ValueError(f"expected a training no shorter than {done}, got one of {self.steps} steps")
        if self.average is not None:
            checkpoint.fill(self.average.module, checkpoint.part(tensors, "average"), path)
            self.average.n_averaged.fill_(self.progress.step)
        state = checkpoint.part(tensors, "optimiser")
        if self.progress.step or state:  # there is none before the first step
            try:
                optimiser.load_state_tensors(self.optimiser, state)
            except ValueError as error:
                raise ValueError(f"{path} cannot be resumed: {error}") from error
        self.resumed = self._has_checkpoint = True
        return facts

    def save(self, name: str = checkpoint.LAST) -> None:
        """Writes a checkpoint into the folder, in the first process. FloatingPointError: a parameter is not finite."""
        self._check_finite("the norm of the parameters", float(nn.utils.get_total_norm(self.parameters)))
        if not self.world.first:
            return
        parts = {"model": self.model.state_dict(), "optimiser": optimiser.state_tensors(self.optimiser)}
        if self.average is not None:
            parts["average"] = self.average.module.state_dict()
        tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        facts = {
            "model": models.to_config(self.model),
            "data": self.data.facts,
            "settings": asdict(self.settings),
            "length": {"steps": self.steps, "steps_per_epoch": self.order.steps_per_epoch},
            "progress": asdict(self.progress),
        }
        checkpoint.save(self.out / name, tensors, facts | self.facts)
        if not self._has_checkpoint:
            self._has_checkpoint = True
            if self.overwrite:  # no earlier: now there is something in its place
                output.clear(self.out, but=name)
        if self.journal:
            self.journal.begin()

    def run(self, stop: Stop = lambda: False) -> bool:
        """Trains to the end; False where ``stop()``, asked before every step, came true: then a checkpoint is written.

        Raises:
            FloatingPointError: the loss is not finite; checkpoints are of earlier steps.
            BlockingIOError: another process trains in the folder. ValueError: it holds a training that is not resumed.
        """
        with ExitStack() as stack:
            with self.world.alike():
                if self.world.first:
                    stack.enter_context(output.locked(self.out, self.facts.get("command", "a training")))
                    self._begin(stack)
            return self._run(stop)

    def _begin(self, stack: ExitStack) -> None:
        """Makes the folder ready, in the first process."""
        if not (self.resumed or self.overwrite):
            output.check_unused(self.out)
        output.remove_left_over(self.out)
        board = Board(self.out) if self.tensorboard else None
        self.journal = Journal(self.out, self.progress.step, board, data=self.data.description, unit=self.data.unit)
        stack.callback(self.journal.close)
        self._draws_curve = self._can_draw("a learning curve", "matplotlib.figure")
        self._draws_samples = self.settings.samples > 0 and self._can_draw(
            "pictures of samples", "PIL.Image", "torchvision.utils"
        )

    def _can_draw(self, what: str, *packages: str) -> bool:
        try:
            for package in packages:
                need(package)
        except Exception as error:  # a torchvision for another torch raises RuntimeError
            warnings.warn(f"training goes on without {what}: {_reason(error)}", stacklevel=2)
            return False
        return True

    def _run(self, stop: Stop) -> bool:
        batch = self.settings.batch_size
        progress = self.progress
        self._make_up(stop)
        with bar("images", self.steps * batch, delay=0, initial=progress.step * batch) as self._bar:
            self._since = time.monotonic()
            while True:
                if self._evaluation_is_due():
                    self._evaluate(stop)
                if self.world.any(stop()):
                    self._log_loss()
                    self.save()
                    return False
                if progress.step >= self.steps:
                    return True
                self._nats += self._step(progress.step)
                self._counted += 1
                progress.step += 1
                self._bar.update(batch)
                if progress.step % LOG_EVERY == 0:
                    self._log_loss()
                if progress.step % self.settings.save_every == 0:
                    self._log_loss()
                    self.save()

    def _step(self, step: int) -> Tensor:
        settings, here = self.settings, self.world
        images, condition = training_batch(
            self.data,
            self.order[step],
            step,
            seed=settings.seed,
            flip=settings.flip,
            shift=settings.shift,
            share=slice(here.rank, None, here.size),
            device=here.device,
            conditional=self.model.condition_channels > 0,
        )
        rate = optimiser.learning_rate(settings.learning_rate, settings.schedule, step, self.steps, settings.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(here.device.type, torch.bfloat16, enabled=settings.bf16):
            nats = self.likelihood(images, condition)
        nats.backward()
        if settings.clip:
            nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return nats.detach()

    def _log_loss(self) -> None:
        """The mean loss since the last point goes to the log and to the bar."""
        if not self._counted:
            return
        step = self.progress.step
        nats = float(self.world.sum(self._nats)) / (self._counted * self.world.size)
        self._check_finite("the loss", nats)
        self.train_score = self.data.score(nats * math.prod(self.data.shape))
        self.images_per_second = self._counted * self.settings.batch_size / (time.monotonic() - self._since)
        if self.journal:
            speed = round(self.images_per_second, 1)
            self.journal.write("train", step, score=self.train_score, images_per_second=speed)
        self._bar.set_postfix_str(f"{self.train_score:.4g} {self.data.unit}")
        self._nats.zero_()
        self._counted, self._since = 0, time.monotonic()

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            saved = (
                "the last checkpoint is of an earlier step" if self._has_checkpoint else "there is no checkpoint yet"
            )
            mend = "try a lower learning rate or clip"
            raise FloatingPointError(f"{what} is {value} around step {self.progress.step}; {saved}; {mend}")

    def _evaluation_is_due(self) -> bool:
        step = self.progress.step
        at_an_end = step % self.order.steps_per_epoch == 0 or step == self.steps
        return self._unreported or (at_an_end and step != self.progress.evaluated)

    def _make_up(self, stop: Stop) -> None:
        """What a kill between a checkpoint and the log or the pictures of its step left out."""
        step = self.progress.step
        here_last = self.resumed and 0 < step == self.progress.evaluated
        journal = self.journal
        logged = journal and any((entry["event"], entry["step"]) == ("validation", step) for entry in journal.entries)
        self._unreported = self.world.any(here_last and self.world.first and not logged)
        if journal and here_last and logged:
            self._draw(journal, stop, again=False)

    def _evaluate(self, stop: Stop) -> None:
        """Scores the validation split; a stop leaves this to the resumed training."""
        self._log_loss()
        progress = self.progress
        with bar("images", len(self.data.splits["validation"]), "validation") as shown:
            nats = nats_per_image(
                self.scored_model,
                self.data,
                "validation",
                self.world,
                batch_size=self.settings.batch_size,
                stop=stop,
                progress=shown.update,
            )
        if nats is None:
            return
        self._check_finite("the validation loss", nats)
        progress.evaluated, self._unreported = progress.step, False
        if nats < progress.best:
            progress.best, progress.best_step = nats, progress.step
            self.save(checkpoint.BEST)
        self.save()
        if self.journal:
            self._report(self.journal, nats)
            self._draw(self.journal, stop)
        self._since = time.monotonic()

    def _report(self, journal: Journal, nats: float) -> None:
        progress, data = self.progress, self.data
        epoch = progress.step / self.order.steps_per_epoch
        journal.write("validation", progress.step, score=data.score(nats), best_step=progress.best_step)
        best = "best so far" if progress.best_step == progress.step else f"best at step {progress.best_step}"
        train = speed = ""
        if self.train_score is not None:  # None where a resumed training had only this left to do
            train, speed = f"train {self.train_score:.4f}, ", f", {self.images_per_second:.0f} images/s"
        self.say(
            f"epoch {epoch:.4g}, step {progress.step}: {train}validation {data.score(nats):.4f} {data.unit}, {best}"
            f"{speed}; {data.description}"
        )

    def _draw(self, journal: Journal, stop: Stop, again: bool = True) -> None:
        """The pictures of a step; that one cannot be drawn or written ends no training."""
        samples = self.out / output.SAMPLES.format(self.progress.step)
        pictures: dict[Path, Callable[[Path], None]] = {}
        if self._draws_curve:
            pictures[self.out / CURVE] = lambda path: self._write_curve(path, journal)
        if self._draws_samples and (again or not samples.exists()):
            pictures[samples] = lambda path: self._write_samples(path, stop)
        for path, write in pictures.items():
            try:
                write(path)
            except Exception as error:  # of the disk, Pillow, matplotlib or the memory
                self.say(f"training goes on without {path}: {_reason(error)}")

    def _write_curve(self, path: Path, journal: Journal) -> None:
        write_learning_curve(path, journal.entries, self.data.description, self.data.unit)

    def _write_samples(self, path: Path, stop: Stop) -> None:
        count, model = self.settings.samples, self.scored_model
        with bar("rows", what="samples") as shown:
            show = follow(shown)

            def progress(done: int, total: int) -> None:
                show(done, total)
                if stop():
                    raise KeyboardInterrupt

            images, finished = draw(
                model,
                count,
                self.data.shape,
                seed=self.settings.seed,
                condition=cycled_classes(count, model.condition_channels),
                progress=progress,
            )
        if finished:
            write_grid(path, images / (self.data.levels - 1), math.ceil(count**0.5))


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


def cycled_classes(count: int, classes: int) -> Tensor | None:
    """Conditions for ``count`` images, one class after the other; None for a model without classes."""
    return conditions(torch.arange(count) % classes, classes) if classes else None


def check_fits(model: models.AutoregressiveModel, data: DataSet) -> None:
    """ValueError where the model is for other images, or its condition not the data set's classes."""
    got = data.shape[0], data.levels
    if (model.image_channels, model.levels) != got:
        expected = f"{model.image_channels} channels and {model.levels} levels"
        raise ValueError(f"expected images with {expected}, as the model has, got {got[0]} and {got[1]} of {data.name}")
    if model.condition_channels not in (0, len(data.classes)):
        expected = f"{model.condition_channels} classes, as the model has"
        raise ValueError(f"expected {expected}, got {len(data.classes)} of {data.name}")
