"""The directions of a two-dimensional LSTM, which are scans from corners, and the merge of their feature maps."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ._arguments import integer

# The row step and column step of a scan from each corner. The compiled operators number corners in this order.
CORNERS = {"tl": (1, 1), "tr": (1, -1), "bl": (-1, 1), "br": (-1, -1)}
SUFFIXES = {"tl": "", "tr": "_reverse", "bl": "_up", "br": "_up_reverse"}
DEFAULT_CORNERS: dict[int, tuple[str, ...]] = {1: ("tl",), 2: ("tl", "br"), 4: ("tl", "tr", "bl", "br")}
MERGES = ("concat", "sum", "mean", None)


class Direction2d(NamedTuple):
    """The parameters of one direction of a recurrent layer. A direction is a scan from one corner.

    The shapes of the parameters depend on the layer. :mod:`pixelrnn_ext.functional` describes them.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None = None
    h0: Tensor | None = None
    c0: Tensor | None = None
    peephole: Tensor | None = None

    def to(self, dtype: torch.dtype) -> "Direction2d":
        return Direction2d(*(None if t is None else t.to(dtype) for t in self))  # type: ignore[arg-type]


def corners_of(directions: int | Sequence[str]) -> tuple[str, ...]:
    """Returns the corners where scans start.

    ``directions`` is 1, 2, 4 or a tuple of corners. Raises TypeError or ValueError for anything else.
    """
    if isinstance(directions, (tuple, list)):
        check_corners(tuple(directions))
        return tuple(directions)
    if isinstance(directions, str) or directions is None:
        raise TypeError(f"expected directions to be 1, 2, 4 or a tuple of corners, got {directions!r}")
    number = integer("directions", directions)  # type: ignore[arg-type]
    if number not in DEFAULT_CORNERS:
        raise ValueError(f"expected directions to be 1, 2, 4 or a tuple of corners, got {number}")
    return DEFAULT_CORNERS[number]


def check_corners(corners: tuple[str, ...]) -> None:
    known = all(isinstance(corner, str) and corner in CORNERS for corner in corners)
    if not corners or not known or len(set(corners)) < len(corners):
        raise ValueError(f"expected different corners of {', '.join(map(repr, CORNERS))}, got {corners!r}")


def check_merge(merge: str | None) -> None:
    if merge not in MERGES:
        raise ValueError(f"expected merge to be 'concat', 'sum', 'mean' or None, got {merge!r}")


def flipped(m: Tensor, corner: str) -> Tensor:
    """Flips a map (..., H, W) so that a scan from ``corner`` starts at the top left. The same flip undoes this."""
    axes = [axis for axis, sense in zip((-2, -1), CORNERS[corner]) if sense < 0]
    return m.flip(axes) if axes else m


def merged(maps: Tensor, merge: str | None) -> Tensor:
    """Merges the feature maps of D directions, (N, D, hidden, H, W).

    ``merge="shift"`` moves the second map down by one row and adds it to the first (section 3.3).
    """
    if merge is None:
        return maps
    if merge == "shift":
        return maps[:, 0] + F.pad(maps[:, 1, :, :-1], (0, 0, 1, 0))
    if merge == "concat":
        return maps.flatten(1, 2)
    # With the channels last, the merged map gets channels_last memory format.
    pixels = maps.permute(0, 3, 4, 1, 2)
    return (pixels.sum(3) if merge == "sum" else pixels.mean(3)).permute(0, 3, 1, 2)
