"""Layers and models with a fault that makes a PixelRNN leak or blind, as students' and public implementations have it.

Each returns maps of features (N, K, H, W), unless it says otherwise.
"""

import torch
from torch import nn
from torch.nn import functional

import pixelrnn_ext as px


def masked(conv, mask_type="B", image_channels=1, gates=1):
    """Multiplies the weight of a convolution by its mask, once, as many implementations do."""
    with torch.no_grad():
        conv.weight *= px.masks.causal_mask(
            mask_type,
            conv.out_channels,
            conv.in_channels,
            conv.kernel_size,
            image_channels=image_channels,
            gates=gates,
        )
    return conv


def conv(channels, features, kernel=3, mask_type="B", image_channels=1, gates=1):
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    made = nn.Conv2d(channels, features, size, padding=[side // 2 for side in size])
    return masked(made, mask_type, image_channels, gates)


class Directions(nn.Module):
    """A Diagonal BiLSTM of two scans, of which the map from right to left is moved by ``move``."""

    def __init__(self, move, mirror_back=True):
        super().__init__()
        self.left, self.right = px.DiagonalLSTM(1, 2), px.DiagonalLSTM(1, 2)
        self.move, self.mirror_back = move, mirror_back

    def forward(self, x):
        right = self.right(x.flip(3))
        return self.left(x) + self.move(right.flip(3) if self.mirror_back else right)


def down(x, rows=1):
    return functional.pad(x, (0, 0, rows, 0))[:, :, : x.shape[2]]


def up(x):
    return functional.pad(x, (0, 0, 0, 1))[:, :, 1:]


class MisalignedGates(nn.Module):
    """The input-to-state convolution's mask ignores the gates, so colours of one gate fall into the next."""

    def __init__(self, colours=3, hidden=4):
        super().__init__()
        self.conv = conv(colours, 4 * hidden, 1, image_channels=colours)

    def forward(self, x):
        i, f, g, o = self.conv(x).chunk(4, 1)
        return torch.sigmoid(o) * torch.tanh(torch.sigmoid(i) * torch.tanh(g) * torch.sigmoid(f))


def same_padding_of_an_even_kernel(x):
    """A kernel of 2 rows with SAME padding reads the row below."""
    return functional.conv2d(functional.pad(x, (0, 0, 0, 1)), torch.ones(1, 1, 2, 1, dtype=x.dtype))


def viewed_instead_of_permuted(x):
    """Computes two channels for each pixel in (N, H, W, C), and brings the channels to the front by view()."""
    n, _, h, w = x.shape
    return (x.permute(0, 2, 3, 1) * torch.tensor([1, 2], dtype=x.dtype)).reshape(n, 2, h, w)


def left_neighbour_by_flat_index(x):
    """Finds the pixel to the left by an index whose row length is the height."""
    *_, h, w = x.shape
    index = (torch.arange(h)[:, None] * h + torch.arange(w) - 1).clamp(0, h * w - 1)
    return x.flatten(2)[:, :, index] * (torch.arange(w) > 0)


def diagonals_read_too_late(x):
    """Sums along the rows of a skewed map, whose rows are then cut out one diagonal too late."""
    *_, h, w = x.shape
    skewed = torch.cat([functional.pad(x[:, :, r : r + 1], (r, h - r)) for r in range(h)], 2).cumsum(3)
    return torch.stack([skewed[:, :, r, r + 1 : r + 1 + w] for r in range(h)], 2)


class RowState(nn.Module):
    """A Row LSTM without gates, whose state sees ``taps`` columns of the row above, from -1 on."""

    def __init__(self, taps):
        super().__init__()
        self.taps = taps

    def forward(self, x):
        rows, state = [], torch.zeros_like(x[:, :, 0])
        before = functional.pad(x, (1, 0, 0, 0))[..., :-1]
        for row in range(x.shape[2]):
            padded = functional.pad(state, (1, 1))
            state = x[:, :, row] + before[:, :, row] + sum(padded[..., k : k + x.shape[3]] for k in range(self.taps))
            rows.append(state)
        return torch.stack(rows, 2)


class GatedPixelCNN(nn.Module):
    """A Gated PixelCNN (arXiv 1606.05328) of gray images: a vertical and a horizontal stack, without a blind spot."""

    def __init__(self, layers=3, features=4):
        super().__init__()
        sizes = [1] + [features] * (layers - 1)
        self.vertical = nn.ModuleList(nn.Conv2d(n, 2 * features, (2, 3)) for n in sizes)
        self.link = nn.ModuleList(nn.Conv2d(2 * features, 2 * features, 1) for _ in sizes)
        self.horizontal = nn.ModuleList(conv(n, 2 * features, (1, 3), "AB"[i > 0]) for i, n in enumerate(sizes))
        self.head = nn.Conv2d(features, 2, 1)

    def forward(self, x):
        v = h = x
        for vertical, link, horizontal in zip(self.vertical, self.link, self.horizontal):
            stacked = vertical(functional.pad(v, (1, 1, 1, 0)))
            gated = horizontal(h) + link(down(stacked))
            v, h = (torch.tanh(a) * torch.sigmoid(b) for a, b in (stacked.chunk(2, 1), gated.chunk(2, 1)))
        return self.head(h)


class PixelCNN(nn.Sequential):
    """A plain PixelCNN of masked ``nn.Conv2d``, with levels-first logits."""

    def __init__(self, colours=1, levels=4, layers=3, features=6, first="A"):
        sizes = [(colours, features), *[(features, features)] * (layers - 1)]
        parts = []
        for i, (channels, outputs) in enumerate(sizes):
            kind = first if i == 0 else "B"
            parts += [conv(channels, outputs, 3, kind, colours), nn.ELU()]
        super().__init__(*parts, conv(features, colours * levels, 1, "B", colours))
        self.colours = colours

    def forward(self, x):
        return super().forward(x).unflatten(1, (self.colours, -1)).transpose(1, 2)


class Flipped(nn.Module):
    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def forward(self, x):
        return x.flip(self.axis)


FEATURES = dict(layout="features")
LOGITS = dict(layout="levels-first")


def later(x):
    return torch.nn.functional.pad(x, (0, 1))[..., 1:]


def trained_once(module):
    """A step of gradient descent, after which a weight that was masked only once is unmasked."""
    module.double()
    module(torch.ones(1, 1, 4, 5, dtype=torch.float64)).sum().backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.sub_(0.1 * parameter.grad)
    return module


# {fault: (function, shape, options, first leak: (output, input))}
LEAKS = {
    "unmasked input": (lambda: nn.Conv2d(1, 2, 3, padding=1), (1, 4, 5), FEATURES, ((0, 0, 0), (0, 0, 1))),
    "not shifted down": (lambda: Directions(nn.Identity()), (1, 4, 5), FEATURES, ((0, 0, 0), (0, 0, 1))),
    "shifted up": (lambda: Directions(up), (1, 4, 5), FEATURES, ((0, 0, 0), (0, 0, 1))),
    "not mirrored back": (
        lambda: Directions(nn.Identity(), mirror_back=False),
        (1, 4, 5),
        FEATURES,
        ((0, 0, 0), (0, 0, 4)),
    ),
    "mask B where A belongs": (lambda: PixelCNN(first="B"), (1, 4, 5), LOGITS, ((0, 0, 0), (0, 0, 0))),
    "colours in the wrong order": (
        lambda: nn.Sequential(Flipped(1), PixelCNN(3)),
        (3, 3, 4),
        LOGITS,
        ((1, 0, 0), (2, 0, 0)),
    ),
    "masks beside the gates": (MisalignedGates, (3, 3, 4), FEATURES, ((0, 0, 0), (1, 0, 0))),
    "one pixel at the border": (lambda: lambda x: x.roll(1, 3), (1, 4, 5), FEATURES, ((0, 0, 0), (0, 0, 4))),
    "one pixel at the border of 12x12": (
        lambda: lambda x: torch.cat([x[..., :11], x[..., 11:] + x[:, :, :, :1].roll(-1, 2)], 3),
        (1, 12, 12),
        FEATURES,
        ((0, 0, 11), (0, 1, 0)),
    ),
    "H != W": (lambda: left_neighbour_by_flat_index, (1, 5, 3), FEATURES, ((0, 1, 1), (0, 1, 2))),
    "1e-9": (lambda: lambda x: x + 1e-9 * later(x), (1, 4, 5), FEATURES, ((0, 0, 0), (0, 0, 1))),
    "rounded integers": (
        lambda: lambda x: x + (later(x) / 2).floor(),
        (1, 4, 5),
        FEATURES | dict(levels=8),
        ((0, 0, 0), (0, 0, 1)),
    ),
    "even kernel": (lambda: same_padding_of_an_even_kernel, (1, 4, 5), FEATURES, ((0, 0, 0), (0, 1, 0))),
    "view": (lambda: viewed_instead_of_permuted, (1, 3, 4), FEATURES, ((0, 0, 0), (0, 1, 2))),
    "diagonals read too late": (lambda: diagonals_read_too_late, (1, 4, 5), FEATURES, ((0, 0, 0), (0, 0, 1))),
    "masked once": (
        lambda: trained_once(conv(1, 2)),
        (1, 4, 5),
        FEATURES,
        ((0, 0, 0), (0, 0, 1)),
    ),
}

# {fault: (function, shape, options, a blind spot: (output, input))}
BLIND = {
    "narrow kernel": (lambda: px.MaskedConv2d(1, 2, 3, "B"), (1, 3, 5), FEATURES, ((0, 0, 2), (0, 0, 0))),
    "state without its right neighbour": (lambda: RowState(2), (1, 4, 5), FEATURES, ((0, 1, 0), (0, 0, 1))),
    "blind triangle": (lambda: PixelCNN(layers=5), (1, 4, 5), LOGITS, ((0, 1, 1), (0, 0, 3))),
    "not mirrored back": (
        lambda: Directions(down, mirror_back=False),
        (1, 4, 5),
        FEATURES,
        ((0, 1, 0), (0, 0, 1)),
    ),
    "H != W": (lambda: left_neighbour_by_flat_index, (1, 3, 5), FEATURES, ((0, 1, 1), (0, 1, 0))),
}
