"""Layers and models with a fault that makes a PixelRNN leak or blind, as students' and public implementations have it.

Each returns maps of features (N, K, H, W), unless it says otherwise.
"""

import torch
from torch import nn
from torch.nn import functional

import pixelrnn_ext as px


def conv(channels, features, kernel=3, mask_type="B", image_channels=1):
    """Returns a convolution whose weight was multiplied by its mask once, as in many implementations."""
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    made = nn.Conv2d(channels, features, size, padding=[side // 2 for side in size])
    with torch.no_grad():
        made.weight *= px.masks.causal_mask(mask_type, features, channels, size, image_channels=image_channels)
    return made


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Sum(nn.ModuleList):
    def forward(self, x):
        return sum(part(x) for part in self)


def moved(x, rows, columns=0):
    """Moves maps down by ``rows`` and right by ``columns``. Zeros follow from outside."""
    h, w = x.shape[2:]
    far = abs(rows) + abs(columns)
    return functional.pad(x, (far, far, far, far))[:, :, far - rows :, far - columns :][:, :, :h, :w]


def bilstm(move, mirror_back=True, scan=lambda: px.DiagonalLSTM(1, 2)):
    """Returns a Diagonal BiLSTM of two scans. The right-to-left map is mirrored back, then moved by ``move``."""
    mirror = Apply(lambda x: x.flip(3))
    return Sum([scan(), nn.Sequential(mirror, scan(), *[mirror] * mirror_back, Apply(move))])


class SkewedLSTM(nn.Module):
    """A Diagonal LSTM as many write it, a loop over the columns of a skewed map. Without a fault it is ``layer``.

    Args:
        square: the skewed map has 2 W - 1 columns, which is enough for H <= W.
        late: the rows are cut out of the skewed map this many columns too late.
        bias_outside: the bias is added to the skewed map, so that states grow in its padding.
        below: a state reads the state below instead of the state above, as SAME padding of an even kernel does.
        reverse: the scan goes through the skewed map from its last column to the first.
    """

    def __init__(self, *, square=False, late=0, bias_outside=False, below=False, reverse=False):
        super().__init__()
        self.layer = px.DiagonalLSTM(1, 2, initial_state="zero")
        self.square, self.late, self.bias_outside, self.below, self.reverse = square, late, bias_outside, below, reverse

    def forward(self, x):
        n, _, height, width = x.shape
        length = 2 * width - 1 if self.square else height + width - 1
        bias = self.layer.bias[:, None, None]
        gates = functional.conv2d(x, self.layer.weight_ih) + (0 if self.bias_outside else bias)
        flat = functional.pad(gates, (0, length + 1 - width)).flatten(2)[..., : height * length]
        lines = (flat.view(n, -1, height, length) + (bias if self.bias_outside else 0)).unbind(3)
        h = c = x.new_zeros(n, 2, height)
        states = []
        for line in lines[::-1] if self.reverse else lines:
            other = moved(h[..., None], -1 if self.below else 1)[..., 0]
            recurrent = torch.stack([other, h], 1)
            i, f, g, o = (line + torch.einsum("ghk,nkhr->ngr", self.layer.weight_hh, recurrent)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        y = torch.stack(states[::-1] if self.reverse else states, 3)
        y = functional.pad(y.flatten(2), (0, height)).view(n, 2, height, length + 1)
        return y[..., self.late : self.late + width]


def carpedm20_diagonal_bilstm():
    """Loses the last row of the right-to-left map instead of moving it down, and has states that read the row below."""
    return bilstm(lambda x: functional.pad(x[:, :, :-1], (0, 0, 0, 1)), scan=lambda: SkewedLSTM(below=True))


def rmsnorm_diagonal_bilstm():
    """Reverses the skewed map instead of the image. The state above then lies two columns further right."""
    return Sum([SkewedLSTM(), nn.Sequential(SkewedLSTM(reverse=True), Apply(lambda x: moved(x, 1, -1)))])


def rmsnorm_row_lstm():
    """Pads on the left alone, and masks the tap of the pixel itself."""
    return RowState((-2, -1), (-2, -1, 0))


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


class RowState(nn.Module):
    """A Row LSTM without gates. Arguments are the columns, relative to a pixel's, of its inputs and states above."""

    def __init__(self, inputs, states):
        super().__init__()
        self.inputs, self.states = inputs, states

    def forward(self, x):
        rows, state = [], torch.zeros_like(x[:, :, :1])
        for row in x.split(1, 2):
            state = sum(moved(row, 0, -column) for column in self.inputs)
            state = state + (sum(moved(rows[-1], 0, -column) for column in self.states) if rows else 0)
            rows.append(state)
        return torch.cat(rows, 2)


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
            gated = horizontal(h) + link(moved(stacked, 1))
            v, h = (torch.tanh(a) * torch.sigmoid(b) for a, b in (stacked.chunk(2, 1), gated.chunk(2, 1)))
        return self.head(h)


class PixelCNN(nn.Sequential):
    """A plain PixelCNN of masked ``nn.Conv2d``, with levels-first logits."""

    def __init__(self, colours=1, levels=4, layers=3, features=6, first="A"):
        parts = []
        for i in range(layers):
            parts += [conv(features if i else colours, features, 3, "B" if i else first, colours), nn.ELU()]
        super().__init__(*parts, conv(features, colours * levels, 1, "B", colours))
        self.colours = colours

    def forward(self, x):
        return super().forward(x).unflatten(1, (self.colours, -1)).transpose(1, 2)


def later(x):
    return moved(x, 0, -1)


def trained_once(module):
    """Takes a step of gradient descent, which unmasks a weight that was masked only once."""
    module.double()(torch.ones(1, 1, 4, 5, dtype=torch.float64)).sum().backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    return module


def fault(make, output, input, shape=(1, 4, 5), layout="features", **options):
    """Returns the function that makes a model, the arguments of check(), and an output with an input."""
    return make, shape, dict(layout=layout, **options), (output, input)


START, LEVELS = (0, 0, 0), "levels-first"
# The output and the input are those of the first leak.
LEAKS = {
    "unmasked input": fault(lambda: nn.Conv2d(1, 2, 3, padding=1), START, (0, 0, 1)),
    "not shifted down": fault(lambda: bilstm(lambda x: x), START, (0, 0, 1)),
    "shifted up": fault(lambda: bilstm(lambda x: moved(x, -1)), START, (0, 0, 1)),
    "not mirrored back": fault(lambda: bilstm(lambda x: x, mirror_back=False), START, (0, 0, 4)),
    "mask B where A belongs": fault(lambda: PixelCNN(first="B"), START, START, layout=LEVELS),
    "colours in the wrong order": fault(
        lambda: nn.Sequential(Apply(lambda x: x.flip(1)), PixelCNN(3)), (1, 0, 0), (2, 0, 0), (3, 3, 4), LEVELS
    ),
    "masks beside the gates": fault(MisalignedGates, START, (1, 0, 0), (3, 3, 4)),
    "one pixel at the border": fault(lambda: lambda x: x.roll(1, 3), START, (0, 0, 4)),
    "one pixel at the border of 12x12": fault(
        lambda: lambda x: torch.cat([x[..., :11], x[..., 11:] + x[:, :, :, :1].roll(-1, 2)], 3),
        (0, 0, 11),
        (0, 1, 0),
        (1, 12, 12),
    ),
    "H != W": fault(lambda: left_neighbour_by_flat_index, (0, 1, 1), (0, 1, 2), (1, 5, 3)),
    "1e-9": fault(lambda: lambda x: x + 1e-9 * later(x), START, (0, 0, 1)),
    "rounded integers": fault(lambda: lambda x: x + (later(x) / 2).floor(), START, (0, 0, 1), levels=8),
    "even kernel": fault(lambda: same_padding_of_an_even_kernel, START, (0, 1, 0)),
    "view": fault(lambda: viewed_instead_of_permuted, START, (0, 1, 2), (1, 3, 4)),
    "carpedm20 Diagonal BiLSTM": fault(carpedm20_diagonal_bilstm, START, (0, 0, 1), (1, 7, 7)),
    "diagonals read too late": fault(lambda: SkewedLSTM(late=1), START, (0, 0, 1)),
    "masked once": fault(lambda: trained_once(conv(1, 2)), START, (0, 0, 1)),
}

# The input is in a blind spot of the output.
BLIND = {
    "narrow kernel": fault(lambda: px.MaskedConv2d(1, 2, 3, "B"), (0, 0, 2), START, (1, 3, 5)),
    "state without its right neighbour": fault(lambda: RowState((-1, 0), (-1, 0)), (0, 1, 0), (0, 0, 1)),
    "blind triangle": fault(lambda: PixelCNN(layers=5), (0, 1, 1), (0, 0, 3), layout=LEVELS),
    "not mirrored back": fault(lambda: bilstm(lambda x: moved(x, 1), mirror_back=False), (0, 1, 0), (0, 0, 1)),
    "H != W": fault(lambda: left_neighbour_by_flat_index, (0, 1, 1), (0, 1, 0), (1, 3, 5)),
    "skewed map of 2W - 1 columns": fault(
        lambda: bilstm(lambda x: moved(x, 1), scan=lambda: SkewedLSTM(square=True)), (0, 3, 2), (0, 3, 1), (1, 5, 3)
    ),
    "rmsnorm Row LSTM": fault(rmsnorm_row_lstm, (0, 3, 3), (0, 2, 3), (1, 7, 7)),
    "rmsnorm Diagonal BiLSTM": fault(rmsnorm_diagonal_bilstm, (0, 3, 3), (0, 1, 4), (1, 7, 7)),
}

# {fault: (later inputs that the output at the centre of 7x7 sees, earlier inputs that it misses)}, as in README
CENTRE = {"carpedm20 Diagonal BiLSTM": (7, 21), "rmsnorm Row LSTM": (0, 13), "rmsnorm Diagonal BiLSTM": (0, 5)}
