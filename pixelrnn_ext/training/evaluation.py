"""The likelihood of a split, summed exactly over images and processes."""

from collections.abc import Callable

import torch

from ..models import AutoregressiveModel
from .batches import select
from .builder import check_fits
from .data import DataSet
from .distributed import World


@torch.no_grad()
def nats_per_image(
    model: AutoregressiveModel,
    data: DataSet,
    split: str,
    world: World,
    *,
    batch_size: int = 16,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], object] = lambda images: None,
) -> float | None:
    """Mean of -log_prob over the images of a split in nats, summed in float64; None if ``stop()`` came true somewhere.

    Args:
        batch_size: images at once, of all processes together.
        progress: called with the number of images that each batch had.

    Raises:
        ValueError: the split is empty, or the model is for other images.
    """
    check_fits(model, data)
    data.check_not_empty(split)
    images = len(data.splits[split])
    total = torch.zeros((), dtype=torch.float64, device=world.device)
    for start in range(0, images, batch_size):
        if world.any(stop()):
            return None
        end = min(start + batch_size, images)
        share = slice(start + world.rank, end, world.size)
        batch, condition = select(data, split, share, world.device, model.condition_channels > 0)
        if len(batch):
            total -= model.log_prob(batch, condition, check=False).double().sum()
        progress(end - start)
    return float(world.sum(total)) / images
