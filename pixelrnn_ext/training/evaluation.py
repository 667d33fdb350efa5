from collections.abc import Callable

import torch
from torch import Tensor

from ..models import AutoregressiveModel
from .batches import select
from .builder import check_fits
from .data import DataSet, conditions
from .distributed import World
from .progress import bar


@torch.no_grad()
def nats_per_image(
    model: AutoregressiveModel,
    data: DataSet,
    split: str,
    world: World,
    *,
    batch_size: int = 16,
    stop: Callable[[], bool] | None = None,
) -> float | None:
    """Returns the mean of -log_prob of a split in nats, or None if ``stop()`` is true in any process.

    The processes divide the batches. The sum over the batches does not depend on the number of processes.
    """
    check_fits(model, data)
    data.check_not_empty(split)

    def score(batch: slice) -> Tensor:
        if stop is not None and stop():
            raise KeyboardInterrupt
        values, condition = select(data, split, batch, world.device, model.condition_channels > 0)
        return -model.log_prob(values, condition, check=False).double()

    try:
        return _mean(score, len(data.splits[split]), split, world, batch_size)
    except KeyboardInterrupt:
        if stop is None:
            raise
        return None


def _mean(score: Callable[[slice], Tensor], images: int, split: str, world: World, batch_size: int) -> float:
    """Returns the mean of ``score`` over all images. ``score`` takes a batch, and returns a float64 for each image."""
    batches = [slice(start, min(start + batch_size, images)) for start in range(0, images, batch_size)]

    def add(batch: slice) -> Tensor:
        part = score(batch).sum()
        return part if world.size == 1 else part.cpu()

    total = torch.zeros((), dtype=torch.float64)
    with bar("images", images, split) as shown:
        for batch, part in zip(batches, world.map(add, batches), strict=True):
            total = total.to(part.device) + part
            shown.update(batch.stop - batch.start)
    return float(total) / images


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

    return _mean(is_right, len(labels), split, world, batch_size)
