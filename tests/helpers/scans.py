"""Makes scans and layers for tests, and the arguments of the operators ``scan`` and ``scan_gradients``."""

from functools import partial
from typing import NamedTuple

import pytest
import torch

import pixelrnn_ext as px
from helpers import checks
from pixelrnn_ext.cells import CELLS
from pixelrnn_ext.operators.scan import eager, gpu, run
from pixelrnn_ext.operators.scan.arguments import OPERANDS, Gradients, Scan
from pixelrnn_ext.operators.scan.sizes import inside_mask

BACKENDS = ["reference", "native"]
each_backend = pytest.mark.parametrize("backend", BACKENDS)
EVERY_BACKEND = [*BACKENDS, "without kernels"]
OPS = torch.ops.pixelrnn_ext
DTYPES = {
    "fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64,
}  # fmt: skip
OUTPUTS = "y", "h", "c", "gates"


class DECOMPOSITION:
    """Computes scans with PyTorch's own functions, in place of torch.ops.pixelrnn_ext."""

    scan = staticmethod(lambda *args: eager.scan(Scan(*args)))
    scan_gradients = staticmethod(lambda *args: eager.scan_gradients(Gradients.bind(*args)))


def define_gpu_scans(namespace):
    """Registers the GPU code of ``scan`` and ``scan_gradients`` for CPU tensors, in torch.ops.``namespace``.

    Returns the torch.library.Library that owns these operators.
    """
    library = torch.library.Library(namespace, "FRAGMENT")
    for name in ("scan", "scan_gradients"):
        library.define(str(getattr(OPS, name).default._schema).removeprefix("pixelrnn_ext::"))
    gpu.register(namespace, "cpu")
    return library


class LayerOptions(NamedTuple):
    """Options that a layer sets for its scan."""

    diagonal: bool = True
    taps: int = 2
    corners: tuple = (0,)
    cell: str = "pixelrnn"
    peephole: bool = False
    merge: str = "none"
    input_taps: int = 1
    input_kernel: int = 1


LAYERS = {
    "row1": partial(px.RowLSTM, kernel_size=1),
    "row3": partial(px.RowLSTM, kernel_size=3),
    "row5": partial(px.RowLSTM, kernel_size=5),
    "diagonal": px.DiagonalLSTM,
    "diagonal-reverse": partial(px.DiagonalLSTM, reverse=True),
    "bilstm": px.DiagonalBiLSTM,
}
each_layer = pytest.mark.parametrize("name", LAYERS)
KINDS = ["row3", "bilstm", "stable"]
each_kind = pytest.mark.parametrize("name", KINDS)
# {variant of LSTM2d: (cell, whether the cell has peepholes)}
LSTM2D = {cell: (cell, False) for cell in CELLS} | {
    "graves-peepholes": ("graves", True),
    "halved-peepholes": ("halved", True),
}
each_variant = pytest.mark.parametrize("variant", LSTM2D)
# {masked convolution: (kernel size, mask type)}
MASKED = {"masked": (3, "B"), "masked-1x1": (1, "B"), "masked-7x7": (7, "A")}
LAYER_OPTIONS = {
    "row1": LayerOptions(False, 1, input_taps=3, input_kernel=3),
    "row3": LayerOptions(False, 3, input_taps=3, input_kernel=5),
    "row5": LayerOptions(False, 5, (0, 1), input_taps=2, input_kernel=3),
    "diagonal": LayerOptions(),
    "diagonal-reverse": LayerOptions(corners=(1,)),
    "bilstm": LayerOptions(corners=(0, 1), merge="shift"),
} | {variant: LayerOptions(cell=cell, peephole=peephole) for variant, (cell, peephole) in LSTM2D.items()}
# {name: (corners where the directions start, merge)}. The corners 0 to 3 are top left, top right, bottom left and
# bottom right.
LAYOUTS = {
    "tl": ((0,), "none"), "tr": ((1,), "none"), "bl-sum": ((2,), "sum"), "br": ((3,), "none"),
    "bilstm": ((0, 1), "shift"), "tl-br-shift": ((0, 3), "shift"), "tr-bl": ((1, 2), "none"),
    "three-sum": ((3, 1, 0), "sum"), "four": ((0, 1, 2, 3), "none"), "four-sum": ((0, 1, 2, 3), "sum"),
}  # fmt: skip
# Whether a scan has the operands (x, input). The pre-activations of the gates are x, plus a convolution of input.
SOURCES = {"x": (True, False), "input": (False, True), "x-input": (True, True)}


