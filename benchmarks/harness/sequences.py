"""The usual substitutes for a two-dimensional LSTM: torch.nn.LSTM over a map's pixels, or along its rows and columns.

Each computes another function than LSTM2d, with about as many multiplications a pixel.
"""

import math

import torch
from torch import Tensor, nn

PIXELS = "nn.LSTM over pixels (another function)"
ROWS_AND_COLUMNS = "nn.LSTM along rows and columns (another function)"


class OverPixels(nn.Module):
    """One sequence for each image, row by row. It reads sequences (H * W, N, C), without a copy."""

    def __init__(self, channels: int, products: int, both_ways: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.along_image = _lstm(channels, products, both_ways, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.along_image(x)[0]


class AlongRowsAndColumns(nn.Module):
    """Both ways along every row and every column of a map in channels_last, as four sequences that share nothing."""

    def __init__(self, channels: int, products: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.along_row, self.along_column = (_lstm(channels, products / 2, True, dtype) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        by_row, by_column = x.permute(3, 0, 2, 1), x.permute(2, 0, 3, 1)  # (W, N, H, C), (H, N, W, C)
        rows = self.along_row(by_row.flatten(1, 2))[0].unflatten(1, (n, height)).permute(1, 3, 2, 0)
        columns = self.along_column(by_column.flatten(1, 2))[0].unflatten(1, (n, width)).permute(1, 3, 0, 2)
        return torch.cat([rows, columns], 1)


def _lstm(channels: int, products: float, both_ways: bool, dtype: torch.dtype) -> nn.LSTM:
    """Returns one so wide that a pixel costs it ``products`` multiplications: 4 H (C + H) for each way."""
    one_way = products / (1 + both_ways)
    hidden = max(1, round((math.sqrt(channels**2 + one_way) - channels) / 2))
    return nn.LSTM(channels, hidden, bidirectional=both_ways, dtype=dtype)
