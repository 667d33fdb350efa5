"""The layers in plain PyTorch: the definition that the kernels are tested against.

A recurrence is a loop over the lines of the feature map, that is, over its rows or its anti-diagonals. All functions
run on any device, compute in the dtype of their input, and can be differentiated any number of times. Arguments and
shapes are those of :mod:`pixelrnn_ext.functional`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .cells import CELLS, update
from .directions import Direction2d, flipped, merged
from .masks import masked_weight

Lines = Iterator[tuple[Tensor, Tensor, tuple[Tensor, ...]]]


def row_lstm(
    input: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Computes :func:`pixelrnn_ext.functional.row_lstm` in plain PyTorch."""
    return scan(input, [Direction2d(weight_ih, weight_hh, bias, h0, c0)], corners=("tl",), diagonal=False, **options)


def diagonal_lstm(
    input: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    reverse: bool = False,
    **options: Any,
) -> Tensor:
    """Computes :func:`pixelrnn_ext.functional.diagonal_lstm` in plain PyTorch."""
    direction = Direction2d(weight_ih, weight_hh, bias, h0, c0)
    return scan(input, [direction], corners=("tr" if reverse else "tl",), **options)


def lstm2d(input: Tensor, weights: Sequence[Direction2d], *, cell: str = "stable", **options: Any) -> Tensor:
    """Computes :func:`pixelrnn_ext.functional.lstm2d` in plain PyTorch."""
    return scan(input, weights, cell=cell, **options)