def scan_cases(strength=2, sweep=400):
    """Parametrizes a test by combinations of the options of :func:`case_problem` (see selection.py)."""

    def decorate(test):
        for names, values in (
            ("layer", ["row3", "row5", *LSTM2D]),
            ("layout", LAYOUTS),
            ("sources", SOURCES),
            ("states", [False, True]),
            ("ragged", [False, True]),
        ):
            test = pytest.mark.parametrize(names, list(values))(test)
        return pytest.mark.covering(strength, sweep=sweep)(test)

    return decorate


def case_problem(layer, layout, sources, states, ragged, hidden=3, maps=(3, 4, 5), **options):
    (corners, merge), (x, input) = LAYOUTS[layout], SOURCES[sources]
    sizes = ragged_sizes(*maps) if ragged else None
    options = dict(corners=corners, merge=merge, x=x, input=input, states=states, sizes=sizes) | options
    return Problem("fp64", layer, hidden, maps, **options)


def ragged_sizes(n, height, width):
    """Returns the sizes (height, width) of n images.

    The first fills the map, the second is smaller, and the third is a part of a row. Further images repeat these sizes.
    """
    return torch.tensor([(height, width), (-(-height // 2), max(1, width - 1)), (1, -(-width // 3))] * n)[:n]


class Problem:
    """Random operands of a scan, and a random gradient with respect to its output (``cotangent``).

    Args:
        format: a key of DTYPES.
        layer: a key of LAYER_OPTIONS. ``corners`` and ``merge`` replace the layer's options.
        maps: the size of the feature maps, (number of images, height, width).
        x, input: whether the scan has this operand. ``input`` comes with ``weight_ih`` and, by default, ``bias``.
        sizes: (height, width) of each image. If given, x, input and the cotangent are NaN outside of the images.
    """

    def __init__(
        self, format, layer, hidden, maps, *, corners=None, merge=None, x=None, input=True, bias=None, states=True,
        sizes=None, channels=3,
    ):  # fmt: skip
        fixed = self.options = LAYER_OPTIONS[layer]
        self.format, self.dtype, self.hidden, self.maps = format, DTYPES[format], hidden, tuple(maps)
        self.corners = list(fixed.corners if corners is None else corners)
        self.merge = fixed.merge if merge is None else merge
        self.gates, directions = len(CELLS[fixed.cell].gates), len(self.corners)
        self.sizes = None if sizes is None else torch.as_tensor(sizes)
        has_bias, has_x = input if bias is None else bias, not input if x is None else x

        def draw(*size, scale=1.0):
            return (scale * checks.randn64(size)).to(self.dtype)

        def weight(taps, channels, scale):  # permute() gives it the strides of a layer's weight
            return draw(directions, self.gates, hidden, channels, taps, scale=scale).permute(0, 4, 2, 1, 3)

        # Larger recurrent weights would amplify rounding errors of the states beyond any bound.
        self.inputs = {
            "input": draw(*self.maps, channels) if input else None,
            "weight_ih": weight(fixed.input_taps, channels, 0.8 / fixed.input_taps**0.5) if input else None,
            "bias": draw(directions, self.gates, hidden).transpose(1, 2) if has_bias else None,
            "x": draw(directions, *self.maps, self.gates * hidden) if has_x else None,
            "weight_hh": weight(fixed.taps, hidden, 0.8 / (fixed.taps * hidden) ** 0.5),
            "h0": draw(directions, hidden) if states else None,
            "c0": draw(directions, hidden) if states else None,
            "peephole": draw(directions, 4, hidden, scale=0.5) if fixed.peephole else None,
        }
        self.inputs = {name: t for name, t in self.inputs.items() if t is not None}
        # The gradient with respect to y or, if nothing is merged, to the hidden states of all directions.
        self.cotangent = draw(*self.maps, *(() if self.merge != "none" else (directions,)), hidden)
        if sizes is not None:
            outside = ~inside_mask(self.sizes, *self.maps[1:], torch.device("cpu"))
            for m in (*(self.inputs[name] for name in ("x", "input") if name in self.inputs), self.cotangent):
                m.masked_fill_(outside.view(*self.maps, *(1,) * (m.dim() - 3 - (m is self.inputs.get("x")))), torch.nan)

    def scan(self, dtype=None, path="auto", device="cpu", requires_grad=False):
        operands = {
            name: t.to(device, dtype or self.dtype).detach().requires_grad_(requires_grad)
            for name, t in self.inputs.items()
        }
        fixed, sizes = self.options, None if self.sizes is None else self.sizes.to(device)
        options = self.corners, fixed.diagonal, fixed.input_kernel, fixed.cell, self.merge, path, self.format == "tf32"
        return Scan(*(operands.get(name) for name in OPERANDS), sizes, *options)

    def gradient_arguments(self, ops, dtype=None, path="auto", device="cpu", wanted=None, shares=True):
        s = self.scan(dtype, path, device)
        _, h, c, gates = ops.scan(*s)
        wanted = [True] * len(OPERANDS) if wanted is None else list(wanted)
        return Gradients(self.cotangent.to(device, h.dtype), h, c, gates, wanted, shares, s)

    def run(self, ops, dtype=None, path="auto", device="cpu"):
        """Runs a scan and its backward pass. Returns all outputs and gradients as {name: tensor}.

        The gradient with respect to weight_hh, for example, has the name "dweight_hh". Outside of the images c and the
        gates are undefined, and set to zero.
        """
        s = self.scan(dtype, path, device, requires_grad=True)
        named = dict(zip(OUTPUTS, ops.scan(*s)))
        output = named["y"] if s.merges else named["h"]
        gradients = torch.autograd.grad(output, s.operands.values(), self.cotangent.to(device, output.dtype))
        if s.sizes is not None:
            inside = inside_mask(s.sizes, *self.maps[1:], output.device)[..., None]
            named |= {name: torch.where(inside, named[name], 0) for name in ("c", "gates")}
        if not s.merges:
            del named["y"]
        return {name: t.detach() for name, t in named.items()} | {f"d{k}": g for k, g in zip(s.operands, gradients)}

    def plan(self, ops, arch, path="auto"):
        """Returns the planner's descriptions of the forward and backward pass on a GPU of ``arch``, such as sm_90."""
        sizes = len(self.corners), *self.maps, self.hidden, self.options.taps, self.options.diagonal
        return ops.describe_plan(*sizes, self.format, int(arch.removeprefix("sm_")), path, self.gates)


# {layer: options of a Problem}. Together, these scans have both geometries (row, diagonal), all merges and all
# operands.
SELECTED = {
    "row3": dict(ragged=True),
    "row5": dict(input=False, states=False),
    "diagonal-reverse": dict(x=True, bias=False),
    "bilstm": dict(x=True, ragged=True),
    "stable": dict(corners=(0, 1, 2, 3), merge="sum", ragged=True),
    "graves-peepholes": dict(corners=(2, 1), states=False, ragged=True),
}
each_selected = pytest.mark.parametrize("layer", SELECTED)


def selected_problem(layer, maps=(2, 3, 4), hidden=5, **options):
    options = SELECTED[layer] | options
    ragged = options.pop("ragged", False)
    return Problem("fp64", layer, hidden, maps, **dict(sizes=ragged_sizes(*maps) if ragged else None) | options)


def make_layer(name, in_channels=2, hidden=3, *, directions=4, **options):
    """Returns a layer of LAYERS, LSTM2D or MASKED, with random initial states and peepholes."""
    options = dict(dtype=torch.float64) | options
    if name in MASKED:
        return px.MaskedConv2d(in_channels, hidden, *MASKED[name], **dict(activation="relu") | options)
    options = dict(initial_state="learned") | options
    if name in LAYERS:
        layer = LAYERS[name](in_channels, hidden, **options)
    else:
        cell, peepholes = LSTM2D[name]
        layer = px.LSTM2d(in_channels, hidden, cell=cell, peepholes=peepholes, directions=directions, **options)
    checks.draw_states(layer)
    return layer


def use_backend(name, monkeypatch):
    """Returns the value of a layer's option ``backend`` for the backend ``name`` of a test.

    If ``name`` is "without kernels", the function simulates a machine without compiled kernels, and returns "auto".
    """
    if name != "without kernels":
        return name
    choose = run.backends.choose
    monkeypatch.setattr(run.backends, "choose", lambda backend, device: choose(backend, device) and None)
    return "auto"


halves = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])


def gate_bias_channels(layer):
    return sum(p.shape[0] for name, p in layer.named_parameters() if name.startswith("weight_hh"))


def results(layer, x, sizes=None, cotangent=None, gate_bias=None):
    """Runs a layer and its backward pass. Returns the output and all gradients as {name: tensor}."""
    maps = {name: m.detach().requires_grad_() for name, m in (("input", x), ("gate_bias", gate_bias)) if m is not None}
    y = layer(**maps, **({} if sizes is None else {"sizes": sizes}))
    cotangent = checks.cotangent_of(y) if cotangent is None else cotangent
    leaves = maps | dict(layer.named_parameters())
    return {"output": y.detach(), **dict(zip(leaves, torch.autograd.grad(y, leaves.values(), cotangent)))}
