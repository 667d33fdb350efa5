"""Trains a model: runs the training steps, scores the model, and writes checkpoints.

A resumed training computes the same bits as one without interruption, because random numbers (batches.py) and the
learning rate depend only on the seed and the step. With three or more processes the last bits may differ, because
DistributedDataParallel adds up the gradients of its first step in another order.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .. import models
from . import checkpoint, compiled, optimiser, output
from .batches import Order, training_batch
from .builder import check_fits
from .data import DataSet
from .distributed import World
from .evaluation import nats_per_image
from .gallery import Gallery
from .journal import Board, Journal
from .progress import bar
from .settings import Settings
from .stopping import AgreedStop
from .stored_data import check_same, check_same_everywhere

# Steps between two entries of the log. Reading the loss waits for the device.
LOG_EVERY = 25

Stop = Callable[[], bool]


@dataclass
class Progress:
    """How far a training has come.

    ``evaluated`` is the last validated step. ``best`` is the score of ``best_step``, in nats per image.
    """

    step: int = 0
    evaluated: int = 0
    best: float = math.inf
    best_step: int = 0


class Likelihood(nn.Module):
    """Computes the loss of a model, in nats per dimension.

    It does so in ``forward``, because DistributedDataParallel wraps only this method.
    """

    def __init__(self, model: models.AutoregressiveModel) -> None:
        super().__init__()
        self.model: models.AutoregressiveModel = model

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        return self.model.log_prob(images, condition, check=False).sum() / -images.numel()


@dataclass
class Training:
    """A training of a model, which writes to the folder ``out``.

    Checkpoints also store ``facts``, such as the command line. ``overwrite`` removes another training from the folder,
    after this training's first checkpoint.
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
        settings, world = self.settings, self.world
        if settings.batch_size % world.size:
            raise ValueError(f"expected a batch size divisible by {world.size} processes, got {settings.batch_size}")
        if settings.batch_size // world.size % settings.accumulate:
            expected = f"the {settings.batch_size // world.size} images of a process in equal parts"
            raise ValueError(f"expected {expected}, got accumulate {settings.accumulate}")
        check_fits(self.model, self.data)
        _, *sides = self.data.shape
        if settings.shift >= min(sides):
            raise ValueError(f"expected a shift smaller than the images' {min(sides)} pixels, got {settings.shift}")
        self.data.check_not_empty("train", "validation")
        check_same_everywhere(self.data, world)
        self.order: Order = Order(len(self.data.splits["train"]), settings.batch_size, settings.seed)
        epochs = 20 if settings.epochs is None else settings.epochs
        self.steps: int = settings.steps or epochs * self.order.steps_per_epoch
        settings.check_warmup(self.steps)
        self.model.to(world.device)
        self.average: optimiser.MovingAverage | None = None
        if settings.ema:
            self.average = optimiser.MovingAverage(self.model, settings.ema)
        self.parameters: list[nn.Parameter] = list(self.model.parameters())
        self.optimiser: torch.optim.Optimizer = optimiser.make(
            settings.optimiser, self.parameters, settings.learning_rate, settings.weight_decay
        )
        self.loss: nn.Module = Likelihood(self.model)
        self.likelihood: nn.Module = self.loss
        self.compiled: bool | None = None
        self.progress: Progress = Progress()
        self.resumed: bool = False
        self.journal: Journal | None = None
        self._has_checkpoint = False
        self.train_score: float | None = None
        self.images_per_second: float | None = None
        self._nats_since_log, self._steps_since_log = torch.zeros((), device=world.device), 0
        self._write_entry: Callable[[], None] | None = None

    @property
    def images_at_once(self) -> int:
        """The number of images that a process computes at once."""
        return self.settings.batch_size // self.world.size // self.settings.accumulate

    @property
    def scored_model(self) -> models.AutoregressiveModel:
        return self.model if self.average is None else cast(models.AutoregressiveModel, self.average.module)

    def resume(self, path: Path) -> dict[str, Any]:
        """Continues a training from its checkpoint at ``path``, and returns the checkpoint's facts.

        The model, data and settings must be the same.
        """
        tensors, facts = checkpoint.load(path)
        check_same(facts, self.data)
        checkpoint.load_into(self.model, checkpoint.tensors_of(tensors, "model"), path)
        self.progress = Progress(**{name: facts["progress"][name] for name in asdict(self.progress)})
        if self.progress.step > self.steps:
            done = f"the {self.progress.step} steps that are done"
            raise ValueError(f"expected a training no shorter than {done}, got one of {self.steps} steps")
        if self.average is not None:
            checkpoint.load_into(self.average.module, checkpoint.tensors_of(tensors, "average"), path)
            self.average.n_averaged.fill_(self.progress.step)
        state = checkpoint.tensors_of(tensors, "optimiser")
        # Before the first step the optimiser has no state.
        if self.progress.step or state:
            try:
                optimiser.load_state_tensors(self.optimiser, state)
            except ValueError as error:
                raise ValueError(f"{path} cannot be resumed: {error}") from error
        self.compiled = bool(facts.get("compiled"))
        self.resumed = self._has_checkpoint = True
        return facts

    def save(self, name: str = checkpoint.LAST) -> None:
        """Logs the mean loss, and writes a checkpoint. Only the first process writes.

        Raises FloatingPointError if a parameter is not finite.
        """
        self._log_loss()
        self._check_finite("the norm of the parameters", float(nn.utils.get_total_norm(self.parameters)))
        if not self.world.is_first:
            return
        parts = {"model": self.model.state_dict(), "optimiser": optimiser.state_tensors(self.optimiser)}
        if self.average is not None:
            parts["average"] = self.average.module.state_dict()
        tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        facts = dict(
            model=models.to_config(self.model),
            data=self.data.facts,
            settings=asdict(self.settings),
            length=dict(steps=self.steps, steps_per_epoch=self.order.steps_per_epoch),
            progress=asdict(self.progress),
            compiled=bool(self.compiled),
        )
        checkpoint.save(self.out / name, tensors, facts | self.facts)
        if not self._has_checkpoint:
            self._has_checkpoint = True
            # The old training stays until the new training has a checkpoint.
            if self.overwrite:
                output.clear(self.out, keep=name)
        if self.journal:
            self.journal.begin()

    def run(self, stop: Stop = lambda: False) -> bool:
        """Trains until the last step, and returns True.

        If ``stop()`` is true in any process before that, writes a checkpoint and returns False.

        Raises FloatingPointError if the loss or a parameter is not finite, and ValueError if nothing can compile a
        training that is to be compiled.
        """
        self._compile()
        with ExitStack() as stack:
            with self.world.fail_together():
                if self.world.is_first:
                    stack.enter_context(output.locked(self.out, self.facts.get("command", "a training")))
                    self._begin(stack)
            if self.world.size > 1:
                # Compiling self.loss in place also compiles the module that DistributedDataParallel wraps.
                self.likelihood = DistributedDataParallel(self.loss)
            try:
                return self._run(stop)
            finally:
                self.likelihood = self.loss  # DistributedDataParallel keeps a process group from ending

    def _compile(self) -> None:
        if self.progress.step < self.steps:
            choice, before = self.settings.compile, self.compiled
            self.compiled, why = compiled.choose(choice, before, self.loss, self._discarded_step, self.world)
            if why:
                self.say(why)

    def _begin(self, stack: ExitStack) -> None:
        if not (self.resumed or self.overwrite):
            output.check_unused(self.out)
        output.remove_left_over(self.out)
        board = Board(self.out, self.data.unit) if self.tensorboard else None
        self.journal = Journal(self.out, self.progress.step, board, data=self.data.description, unit=self.data.unit)
        stack.callback(self.journal.close)
        self._gallery = Gallery(self.out, self.data, self.settings.samples, self.settings.seed, self.say)

    def _run(self, stop: Stop) -> bool:
        batch = self.settings.batch_size
        progress = self.progress
        agreed_stop = AgreedStop(stop, self.world)
        self._finish_evaluation(stop)
        with bar("images", self.steps * batch, delay=0, initial=progress.step * batch) as self._bar:
            self._start = time.monotonic()
            while True:
                if self._evaluation_is_due():
                    self._evaluate(stop)
                is_last = progress.step >= self.steps
                # An evaluation that is still due was interrupted. A resumed training repeats it before the next step.
                if agreed_stop(at_once=is_last or self._evaluation_is_due()):
                    self.save()
                    return False
                if is_last:
                    return True
                self._nats_since_log += self._step(progress.step)
                self._steps_since_log += 1
                progress.step += 1
                self._bar.update(batch)
                if progress.step % LOG_EVERY == 0:
                    self._log_loss(at_once=self.world.size == 1)
                if progress.step % self.settings.save_every == 0:
                    self.save()

    def _parts(self, step: int) -> list[tuple[Tensor, Tensor | None]]:
        """Returns this process's images of a step, and their condition, in ``accumulate`` parts."""
        settings, world = self.settings, self.world
        images, condition = training_batch(
            self.data,
            self.order[step],
            step,
            seed=settings.seed,
            flip=settings.flip,
            shift=settings.shift,
            share=slice(world.rank, None, world.size),
            device=world.device,
            conditional=self.model.condition_channels > 0,
        )
        parts = images.split(self.images_at_once)
        return list(zip(parts, [None] * len(parts) if condition is None else condition.split(self.images_at_once)))

    def _discarded_step(self) -> None:
        """Computes the loss and the gradients of the next step, and changes nothing."""
        images, condition = self._parts(self.progress.step)[0]
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.settings.bf16):
            nats = self.loss(images, condition)
        torch.autograd.grad(nats, self.parameters, allow_unused=True)

    def _step(self, step: int) -> Tensor:
        settings = self.settings
        *parts, last_part = self._parts(step)
        rate = optimiser.learning_rate(settings.learning_rate, settings.schedule, step, self.steps, settings.warmup)
        optimiser.set_learning_rate(self.optimiser, rate)
        self.optimiser.zero_grad(set_to_none=True)
        losses = []
        with self._without_exchange():
            for part in parts:
                losses.append(self._add_gradients(*part))
                self._keep_gradients()
        nats = sum(losses, self._add_gradients(*last_part))
        if settings.clip:
            optimiser.clip_gradients(self.parameters, settings.clip)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return nats

    def _add_gradients(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Adds a part's gradients to those of the parameters. Returns the part's contribution to the loss."""
        settings = self.settings
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=settings.bf16):
            nats = self.likelihood(images, condition)
            if settings.accumulate > 1:
                nats = nats / settings.accumulate
        nats.backward()
        return nats.detach()

    def _keep_gradients(self) -> None:
        """Copies the gradients that the next part of the batch would overwrite (compiled.overwrites_outputs).

        An unused parameter keeps no gradient, not one of zero, by which an optimiser would decay it.
        """
        if not self.compiled or not compiled.overwrites_outputs(self.world.device):
            return
        used = [parameter for parameter in self.parameters if parameter.grad is not None]
        gradients = [cast(Tensor, parameter.grad) for parameter in used]
        copies = [torch.empty_like(gradient) for gradient in gradients]
        torch._foreach_copy_(copies, gradients)
        for parameter, copy in zip(used, copies):
            parameter.grad = copy

    def _without_exchange(self) -> AbstractContextManager[None]:
        """The processes exchange gradients only in the backward pass of the last part."""
        ddp = self.likelihood
        return ddp.no_sync() if isinstance(ddp, DistributedDataParallel) else nullcontext()

    def _log_loss(self, at_once: bool = True) -> None:
        """Writes the mean loss since the last entry of the log.

        Without ``at_once``, the processes sum their losses while they go on, and the next call writes the entry.
        """
        write, self._write_entry = self._write_entry, None
        if write:
            write()
        if not self._steps_since_log:
            return
        # The next steps add to another tensor, because this one may still be exchanged.
        total, self._nats_since_log = self._nats_since_log, torch.zeros_like(self._nats_since_log)
        waiting, now = self.world.begin_sum(total), time.monotonic()
        speed = self._steps_since_log * self.settings.batch_size / (now - self._start)
        self._write_entry = partial(self._write_loss, waiting, self.progress.step, self._steps_since_log, speed)
        self._steps_since_log, self._start = 0, now
        if at_once:
            self._log_loss()

    def _write_loss(self, total: Callable[[], Tensor], step: int, steps: int, images_per_second: float) -> None:
        nats = float(total()) / (steps * self.world.size)
        self._check_finite("the loss", nats, step)
        self.train_score = self.data.score(nats * math.prod(self.data.shape))
        self.images_per_second = images_per_second
        if self.journal:
            self.journal.write("train", step, score=self.train_score, images_per_second=round(images_per_second, 1))
        self._bar.set_postfix_str(f"{self.train_score:.4g} {self.data.unit}")

    def _check_finite(self, what: str, value: float, step: int | None = None) -> None:
        if not math.isfinite(value):
            last = "the last checkpoint is of an earlier step" if self._has_checkpoint else "there is no checkpoint yet"
            where = f"around step {self.progress.step if step is None else step}"
            raise FloatingPointError(f"{what} is {value} {where}; {last}; try a lower learning rate or clip")

    def _evaluation_is_due(self) -> bool:
        step = self.progress.step
        is_end = step % self.order.steps_per_epoch == 0 or step == self.steps
        return self._unreported or (is_end and step != self.progress.evaluated)

    def _finish_evaluation(self, stop: Stop) -> None:
        """Finishes an evaluation if the training was killed after writing its checkpoint.

        Repeats it if the log lacks the validation score. Otherwise, draws missing pictures.
        """
        step = self.progress.step
        evaluated_last = self.resumed and 0 < step == self.progress.evaluated
        journal = self.journal
        logged = journal and any((entry["event"], entry["step"]) == ("validation", step) for entry in journal.entries)
        self._unreported = self.world.any(evaluated_last and self.world.is_first and not logged)
        if journal and evaluated_last and logged:
            self._gallery.draw(self.scored_model, step, journal.entries, stop, redraw=False)

    def _evaluate(self, stop: Stop) -> None:
        """Scores the model on the validation split, and writes checkpoints, the log and pictures.

        If ``stop()`` is true meanwhile, writes nothing. A resumed training scores this step.
        """
        self._log_loss()
        progress = self.progress
        at_once = self.images_at_once
        nats = nats_per_image(self.scored_model, self.data, "validation", self.world, batch_size=at_once, stop=stop)
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
            self._gallery.draw(self.scored_model, progress.step, self.journal.entries, stop)
        self._start = time.monotonic()

    def _report(self, journal: Journal, nats: float) -> None:
        progress, data = self.progress, self.data
        epoch = progress.step / self.order.steps_per_epoch
        journal.write("validation", progress.step, score=data.score(nats), best_step=progress.best_step)
        best = "best so far" if progress.best_step == progress.step else f"best at step {progress.best_step}"
        train = speed = ""
        if self.train_score is not None:
            train, speed = f"train {self.train_score:.4f}, ", f", {self.images_per_second:.0f} images/s"
        self.say(
            f"epoch {epoch:.4g}, step {progress.step}: {train}validation {data.score(nats):.4f} {data.unit}, {best}"
            f"{speed}; {data.description}"
        )
