"""Chooses how to draw images: by which kernels, and in how many launches."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from .._sentences import planned_for
from ..operators.backends import warn_of_pytorch
from ..operators.columns import Team
from .block import ImageSampler
from .eager import EagerRow
from .gpu import GpuRow
from .native import NativeRow
from .network import RowNetwork
from .run import Runners, make_runners, why_not_native
from .steps import Step

WAYS = "images", "stages", "rows", "pytorch"


class SamplingPlan(NamedTuple):
    """How ``model.sample`` draws images. The text of a plan is one line, which ``sample(progress=True)`` prints.

    Attributes:
        way: "images": a CUDA kernel draws rows of whole images in each launch. "stages": each launch of a CUDA kernel
            runs the steps of a pixel that do not depend on each other, for all images. "rows": each call of a CPU
            kernel runs all steps of a row of pixels. "pytorch": PyTorch's operations run each step.
        launches: number of launches of the CUDA kernels for all images. It does not count the launch that copies the
            weights for a cluster of blocks. 0 for the ways "rows" and "pytorch".
        description: the way and its sizes. The plan for a ``capability`` says that no GPU was asked.
        why_not: one sentence for each faster way of the device, which says why that faster way cannot draw the images.
    """

    way: str
    launches: int
    description: str
    why_not: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join([self.description, *(f"no faster way: {reason}" for reason in self.why_not)])


def plan_drawing(
    backend: str, network: RowNetwork, value_steps: Sequence[Step], height: int, ways: Collection[str] = WAYS
) -> tuple[SamplingPlan, ImageSampler | Runners]:
    """Chooses the first of ``ways`` that can draw images of ``height`` rows. The last one, "pytorch", always can.

    Returns the plan, and the ImageSampler or the Runners that draw images by the plan.
    """
    rows, why_not = network.rows, []
    said = f", {planned_for(rows.capability)}" if rows.capability else ""
    reason = why_not_native(backend, rows.device, rows.capability)
    if reason is None and rows.capability is not None and "images" in ways:
        images = ImageSampler(network, value_steps, height)
        if images.why_not is None:
            return _images_plan(images.team, images.launches, rows.images, said), images
        why_not.append(images.why_not)
    if not {"stages", "rows"} & set(ways):
        backend = "reference"
    runners = make_runners(backend, network, value_steps)
    row, mirrored = runners
    if isinstance(row, GpuRow) and isinstance(mirrored, GpuRow):
        launches = rows.width * (height * row.launches + (height - 1) * mirrored.launches)
        description = f"{row.launches} + {mirrored.launches} launches for a pixel of all images{said}"
        return SamplingPlan("stages", launches, description, tuple(why_not)), runners
    if isinstance(row, NativeRow):
        return SamplingPlan("rows", 0, "a CPU kernel draws a row of pixels", ()), runners
    reasons = [reason, *(runner.why_not for runner in runners if isinstance(runner, EagerRow))]
    why_not += [reason for reason in reasons if reason]
    if rows.capability == 0 and backend == "auto" and set(ways) == set(WAYS):
        warn_of_pytorch("; ".join(why_not))
    return SamplingPlan("pytorch", 0, "PyTorch runs each step", tuple(why_not)), runners


def _images_plan(team: Team, launches: int, images: int, said: str) -> SamplingPlan:
    blocks = "a block" if team.blocks == 1 else f"a cluster of {team.blocks} blocks"
    memory = f"{team.shared_memory} bytes of shared memory a block{said}"
    launch = "1 launch" if launches == 1 else f"{launches} launches"
    return SamplingPlan("images", launches, f"{launch} for {images} images, {blocks} an image, {memory}", ())
