"""Picks the images of each training step. The choice depends only on the seed and the step."""

import torch
from torch import Tensor

from .data import DataSet, binarise, conditions
from .seeds import generator


class Order:
    """Maps each training step to the indices of its images, for all processes.

    Every epoch has its own random order, and leaves out an incomplete last batch.
    """

    def __init__(self, images: int, batch_size: int, seed: int) -> None:
        if not 1 <= batch_size <= images:
            raise ValueError(f"expected a batch size from 1 to the {images} training images, got {batch_size}")
        self.steps_per_epoch: int = images // batch_size
        self._images, self._batch_size, self._seed = images, batch_size, seed
        self._epoch, self._shuffled = -1, torch.empty(0)

    def __getitem__(self, step: int) -> Tensor:
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._shuffled = torch.randperm(self._images, generator=generator("order", self._seed, epoch))
            self._epoch = epoch
        return self._shuffled[position * self._batch_size : (position + 1) * self._batch_size]


def select(
    data: DataSet, split: str, index: Tensor | slice, device: str | torch.device, conditional: bool
) -> tuple[Tensor, Tensor | None]:
    part = data.splits[split]
    condition = None
    if conditional and part.labels is not None:
        condition = _moved(conditions(part.labels[index], len(data.classes)), device)
    return _moved(part.images[index], device), condition


def shifted(images: Tensor, max_shift: int, source: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    down, right = torch.randint(2 * max_shift + 1, (2, count, 1, 1), generator=source)
    padded = torch.nn.functional.pad(images, [max_shift] * 4).permute(0, 2, 3, 1)
    rows, columns = down + torch.arange(height)[:, None], right + torch.arange(width)
    return padded[torch.arange(count)[:, None, None], rows, columns].permute(0, 3, 1, 2)


def training_batch(
    data: DataSet,
    index: Tensor,
    step: int,
    *,
    seed: int,
    flip: bool,
    shift: int,
    share: slice,
    device: str | torch.device,
    conditional: bool,
) -> tuple[Tensor, Tensor | None]:
    """Returns the images of this process for a training step, and their condition.

    ``share`` is this process's slice of the batch. The images are changed at random (drawn, flipped, shifted) before
    the batch is divided, so the changes do not depend on the number of processes.
    """
    images, condition = select(data, "train", index, "cpu", conditional)
    source = generator("draw", seed, step)
    if data.intensities is not None:
        images = binarise(data.intensities[index], source)
    if flip:
        mirrored = torch.rand(len(images), 1, 1, 1, generator=source) < 0.5
        images = torch.where(mirrored, images.flip(3), images)
    if shift:
        images = shifted(images, shift, source)
    return _moved(images[share], device), None if condition is None else _moved(condition[share], device)


def _moved(tensor: Tensor, device: str | torch.device) -> Tensor:
    """Copies a tensor to the device. A GPU copies pinned memory while the CPU goes on."""
    is_gpu = torch.device(device).type == "cuda"
    return tensor.pin_memory().to(device, non_blocking=True) if is_gpu else tensor.to(device)
