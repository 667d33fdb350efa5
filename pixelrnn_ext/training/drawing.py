from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..incremental.draws import uniform_numbers
from ..models import AutoregressiveModel
from ..sampling import Progress, Report, Sampler
from .data import conditions
from .seeds import generator

# The hidden rows and columns of an image of a height and a width, by the name of the area.
HIDDEN_AREAS: dict[str, Callable[[int, int], tuple[slice, slice]]] = {
    "lower-half": lambda height, width: (slice(height // 2, height), slice(width)),
    "left-half": lambda height, width: (slice(height), slice(width // 2)),
    "box": lambda height, width: (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)),
}


def cycled_classes(count: int, classes: int) -> Tensor | None:
    """Returns the conditions of classes 0, 1, 2 and so on, cyclically, for ``count`` images. None without classes."""
    return conditions(torch.arange(count) % classes, classes) if classes else None


@torch.no_grad()
def draw(
    model: AutoregressiveModel,
    count: int,
    shape: tuple[int, int, int],
    *,
    seed: int,
    batch_size: int = 16,
    temperature: float = 1.0,
    condition: Tensor | None = None,
    given: Tensor | None = None,
    known: Tensor | None = None,
    progress: Progress = lambda done, total: None,
    before: Callable[[Sampler], object] = lambda sampler: None,
    divide: Callable[[Callable[[slice], Tensor], list[slice]], Iterable[Tensor]] = map,
) -> tuple[Tensor, bool]:
    """Draws ``count`` images, up to ``batch_size`` at once.

    Args:
        condition, given: as in the model's method ``sample``, with entries for all ``count`` images.
        known: as in ``sample``, (1, 1, H, W), the same for all images.
        progress: is called with (rows done, all rows). It may raise KeyboardInterrupt to end the drawing.
        before: is called before the drawing, with the sampler of the first batch.
        divide: World.map, if several processes divide the batches. Their number does not change the images.

    Returns:
        The finished images on the CPU, integers (N, C, H, W) with N <= count, and whether all images are finished.
    """
    source, device = generator("sample", seed), next(model.parameters()).device
    batches = [slice(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    report = Report(progress, len(batches) * shape[1])
    sampler, size = None, 0
    taken = 0  # images whose uniform numbers have been drawn

    def draw_batch(batch: slice) -> Tensor:
        nonlocal sampler, size, taken
        of_batch = None if condition is None else condition[batch].to(device)
        if sampler is None or size != batch.stop - batch.start:  # the first batch, or a smaller last one
            is_first, sampler, size = sampler is None, None, batch.stop - batch.start
            sampler = Sampler(model, size, shape, temperature=temperature, condition=of_batch)
            if is_first:
                before(sampler)
        # Discards the numbers of the batches that other processes draw.
        uniform_numbers(torch.Size((batch.start - taken, *shape)), source)
        taken = batch.stop
        images = sampler.draw(
            generator=source,
            given=None if given is None else given[batch],
            known=known,
            condition=of_batch,
            progress=report.next_part(shape[1]) or False,
        )
        return images.cpu()

    drawn: list[Tensor] = []
    try:
        for images in divide(draw_batch, batches):
            drawn.append(images)
    except KeyboardInterrupt:
        pass
    images = torch.cat(drawn) if drawn else torch.empty(0, *shape, dtype=torch.int64)
    return images, len(images) == count


def known_pixels(hide: str, height: int, width: int) -> Tensor:
    """Returns a mask (1, 1, H, W) of the pixels outside ``hide``, which is a key of ``HIDDEN_AREAS``."""
    known = torch.ones(1, 1, height, width, dtype=torch.bool)
    rows, columns = HIDDEN_AREAS[hide](height, width)
    known[..., rows, columns] = False
    return known