def scan(
    input: Tensor,
    directions: Sequence[Direction2d],
    *,
    corners: Sequence[str] = ("tl",),
    diagonal: bool = True,
    cell: str = "pixelrnn",
    merge: str | None = "concat",
    mask_type: str | None = None,
    image_channels: int = 1,
    gate_bias: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """Scans each image from each corner, then merges the feature maps of these scans.

    With ``sizes`` each image is cropped to its size and computed alone.
    """
    channels = input.shape[1]
    masking: dict[str, Any] = dict(image_channels=image_channels, gates=len(CELLS[cell].gates))

    def scan_direction(image: Tensor, biases: Tensor | None, d: Direction2d, corner: str) -> Tensor:
        x = masked_conv2d(image, d.weight_ih, d.bias, mask_type, **masking)
        x = flipped(x if biases is None else x + biases, corner)
        state_to_state = d.weight_hh, d.h0, d.c0
        h = diagonal_scan(x, *state_to_state, d.peephole, cell) if diagonal else row_scan(x, *state_to_state)
        return flipped(h, corner)

    def all_directions(m: Tensor) -> Tensor:
        biases: Sequence[Tensor | None] = [None] * len(directions)
        if gate_bias is not None:
            biases = m[:, channels:].chunk(len(directions), dim=1)
        image = m[:, :channels]
        return torch.stack([scan_direction(image, *arguments) for arguments in zip(biases, directions, corners)], 1)

    m = input
    # The gate bias joins the input's channels, so that both are cropped to each image.
    if gate_bias is not None:
        rows = sum(d.weight_hh.shape[0] for d in directions)
        m = torch.cat([input, gate_bias.expand(input.shape[0], rows, *input.shape[2:])], 1)
    return run_each_image(lambda m: merged(all_directions(m), merge), m, sizes)


def masked_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask_type: str | None = "B",
    *,
    image_channels: int = 1,
    gates: int = 1,
    activation: str | None = None,
) -> Tensor:
    """Computes :func:`pixelrnn_ext.functional.masked_conv2d` by F.conv2d. ``mask_type`` None masks nothing."""
    live = masked_weight(weight, mask_type, image_channels=image_channels, gates=gates)
    y = F.conv2d(input, live, bias, padding=(weight.shape[2] // 2, weight.shape[3] // 2))
    return y.relu() if activation == "relu" else y


def diagonal_scan(
    x: Tensor,
    weight_hh: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    peephole: Tensor | None = None,
    cell: str = "pixelrnn",
) -> Tensor:
    """Scans along the anti-diagonals, from the top left. Returns h, (N, hidden, H, W).

    ``x`` (N, gates * hidden, H, W) is the input-to-state map, that is, the pre-activations without the recurrent
    product.
    """
    return _unskewed([h for h, _, _ in _diagonals(x, weight_hh, h0, c0, peephole, cell)], x)


def row_scan(x: Tensor, weight_hh: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Tensor:
    """Scans from top to bottom, like a Row LSTM. Returns h, (N, hidden, H, W).

    ``x`` (N, 4 * hidden, H, W) is the input-to-state map.
    """
    return torch.stack([h for h, _, _ in _rows(x, weight_hh, h0, c0)], 1).permute(0, 3, 1, 2)


def row_maps(
    x: Tensor, weight_hh: Tensor, h0: Tensor | None = None, c0: Tensor | None = None, *, inside: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Scans like :func:`row_scan`. Returns h, c and the gates in the shapes of :func:`diagonal_maps`."""
    maps = zip(*((h, c, torch.cat(gates, -1)) for h, c, gates in _rows(x, weight_hh, h0, c0, inside)))
    h, c, gates = (torch.stack(rows, 1).permute(0, 3, 1, 2) for rows in maps)
    return h, c, gates


def diagonal_maps(
    x: Tensor,
    weight_hh: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    peephole: Tensor | None = None,
    *,
    cell: str = "pixelrnn",
    inside: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scans like :func:`diagonal_scan`. Returns h and c, (N, hidden, H, W), and gates (N, gates * hidden, H, W).

    ``inside`` (N, 1, H, W) marks the pixels of the images. Pixels outside have the states h0 and c0, (hidden,), or (N,
    1, hidden) with a state for each image.
    """
    lines = _diagonals(x, weight_hh, h0, c0, peephole, cell, inside)
    h, c, gates = zip(*((h, c, torch.cat(gates, -1)) for h, c, gates in lines))
    return _unskewed(h, x), _unskewed(c, x), _unskewed(gates, x)


def _rows(x: Tensor, weight_hh: Tensor, h0: Tensor | None, c0: Tensor | None, inside: Tensor | None = None) -> Lines:
    """Yields h, c and the activated gates of each row, each (N, W, hidden)."""
    _, hidden, taps = weight_hh.shape
    weight = weight_hh.permute(2, 1, 0).flatten(0, 1)
    border, c_border = _initial(h0, x, hidden), _initial(c0, x, hidden)
    sides = border.expand(-1, taps // 2, -1)
    width = x.shape[3]
    h, c = border.expand(-1, width, -1), c_border.expand(-1, width, -1)
    for r, gates in enumerate(x.permute(2, 0, 3, 1).unbind()):
        above = torch.cat([sides, h, sides], 1)
        neighbours = torch.cat([above[:, k : k + width] for k in range(taps)], 2)
        h, c, activated = update("pixelrnn", gates + neighbours @ weight, c, c)
        yield h, c, activated
        if inside is not None:
            active = inside[:, 0, r, :, None]
            h, c = torch.where(active, h, border), torch.where(active, c, c_border)


def _diagonals(
    x: Tensor,
    weight_hh: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    peephole: Tensor | None,
    cell: str,
    inside: Tensor | None = None,
) -> Lines:
    """Yields h, c and the activated gates of each anti-diagonal t, each (N, H, hidden).

    Index r is the pixel in row r and column t - r.
    """
    hidden, carries_up = weight_hh.shape[1], CELLS[cell].carries_up
    weight = weight_hh.permute(2, 1, 0).flatten(0, 1)
    height, width = x.shape[2:]
    border, c_border = _initial(h0, x, hidden), _initial(c0, x, hidden)
    h, c = border.expand(-1, height, -1), c_border.expand(-1, height, -1)
    row = torch.arange(height, device=x.device)[:, None]
    top = row == 0
    inside_line = None if inside is None else skew(inside.to(x.dtype)).permute(3, 0, 2, 1) > 0
    for t, gates in enumerate(skew(x).permute(3, 0, 2, 1).unbind()):
        h_up = torch.cat([border, h[:, :-1]], 1)
        c_up = torch.cat([c_border, c[:, :-1]], 1) if carries_up else c
        h, c, activated = update(cell, gates + torch.cat([h_up, h], 2) @ weight, c_up, c, top, peephole)
        yield h, c, activated
        # Outside the image, h and c are set to the initial states, because pixels at the border of the image read them.
        # If cells read the c above, this is necessary for zero initial states, too, because c to the right of the image
        # might otherwise become infinite.
        if h0 is not None or c0 is not None or carries_up or inside_line is not None:
            active = (row <= t) & (t < row + width) if inside_line is None else inside_line[t]
            h, c = torch.where(active, h, border), torch.where(active, c, c_border)


def _unskewed(lines: Sequence[Tensor], x: Tensor) -> Tensor:
    return unskew(torch.stack(list(lines), 3).transpose(1, 2), x.shape[3])


def run_each_image(run: Callable[[Tensor], Tensor], m: Tensor, sizes: Tensor | None) -> Tensor:
    """Applies ``run`` to each image of ``m``, cropped to its size. The result is 0 outside the images."""
    if sizes is None:
        return run(m)
    height, width = m.shape[2:]
    # ``run`` of an empty batch shows the shape of the result. It also connects the result with the parameters in
    # autograd's graph, even if all images are empty.
    empty = run(m[:0, :, :1, :1])
    maps = [F.pad(empty, (0, width - 1, 0, height - 1))]
    for image, (h, w) in zip(m.split(1), sizes.tolist()):
        cropped = image[:, :, : max(h, 0), : max(w, 0)]
        rows, columns = cropped.shape[2:]
        y = run(cropped) if rows and columns else empty.new_zeros(1, *empty.shape[1:-2], rows, columns)
        maps.append(F.pad(y, (0, width - columns, 0, height - rows)))
    return torch.cat(maps)


def skew(x: Tensor) -> Tensor:
    """Moves row r right by r pixels, so that an anti-diagonal becomes a column (section 3.3)."""
    n, channels, height, width = x.shape
    skewed_width = width + height - 1
    return F.pad(x, (0, height)).flatten(2)[..., : height * skewed_width].view(n, channels, height, skewed_width)


def unskew(x: Tensor, width: int) -> Tensor:
    """Inverts :func:`skew`."""
    n, channels, height, _ = x.shape
    return F.pad(x.flatten(2), (0, height)).view(n, channels, height, width + height)[..., :width]


def _initial(state: Tensor | None, x: Tensor, hidden: int) -> Tensor:
    zeros = x.new_zeros(x.shape[0], 1, hidden)
    return zeros if state is None else zeros + state
