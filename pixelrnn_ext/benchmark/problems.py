"""The cases of the benchmarks, and their providers, that is, the implementations that are timed on a case."""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from .. import reference
from ..operators import library
from ..operators.scan.arguments import Scan
from . import baselines
from .products import Products

MODES = ("forward", "backward", "forward+backward")
BASELINE, NATIVE, LSTM = "good loop", "native", "nn.LSTM"
AS_WRITTEN = "loop as written"
NATIVE_NCHW, NATIVE_BF16, LSTM_BF16 = f"{NATIVE}, NCHW", f"{NATIVE}, bfloat16", f"{LSTM}, bfloat16"


@dataclass(frozen=True)
class Size:
    batch: int
    height: int
    width: int
    hidden: int

    def __str__(self) -> str:
        return f"B{self.batch} {self.height}x{self.width} h{self.hidden}"

    @property
    def cells(self) -> int:
        return self.batch * self.height * self.width

    def map(self, channels: int, dtype: torch.dtype) -> Tensor:
        return torch.randn(self.batch, channels, self.height, self.width, dtype=dtype)

    def tiny(self) -> "Size":
        return replace(self, batch=2, height=4, width=5, hidden=min(self.hidden, 16))


@dataclass(eq=False)
class Differentiable:
    """An implementation to be timed. It computes an output tensor, and the gradients of ``inputs``."""

    name: str
    run: Callable[..., Tensor]
    inputs: list[Tensor]
    cotangent: Tensor
    names: list[str]
    # Converts the results to the shapes of the exact results.
    to_common: Callable[..., Sequence[Tensor]] = lambda *tensors: tensors
    # Returns the exact results. None if these are the results of ``Problem.reference``.
    exact: Callable[[], dict[str, Tensor]] | None = None

    def __post_init__(self) -> None:
        self.inputs = [t if isinstance(t, torch.nn.Parameter) else t.detach().requires_grad_() for t in self.inputs]

    def step(self, mode: str) -> Callable[[], Any]:
        """Returns a function that runs ``mode`` once.

        For "backward", the returned function runs only the backward pass. step() runs the forward pass before.
        """
        if mode == "forward":
            return lambda: self.run(*self.inputs)
        if mode == "backward":
            y = self.run(*self.inputs)
            return lambda: torch.autograd.grad(y, self.inputs, self.cotangent, retain_graph=True)
        return self._forward_backward

    def _forward_backward(self) -> tuple[Tensor, ...]:
        y = self.run(*self.inputs)
        return y.detach(), *torch.autograd.grad(y, self.inputs, self.cotangent)

    def named(self, output_and_gradients: Sequence[Tensor]) -> dict[str, Tensor]:
        names = ["output", *(f"gradient of {name}" for name in self.names)]
        return dict(zip(names, self.to_common(*output_and_gradients)))

    def results(self) -> dict[str, Tensor]:
        return self.named(self._forward_backward())


def from_layer(name: str, layer: Module, x: Tensor, dy: Tensor, *others: Tensor | None) -> Differentiable:
    """Returns an implementation that calls ``layer(x, *others)``. ``dy`` is the gradient of its output."""
    names = ["input", *dict(layer.named_parameters())]
    return Differentiable(name, lambda x, *_: layer(x, *others), [x, *layer.parameters()], dy, names)


def exact_layer(layer: Module, x: Tensor, dy: Tensor, *others: Tensor | None) -> dict[str, Tensor]:
    exact = with_backend(layer, "reference").double()
    return from_layer("reference", exact, x.double(), dy.double(), *others).results()


def with_backend(layer: Module, backend: str) -> Any:
    other: Any = copy.deepcopy(layer)
    other.backend = backend
    return other


@dataclass
class Problem:
    """The implementations of one case in one dtype. ``reference`` computes the exact results in float64."""

    providers: list[Differentiable]
    reference: Callable[[], dict[str, Tensor]]
    products: Products
    # The names of implementations that this machine lacks, with the reason.
    absent: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if library.why_no_native():
            self.providers = [p for p in self.providers if not p.name.startswith(NATIVE)]


def _channels_last(*maps: Tensor) -> list[Tensor]:
    return [m.contiguous(memory_format=torch.channels_last) for m in maps]


def layer_problem(
    loop: Module,
    x: Tensor,
    dy: Tensor,
    products: Products,
    backends: tuple[str, ...],
    others: Iterable[Differentiable] = (),
) -> Problem:
    """Returns the implementations of a layer that a benchmark times, and a function that computes the exact results.

    The layer ``loop`` is the baseline. The other implementations are ``others``, and copies of ``loop`` that run on
    ``backends``. The copies get x and dy in channels_last memory format. Two more native copies get them in NCHW, and
    in bfloat16.
    """
    maps, native = _channels_last(x, dy), with_backend(loop, NATIVE)
    layers = [
        from_layer(BASELINE, loop, x, dy),
        *(from_layer(backend, with_backend(loop, backend), *maps) for backend in backends),
        from_layer(NATIVE_NCHW, native, x, dy),
        from_layer(NATIVE_BF16, copy.deepcopy(native).bfloat16(), *(m.bfloat16() for m in maps)),
    ]
    return Problem([*layers, *others], partial(exact_layer, loop, x, dy), products)


