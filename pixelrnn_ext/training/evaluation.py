from collections.abc import Callable

import torch
from torch import Tensor

from ..models import AutoregressiveModel
from .batches import select
from .builder import check_fits
from .data import DataSet
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
    images = len(data.splits[split])
    batches = [slice(start, min(start + batch_size, images)) for start in range(0, images, batch_size)]

    def score(batch: slice) -> Tensor:
        if stop is not None and stop():
            raise KeyboardInterrupt
        values, condition = select(data, split, batch, world.device, model.condition_channels > 0)
        nats = -model.log_prob(values, condition, check=False).double().sum()
        return nats if world.size == 1 else nats.cpu()

    total = torch.zeros((), dtype=torch.float64)
    try:
        with bar("images", images, split) as shown:
            for batch, nats in zip(batches, world.map(score, batches), strict=True):
                total = total.to(nats.device) + nats
                shown.update(batch.stop - batch.start)
    except KeyboardInterrupt:
        if stop is None:
            raise
        return None
    return float(total) / images


def split_score(model: AutoregressiveModel, data: DataSet, split: str, world: World, batch_size: int = 16) -> float:
    nats = nats_per_image(model, data, split, world, batch_size=batch_size)
    assert nats is not None
    return data.score(nats)
