import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..models import AutoregressiveModel
from .batches import select
from .builder import check_fits
from .data import DataSet, conditions
from .distributed import World
from .progress import bar


def nats_per_image(
    model: AutoregressiveModel,
    data: DataSet,
    split: str,
    world: World,
    *,
    batch_size: int = 16,
    stop: Callable[[], bool] | None = None,
) -> float | None:
    """Returns the mean of -log_prob of a split in nats, or None if ``stop()`` is true in any process."""
    data.check_not_empty(split)
    try:
        return mean(image_nats(model, data, split, world, batch_size=batch_size, stop=stop))
    except KeyboardInterrupt:
        if stop is None:
            raise
        return None


@torch.no_grad()
def image_nats(
    model: AutoregressiveModel,
    data: DataSet,
    split: str,
    world: World,
    *,
    batch_size: int = 16,
    stop: Callable[[], bool] | None = None,
) -> list[float]:
    """Returns -log_prob in nats of each image of a split.

    The processes divide the batches. Raises KeyboardInterrupt if ``stop()`` is true in any process.
    """
    check_fits(model, data)

    def score(batch: slice) -> Tensor:
        if stop is not None and stop():
            raise KeyboardInterrupt
        values, condition = select(data, split, batch, world.device, model.condition_channels > 0)
        return -model.log_prob(values, condition, check=False).double()

    return _each_image(score, len(data.splits[split]), split, world, batch_size)


def mean(values: Sequence[float]) -> float:
    """Returns the mean of float64 numbers, whose exact sum depends on no order, thread or process."""
    return math.fsum(values) / len(values)


def _each_image(
    score: Callable[[slice], Tensor], images: int, split: str, world: World, batch_size: int
) -> list[float]:
    """Returns the results of ``score`` for all images. ``score`` takes a batch, and returns float64, one an image."""
    batches = [slice(start, min(start + batch_size, images)) for start in range(0, images, batch_size)]

    def compute(batch: slice) -> Tensor:
        part = score(batch)
        return part if world.size == 1 else part.cpu()  # a single process does not wait for its GPU here

    parts: list[Tensor] = []
    with bar("images", images, split) as shown:
        for batch, part in zip(batches, world.map(compute, batches), strict=True):
            parts.append(part)
            shown.update(batch.stop - batch.start)
    found: list[float] = torch.cat(parts).tolist() if parts else []
    return found


def split_score(model: AutoregressiveModel, data: DataSet, split: str, world: World, batch_size: int = 16) -> float:
    nats = nats_per_image(model, data, split, world, batch_size=batch_size)
    assert nats is not None
    return data.score(nats)


@torch.no_grad()
def accuracy(model: AutoregressiveModel, data: DataSet, split: str, world: World, batch_size: int = 16) -> float:
    """Returns the share of a split's images that are more likely under their own class than under all others."""
    labels, classes = data.splits[split].labels, model.condition_channels
    if not classes or labels is None:
        raise ValueError("expected a model that is told an image's class, got one without classes")
    one_hot = conditions(torch.arange(classes), classes).to(world.device).split(1)

    def is_right(batch: slice) -> Tensor:
        values, _ = select(data, split, batch, world.device, False)
        likelihoods = torch.stack([model.log_prob(values, condition, check=False) for condition in one_hot])
        return (likelihoods.argmax(0) == labels[batch].to(world.device)).double()

    return mean(_each_image(is_right, len(labels), split, world, batch_size))
