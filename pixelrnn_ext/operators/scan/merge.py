"""Merges a scan's directions, in torch, and the adjoint. ``"shift"`` moves the second direction down by a row."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import directions
from .sizes import filled


def merged(h: Tensor, merge: str, sizes: Tensor | None) -> Tensor:
    """Returns the sum of the directions of h [B, H, W, D, h], zero outside of the images; no channels for "none"."""
    if merge == "none":
        return h.new_empty(*h.shape[:3], 0)
    y = directions.merged(h.permute(0, 3, 4, 1, 2), merge).permute(0, 2, 3, 1)
    return filled(y, sizes, 0) if merge == "shift" else y  # the moved direction would write a row below its image


def unmerged(dy: Tensor, merge: str, sizes: Tensor | None, count: int) -> Tensor:
    """Returns the gradient of h [B, H, W, D, h] of ``count`` directions from the gradient of the merged map.

    Gradients outside the images are cleared only for the shift, which would move them inside. The recurrence ignores
    them.
    """
    if merge == "none":
        return dy
    if merge == "sum":
        return dy.unsqueeze(3).expand(-1, -1, -1, count, -1)
    dy = filled(dy, sizes, 0)
    return torch.stack([dy, F.pad(dy[:, 1:], (0, 0, 0, 0, 0, 1))], 3)
