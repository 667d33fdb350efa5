"""The layers in plain PyTorch: the definition that the kernels are tested against.

A recurrence is a loop over the lines of the map. Each runs on any device and in any floating dtype, in that dtype
throughout, and can be differentiated any number of times. Arguments and shapes are those of
:mod:`pixelrnn_ext.functional`.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .cells import CELLS, update
from .directions import Direction2d, flipped, merged
from .masks import masked_weight


def row_lstm(
    input: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    mask_type: str | None = None,
    image_channels: int = 1,
    gate_bias: Tensor | None = None,
) -> Tensor:
    """Row LSTM (section 3.2): top to bottom, every pixel reads a row of pixels above it. See functional.row_lstm."""
    x = input_to_state(input, weight_ih, bias, mask_type, image_channels, gate_bias)
    _, hidden, taps = weight_hh.shape
    weight = weight_hh.permute(2, 1, 0).flatten(0, 1)  # (taps * hidden, 4 * hidden)
    border, c = _initial(h0, x, hidden, taps // 2), _initial(c0, x, hidden, x.shape[3])
    h = _initial(h0, x, hidden, x.shape[3])
    rows = []
    for gates in x.permute(2, 0, 3, 1).unbind():  # (N, W, 4 * hidden) each
        above = torch.cat([border, h, border], 1)
        neighbours = torch.cat([above[:, k : k + x.shape[3]] for k in range(taps)], 2)
        h, c = _cell(gates + neighbours @ weight, c)
        rows.append(h)
    return torch.stack(rows, 1).permute(0, 3, 1, 2)


def diagonal_lstm(
    input: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    mask_type: str | None = None,
    image_channels: int = 1,
    gate_bias: Tensor | None = None,
    reverse: bool = False,
) -> Tensor:
    """Diagonal LSTM (section 3.3): every pixel reads the one above and the one to its left. See
    functional.diagonal_lstm."""
    x = input_to_state(input, weight_ih, bias, mask_type, image_channels, gate_bias)
    return diagonal_scan(x, weight_hh, h0, c0, corner="tr" if reverse else "tl")


def lstm2d(
    input: Tensor,
    weights: Sequence[Direction2d],
    *,
    cell: str = "stable",
    corners: Sequence[str] = ("tl",),
    sizes: Tensor | None = None,
    merge: str | None = "concat",
) -> Tensor:
    """Two-dimensional LSTM from one corner or several; every image of a batch with ``sizes`` runs alone. See
    functional.lstm2d."""

    def scan(image: Tensor, direction: Direction2d, corner: str) -> Tensor:
        weight_ih, weight_hh, bias, h0, c0, peephole = direction
        x = F.conv2d(image, weight_ih, bias)
        return diagonal_scan(x, weight_hh, h0, c0, peephole, cell=cell, corner=corner)

    def all_scans(image: Tensor) -> Tensor:
        return torch.stack([scan(image, direction, corner) for direction, corner in zip(weights, corners)], 1)

    return merged(of_each_image(all_scans, input, sizes), merge)


def masked_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask_type: str = "B",
    *,
    image_channels: int = 1,
    gates: int = 1,
    activation: str | None = None,
) -> Tensor:
    """Masked convolution (section 3.4): F.conv2d with the weight times its mask. See functional.masked_conv2d."""
    live = masked_weight(weight, mask_type, image_channels=image_channels, gates=gates)
    y = F.conv2d(input, live, bias, padding=(weight.shape[2] // 2, weight.shape[3] // 2))
    return y.relu() if activation == "relu" else y


def input_to_state(
    input: Tensor,
    weight_ih: Tensor,
    bias: Tensor | None,
    mask_type: str | None,
    image_channels: int,
    gate_bias: Tensor | None,
) -> Tensor:
    """The masked 1 x k convolution of the input, (N, 4 * hidden, H, W), plus ``gate_bias``."""
    weight = masked_weight(weight_ih, mask_type, image_channels=image_channels, gates=4)
    x = F.conv2d(input, weight, bias, padding=(0, weight.shape[3] // 2))
    return x if gate_bias is None else x + gate_bias


def diagonal_scan(
    x: Tensor,
    weight_hh: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    peephole: Tensor | None = None,
    *,
    cell: str = "pixelrnn",
    corner: str = "tl",
) -> Tensor:
    """h, (N, hidden, H, W), of one direction from its input-to-state map x, (N, gates * hidden, H, W)."""
    columns = [h for h, _, _ in _diagonals(flipped(x, corner), weight_hh, h0, c0, peephole, cell)]
    return flipped(_map_of(columns, x), corner)


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
    """As :func:`diagonal_scan` from the top left: h, c, and the activated gates (N, gates * hidden, H, W).
    ``inside``, (N, 1, H, W): the pixels of the image, in the top left of its map, which alone have a state."""
    lines = _diagonals(x, weight_hh, h0, c0, peephole, cell, inside)
    h, c, gates = zip(*((h, c, torch.cat(gates, -1)) for h, c, gates in lines))
    return _map_of(h, x), _map_of(c, x), _map_of(gates, x)


def _diagonals(
    x: Tensor,
    weight_hh: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    peephole: Tensor | None,
    cell: str,
    inside: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor, tuple[Tensor, ...]]]:
    """h, c and the gates of each line, (N, H, hidden): pixels (r, t - r) of line t."""
    hidden, carries_up = weight_hh.shape[1], CELLS[cell].carries_up
    weight = weight_hh.permute(2, 1, 0).flatten(0, 1)  # (up and left, gates * hidden)
    height, width = x.shape[2:]
    border, c_border = _initial(h0, x, hidden, 1), _initial(c0, x, hidden, 1)
    h, c = border.expand(-1, height, -1), c_border.expand(-1, height, -1)
    row = torch.arange(height, device=x.device)[:, None]
    top = row == 0
    window = None if inside is None else skew(inside.to(x.dtype)).permute(3, 0, 2, 1) > 0
    for t, gates in enumerate(skew(x).permute(3, 0, 2, 1).unbind()):  # (N, H, gates * hidden)
        h_up = torch.cat([border, h[:, :-1]], 1)
        c_up = torch.cat([c_border, c[:, :-1]], 1) if carries_up else c
        h, c, activated = update(cell, gates + torch.cat([h_up, h], 2) @ weight, c_up, c, top, peephole)
        yield h, c, activated
        # PixelRNN's zeros stay zeros by themselves to the left of the image; to its right two carries may overflow.
        if h0 is not None or c0 is not None or carries_up or window is not None:
            active = (row <= t) & (t < row + width) if window is None else window[t]
            h, c = torch.where(active, h, border), torch.where(active, c, c_border)


def _map_of(columns: Sequence[Tensor], x: Tensor) -> Tensor:
    return unskew(torch.stack(list(columns), 3).transpose(1, 2), x.shape[3])


def of_each_image(run: Callable[[Tensor], Tensor], m: Tensor, sizes: Tensor | None) -> Tensor:
    """``run``, which makes (N, ..., H, W) of (N, C, H, W), on each image of ``m`` alone, a rectangle in the top left
    corner of its map, of height and width ``sizes`` (N, 2). Outside it the result is zero."""
    if sizes is None:
        return run(m)
    height, width = m.shape[2:]
    none = run(m[:0, :, :1, :1])  # of no image: what gives empty ones, too, their shape and their gradients
    maps = [F.pad(none, (0, width - 1, 0, height - 1))]
    for image, (h, w) in zip(m.split(1), sizes.tolist()):
        alone = image[:, :, : max(h, 0), : max(w, 0)]
        rows, columns = alone.shape[2:]
        y = run(alone) if rows and columns else none.new_zeros(1, *none.shape[1:-2], rows, columns)
        maps.append(F.pad(y, (0, width - columns, 0, height - rows)))
    return torch.cat(maps)


def skew(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H, W + H - 1), row r moved right by r, zeros around it (section 3.3)."""
    n, channels, height, width = x.shape
    skewed_width = width + height - 1
    return F.pad(x, (0, height)).flatten(2)[..., : height * skewed_width].view(n, channels, height, skewed_width)


def unskew(x: Tensor, width: int) -> Tensor:
    """The inverse of :func:`skew`."""
    n, channels, height, _ = x.shape
    return F.pad(x.flatten(2), (0, height)).view(n, channels, height, width + height)[..., :width]


def _initial(state: Tensor | None, x: Tensor, hidden: int, cells: int) -> Tensor:
    zeros = x.new_zeros(x.shape[0], cells, hidden)
    return zeros if state is None else zeros + state


def _cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """PixelRNN's, which takes on the c of one neighbour."""
    return update("pixelrnn", gates, c, c)[:2]
