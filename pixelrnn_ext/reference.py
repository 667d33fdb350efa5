"""The layers in plain PyTorch: the definition that the kernels are tested against.

A recurrence is a loop over the lines of the map. Each runs on any device and in any floating dtype, in that dtype
throughout, and can be differentiated any number of times. Arguments and shapes are those of
:mod:`pixelrnn_ext.functional`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

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
    x = x.flip(3) if reverse else x
    hidden = weight_hh.shape[1]
    weight = weight_hh.permute(2, 1, 0).flatten(0, 1)  # (above and left, 4 * hidden)
    height, width = x.shape[2:]
    border, c_border = _initial(h0, x, hidden, 1), _initial(c0, x, hidden, 1)
    h, c = border.expand(-1, height, -1), c_border.expand(-1, height, -1)
    row = torch.arange(height, device=x.device)[:, None]
    columns = []
    for t, gates in enumerate(skew(x).permute(3, 0, 2, 1).unbind()):  # (N, H, 4 * hidden): pixels (r, t - r)
        above = torch.cat([border, h[:, :-1]], 1)
        h, c = _cell(gates + torch.cat([above, h], 2) @ weight, c)
        columns.append(h)
        if h0 is not None or c0 is not None:  # zeros stay zeros by themselves to the left of the image
            h, c = torch.where(t >= row, h, border), torch.where(t >= row, c, c_border)
    y = unskew(torch.stack(columns, 3).transpose(1, 2), width)
    return y.flip(3) if reverse else y


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
    i, f, g, o = gates.chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c
