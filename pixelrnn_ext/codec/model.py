"""The model that codes: a copy with parameters on the grid, so that all of its sums are exact."""

import copy
import hashlib
import inspect
import json
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..incremental.grid import Grid, on_grid

_EXACT = 53  # bits of an integer that float64 holds
Model = TypeVar("Model", bound=nn.Module)


@torch.no_grad()
def prepared(model: Model, grid: Grid) -> Model:
    """The copy, in float64 on the CPU.

    Raises:
        ValueError: a parameter is not finite or not a plain one, or a layer's sums could leave the integers that are
            exact; what a mask removes counts.
    """
    model = copy.deepcopy(model).to("cpu", torch.float64).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("original") or ".parametrizations." in name:
            raise ValueError(f"expected plain parameters to code with, got a parametrisation of {name}")
        if not parameter.isfinite().all():
            raise ValueError(f"expected finite parameters to code with, got others in {name}")
        parameter.copy_(_parameter_on_grid(name.rpartition(".")[2], parameter, grid))
    for name, module in model.named_modules():
        _check_sums(name, module, grid)
        if isinstance(module, nn.ConvTranspose2d):  # of a multi-scale model; the other layers' steps round
            module.register_forward_pre_hook(lambda _, inputs: (grid.written(inputs[0]),))
            module.register_forward_hook(lambda _, inputs, output: grid.write_(output))
    return model


def fingerprint(model: nn.Module, grid: Grid) -> bytes:
    """Eight bytes of a prepared model's: models with equal ones decode each other's files."""
    wiring = [type(model).__name__, _arguments(model), grid]
    digest = hashlib.sha256(json.dumps(wiring, sort_keys=True).encode())
    unit = 2.0 ** (grid.activation + grid.weight)
    for name, parameter in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update((parameter * unit).long().numpy().astype("<i8").tobytes())
    return digest.digest()[:8]


def _arguments(model: nn.Module) -> dict[str, Any]:
    """Those of the constructors that are not left to their defaults: one that is added later changes no file.

    Of all classes that the model is of, since a subclass may give its base what it does not take itself; of one name
    the nearest class says the default. Without the backend, which is none of what a model computes.
    """
    defaults = {p.name: p.default for cls in reversed(type(model).__mro__) for p in _parameters(cls)}
    values = {name: (getattr(model, name), default) for name, default in defaults.items() if hasattr(model, name)}
    values = {name: pair for name, pair in values.items() if not callable(pair[0])}  # a module's parameters count
    for name, (value, _) in values.items():
        if not isinstance(value, (bool, int, float, str, tuple, list, dict, type(None))):
            expected = f"arguments of {type(model).__name__} that are numbers or strings"
            raise TypeError(f"expected {expected} to code with, got {name}, a {type(value).__name__}")
    arguments = {name: value for name, (value, default) in values.items() if value != default and name != "backend"}
    if isinstance(arguments.get("small"), dict):  # what a multi-scale model's small one has otherwise
        small = arguments["small"].items()
        arguments["small"] = {name: value for name, value in small if value != values[name][0] and name != "backend"}
    return arguments


def _parameters(cls: type) -> list[inspect.Parameter]:
    """Those of a constructor that have names: no ``*args``, which is another's attribute."""
    unnamed = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [p for p in inspect.signature(cls).parameters.values() if p.kind not in unnamed]


def _parameter_on_grid(kind: str, value: Tensor, grid: Grid) -> Tensor:
    if kind.startswith("weight"):
        return on_grid(value, grid.weight)
    if kind.startswith(("h0", "c0")):  # states, as the layers make them
        return grid.written(value)
    return on_grid(value, grid.activation + grid.weight)


def _check_sums(name: str, module: nn.Module, grid: Grid) -> None:
    """Whether no sum of products of the module's, whatever its input, reaches 2**53 units."""
    least = 2.0 ** (_EXACT - grid.activation - grid.weight)
    for suffix in ("", "_reverse"):
        weights = list(_weights(module, suffix))
        if not weights:
            continue
        outputs = 1 if isinstance(module, nn.ConvTranspose2d) else 0
        sums = torch.stack([weight.abs().transpose(0, outputs).flatten(1).sum(1) for weight in weights]).sum(0)
        bias = getattr(module, f"bias{suffix}", None)
        # A condition is a layer's output, and added to the gates.
        largest = float((sums * grid.limit + grid.limit + (0 if bias is None else bias.abs())).max())
        if not largest < least:
            raise ValueError(
                f"expected weights to code with whose sums stay below {least:g}, got {largest:g} in {name}"
            )


def _weights(module: nn.Module, suffix: str) -> Iterable[Tensor]:
    """What outputs are products with, (outputs, ...)."""
    for name in ("weight", "weight_ih", "weight_hh"):
        weight = getattr(module, name + suffix, None)
        if isinstance(weight, Tensor):
            yield weight
