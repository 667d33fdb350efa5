"""Times our masked convolution beside conv2d with a masked and with a cropped weight, in NCHW and channels_last."""

import sys
from functools import partial

import torch
import torch.nn.functional as F

import pixelrnn_ext as px
from harness.command import main
from harness.requirements import Target
from pixelrnn_ext.benchmark.problems import Case, Differentiable, Problem, Size
from pixelrnn_ext.benchmark.products import Products

MASKED, CROPPED, OURS = "conv2d, masked weight", "conv2d, cropped weight", "ours"
_LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def cropped(x, weight, bias, mask_type):
    """Computes the convolution with the upper rows of the weight only, because the mask makes the lower rows zero.

    conv2d pads the image equally above and below, so the output gets additional rows. The function drops these rows.
    """
    upper = px.masks.masked_weight(weight, mask_type)[:, :, : weight.shape[2] // 2 + 1]
    return F.conv2d(x, upper, bias, padding=(weight.shape[2] // 2, weight.shape[3] // 2))[:, :, : x.shape[2]]


def convolution(size: Size, dtype: torch.dtype, kernel: int, mask_type: str, layout: str) -> Problem:
    torch.manual_seed(0)
    channels = size.hidden
    x, dy = (size.map(channels, dtype).contiguous(memory_format=_LAYOUTS[layout]) for _ in range(2))
    weight = torch.randn(channels, channels, kernel, kernel, dtype=dtype) / (channels * kernel**2) ** 0.5
    inputs, names = [x, weight, torch.randn(channels, dtype=dtype)], ["input", "weight", "bias"]
    functions = {MASKED: px.reference.masked_conv2d, CROPPED: cropped, OURS: px.functional.masked_conv2d}

    def provider(name, function, inputs, dy):
        return Differentiable(name, partial(function, mask_type=mask_type), inputs, dy, names)

    exact = provider("reference", px.reference.masked_conv2d, [t.double() for t in inputs], dy.double())
    live_taps = kernel**2 // 2 + (mask_type == "B")
    products = Products(size.cells, live_taps * channels, channels)
    return Problem([provider(name, f, inputs, dy) for name, f in functions.items()], exact.results, products)


def case(kernel: int, mask_type: str, layout: str) -> Case:
    build = partial(convolution, kernel=kernel, mask_type=mask_type, layout=layout)
    return Case(
        f"{kernel}x{kernel} {mask_type} {layout}", Size(16, 28, 28, 64), build, ours=OURS, against=(MASKED, CROPPED)
    )


_BOUNDS = {(7, "A"): 0.65, (3, "B"): 1.02, (1, "B"): 1.02}
_CASE_BOUNDS = {case(*kind, layout): bound for kind, bound in _BOUNDS.items() for layout in _LAYOUTS}
CASES = list(_CASE_BOUNDS)
TARGETS = [Target(c, OURS, MASKED, at_most=bound, threads=n) for n in (1, 2) for c, bound in _CASE_BOUNDS.items()]

if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, CASES, TARGETS))
