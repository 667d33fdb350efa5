from collections.abc import Callable

import torch

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
    stop: Callable[[], bool] = lambda: False,
) -> float | None:
    """Returns the mean of -log_prob of a split in nats, or None if ``stop()`` is true in any process."""
    check_fits(model, data)
    data.check_not_empty(split)
    images = len(data.splits[split])
    total = torch.zeros((), dtype=torch.float64, device=world.device)
    with bar("images", images, split) as shown:
        for start in range(0, images, batch_size):
            if world.any(stop()):
                return None
            end = min(start + batch_size, images)
            share = slice(start + world.rank, end, world.size)
            batch, condition = select(data, split, share, world.device, model.condition_channels > 0)
            if len(batch):
                total -= model.log_prob(batch, condition, check=False).double().sum()
            shown.update(end - start)
    return float(world.sum(total)) / images


def split_score(model: AutoregressiveModel, data: DataSet, split: str, world: World, batch_size: int = 16) -> float:
    nats = nats_per_image(model, data, split, world, batch_size=batch_size)
    assert nats is not None
    return data.score(nats)