def worst_error(got: dict[str, Tensor], exact: dict[str, Tensor]) -> tuple[float, str]:
    """Returns the largest relative error, and the name of its tensor.

    A relative error is the RMS error of a tensor, divided by its exact RMS value.
    """

    def error(name: str) -> float:
        if got[name].shape != exact[name].shape:
            return math.inf
        difference, size = got[name].double() - exact[name], exact[name].square().mean().sqrt()
        ratio = float(difference.square().mean().sqrt() / size)
        return math.inf if math.isnan(ratio) else ratio

    return max((error(name), name) for name in exact)


@dataclass(frozen=True)
class Case:
    """A layer or a recurrence of one size, to be timed.

    The table of ``pixelrnn bench`` compares ``ours`` with the implementations in ``against``. The first implementation
    in ``against`` is the baseline of all speed-ups.
    """

    kind: str
    size: Size
    build: Callable[[Size, torch.dtype], Problem]
    in_default: bool = True
    threads: tuple[int, ...] = (2,)
    ours: str = NATIVE
    against: tuple[str, ...] = (BASELINE, AS_WRITTEN)

    def __str__(self) -> str:
        return f"{self.kind} {self.size}"

    @property
    def baseline(self) -> str:
        return self.against[0]

    def problem(self, dtype: torch.dtype) -> Problem:
        return self.build(self.size, dtype)


Recurrence = Callable[[Tensor, Tensor], Tensor]


def native_recurrence(diagonal: bool, path: str = "auto", tf32: bool = False, ops: Any = None) -> Recurrence:
    """Returns a function that runs the scan operator of ``ops``, and returns the hidden states.

    For B images and h hidden units, x is [1, B, H, W, 4 h], the weight is [1, taps, h, 4, h], and the states are [B, H,
    W, 1, h].
    """
    absent: dict[str, Any] = dict.fromkeys(("input", "weight_ih", "bias", "h0", "c0", "peephole", "sizes"))
    rest: dict[str, Any] = dict(corners=[0], diagonal=diagonal, input_kernel=1, cell="pixelrnn", merge="none")

    def native(x: Tensor, weight: Tensor) -> Tensor:
        return (ops or torch.ops.pixelrnn_ext).scan(
            *Scan(x=x, weight_hh=weight, **absent, **rest, path=path, tf32=tf32)
        )[1]

    return native


def recurrence_problem(
    size: Size, dtype: torch.dtype, *, diagonal: bool, taps: int, natives: dict[str, Recurrence] | None = None
) -> Problem:
    """Returns the problem of a recurrence in one direction.

    x is (N, 4 * hidden, H, W), and weight_hh is (4 * hidden, hidden, taps). ``natives`` are compiled implementations by
    name.
    """
    natives = natives or {NATIVE: native_recurrence(diagonal)}
    exact: Recurrence = reference.diagonal_scan if diagonal else reference.row_scan
    good: Recurrence = baselines.diagonal_good_loop if diagonal else baselines.row_good_loop
    written = baselines.diagonal_loop_as_written if diagonal else baselines.row_loop_as_written
    torch.manual_seed(0)
    hidden = size.hidden
    x, dy = size.map(4 * hidden, dtype), size.map(hidden, dtype)
    weight = torch.randn(4 * hidden, hidden, taps, dtype=dtype) / (taps * hidden) ** 0.5

    def provider(name: str, run: Recurrence, x: Tensor, weight: Tensor, dy: Tensor, **options: Any) -> Differentiable:
        return Differentiable(name, run, [x, weight], dy, ["x", "weight_hh"], **options)

    def from_native(y: Tensor, dx: Tensor, dweight: Tensor) -> tuple[Tensor, ...]:
        return (
            y.squeeze(3).permute(0, 3, 1, 2),
            dx[0].unflatten(3, (hidden, 4)).permute(0, 4, 3, 1, 2).flatten(1, 2),
            dweight[0].permute(2, 1, 3, 0).flatten(0, 1),
        )

    loop_x, loop_dy = _channels_last(x, dy)  # channels_last makes the baseline faster
    native_x = x.unflatten(1, (4, hidden)).permute(0, 3, 4, 2, 1).flatten(3)[None]
    native_weight = weight.unflatten(0, (4, hidden)).permute(3, 1, 0, 2).contiguous()[None]
    native_dy = dy.permute(0, 2, 3, 1).unsqueeze(3).contiguous()
    return Problem(
        [
            provider(AS_WRITTEN, written, x, weight, dy),
            provider(BASELINE, good, loop_x, weight, loop_dy),
            *(
                provider(*native, native_x, native_weight, native_dy, to_common=from_native)
                for native in natives.items()
            ),
        ],
        lambda: provider("reference", exact, x.double(), weight.double(), dy.double()).results(),
        Products(size.cells, taps * hidden, 4 * hidden),
    )
