"""Prepares a copy of a model for coding: its parameters are on the grid, so all its sums are exact."""

import copy
import hashlib
import inspect
import json
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from ..incremental.grid import Grid, on_grid
from ..incremental.recording import Operation, Recording, check_untouched, record
from ..incremental.wrappers import (
    REPARAMETRISATIONS,
    check_whole,
    has_global_hooks,
    has_hooks,
    plain_name,
    uncompiled,
    unwrapped,
)

Recordings = dict[Any, Recording]  # {network of a model: its recording}
_EXACT = 53  # bits of the integers that float64 holds exactly


@torch.no_grad()
def prepared(model: nn.Module, grid: Grid) -> Any:
    """Returns a copy of a model for coding: plain parameters on the grid, in float64 on the CPU, nothing compiled.

    Parametrisations are computed in float64, so that every machine gets the same parameters. Raises ValueError if a
    layer's sums, masked weights included, could be too large to be exact.
    """
    check_whole(model)
    for name, parameter in _named_parameters(model):
        if parameter.is_meta:
            raise ValueError(f"expected parameters with values to code with, got a meta tensor, {name}")
    model = _copied(uncompiled(unwrapped(model))).to("cpu", torch.float64).eval()
    for module in list(model.modules()):
        _make_plain(module)
    for name, parameter in _named_parameters(model.requires_grad_(False)):
        if not parameter.isfinite().all():
            raise ValueError(f"expected finite parameters to code with, got others in {name}")
        parameter.copy_(_parameter_on_grid(name.rpartition(".")[2], parameter, grid))
    for name, module in model.named_modules():
        _check_sums(plain_name(name), module, grid)
        if isinstance(module, nn.ConvTranspose2d):  # upsampling rounds by hooks, other layers in their steps
            module.register_forward_pre_hook(lambda _, inputs: (grid.written(inputs[0]),))
            module.register_forward_hook(lambda _, inputs, output: grid.write_(output))
    return model


def _named_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(plain_name(name), parameter) for name, parameter in model.named_parameters()]


def _copied(model: nn.Module) -> nn.Module:
    """Returns a deep copy that shares the hooks. A weight that a hook computed is cloned: torch cannot deepcopy it."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        memo.update(
            (id(t), t.detach().clone()) for t in vars(module).values() if isinstance(t, Tensor) and not t.is_leaf
        )
        memo.update((id(hook), hook) for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values()))
    return copy.deepcopy(model, memo)


def _make_plain(module: nn.Module) -> None:
    """Replaces parametrisations, including hooks of torch.nn.utils, by the weights that they compute."""
    if parametrize.is_parametrized(module):
        # remove_parametrizations would remove the property from the class, which the original shares.
        names: Any = module.parametrizations
        weights = {name: getattr(module, name).detach().clone() for name in names}
        module.__class__ = type(module).__bases__[0]
        del module.parametrizations
        for name, weight in weights.items():
            module.register_parameter(name, nn.Parameter(weight))
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, REPARAMETRISATIONS):
            hook.remove(module)
            del module._forward_pre_hooks[key]


def recordings(original: nn.Module, model: nn.Module) -> Recordings:
    """Returns the recordings of a prepared model's networks. Hooks that are registered later do not change them.

    Raises TypeError if hooks treat the copy unlike the ``original``, or if a module that is not recorded has a hook.
    """
    if hasattr(original, "factor"):
        check_untouched(original, bool(original.condition_channels))
    networks, copies = _networks(original), _networks(model)
    made = {network: record(network, bool(network.condition_channels)) for network in copies.values()}
    for recording in made.values():
        _use_parameters_of(model, original, recording)
    if not has_global_hooks() and not any(map(has_hooks, original.modules())):
        return made
    for name, network in copies.items():
        if not _same(record(networks[name], bool(network.condition_channels)), made[network]):
            raise TypeError(f"expected hooks that do the same to a copy of the model, got others in {name or 'it'}")
    recorded = {module for network in networks.values() for module in network.modules()}
    for name, module in original.named_modules():
        if module is not original and module not in recorded and (has_hooks(module) or has_global_hooks()):
            raise TypeError(f"expected no hook of {plain_name(name)} to code with, got one")
    return made


def _use_parameters_of(model: nn.Module, original: nn.Module, recording: Recording) -> None:
    """Replaces the original model's parameters in a recording, where hooks used them, by the prepared model's.

    Raises TypeError for a tensor of neither model, which is not on the grid and may change later.
    """
    own, others = (dict((*_named_parameters(m), *m.named_buffers())) for m in (model, original))
    prepared_of = {id(tensor): tensor for tensor in own.values()}
    prepared_of |= {id(tensor): own[name] for name, tensor in others.items() if name in own}
    for operation in recording.operations:

        def prepared_one(tensor: Tensor, operation: Operation = operation) -> Tensor:
            if id(tensor) not in prepared_of:
                raise TypeError(f"expected the model's own parameters to code with, got a tensor in {operation}")
            return prepared_of[id(tensor)]

        operation.args, operation.kwargs = tree_map_only(Tensor, prepared_one, (operation.args, operation.kwargs))


def _networks(model: nn.Module) -> dict[str, Any]:
    return {plain_name(name): m for name, m in model.named_modules() if hasattr(type(m), "logit_map")}


def _same(a: Recording, b: Recording) -> bool:
    """Returns whether two recordings have the same operations, and the same parameters up to rounding."""

    def described(recording: Recording) -> list[Any]:
        place = {operation: i for i, operation in enumerate(recording.operations)}

        def argument(a: Any) -> Any:
            return place.get(a, str(a)) if isinstance(a, Operation) else a.shape if isinstance(a, Tensor) else a

        return [(o.function, tree_map(argument, (o.args, o.kwargs))) for o in recording.operations]

    def tensors(recording: Recording) -> list[Tensor]:
        leaves = tree_leaves([(o.args, o.kwargs) for o in recording.operations])
        return [leaf.cpu().double() for leaf in leaves if isinstance(leaf, Tensor)]

    if described(a) != described(b):
        return False
    return all(torch.allclose(x, y, rtol=1e-5, atol=2**-14) for x, y in zip(tensors(a), tensors(b)))


def fingerprint(model: nn.Module, grid: Grid, made: Recordings) -> bytes:
    """Returns eight bytes that identify a prepared model.

    They hash its arguments, its parameters with their plain names, and the buffers that its recordings read.
    """
    wiring = [type(model).__name__, _arguments(model), grid]
    digest = hashlib.sha256(json.dumps(wiring, sort_keys=True).encode())
    unit = math.ldexp(1, grid.activation + grid.weight)  # pow is not exact in every rounding mode
    for name, parameter in sorted(_named_parameters(model)):
        digest.update(name.encode())
        digest.update((parameter * unit).long().numpy().astype("<i8").tobytes())
    operations = [operation for recording in made.values() for operation in recording.operations]
    read = {id(leaf) for leaf in tree_leaves([(o.args, o.kwargs) for o in operations])}
    for name, buffer in sorted(model.named_buffers()):
        if id(buffer) in read:
            digest.update(plain_name(name).encode())
            digest.update(buffer.double().numpy().astype("<f8").tobytes())
    return digest.digest()[:8]


def _arguments(model: nn.Module) -> dict[str, Any]:
    """Returns the constructor arguments that differ from their defaults, so that a new argument changes no fingerprint.

    Base classes count, because a subclass may set an argument that it does not take. The nearest class gives the
    default. The backend does not count, because it does not change what a model computes.
    """
    signatures = [inspect.signature(cls).parameters.values() for cls in reversed(type(model).__mro__)]
    unnamed = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    defaults = {p.name: p.default for parameters in signatures for p in parameters if p.kind not in unnamed}
    values = {name: (getattr(model, name), default) for name, default in defaults.items() if hasattr(model, name)}
    values = {name: pair for name, pair in values.items() if not callable(pair[0])}
    for name, (value, _) in values.items():
        if not isinstance(value, (bool, int, float, str, tuple, list, dict, type(None))):
            expected = f"arguments of {type(model).__name__} that are numbers or strings"
            raise TypeError(f"expected {expected} to code with, got {name}, a {type(value).__name__}")
    arguments = {name: value for name, (value, default) in values.items() if value != default and name != "backend"}
    if isinstance(arguments.get("small"), dict):  # a small model's arguments that differ from the large model's
        small = arguments["small"].items()
        arguments["small"] = {name: value for name, value in small if value != values[name][0] and name != "backend"}
    return arguments


def _parameter_on_grid(kind: str, value: Tensor, grid: Grid) -> Tensor:
    if kind.startswith("weight"):
        return on_grid(value, grid.weight)
    if kind.startswith(("h0", "c0")):  # initial states are rounded like other states
        return grid.written(value)
    return on_grid(value, grid.activation + grid.weight)


def _check_sums(name: str, module: nn.Module, grid: Grid) -> None:
    """Raises ValueError if a sum of products in a module could reach 2**53 units of the grid."""
    least = math.ldexp(1, _EXACT - grid.activation - grid.weight)
    for suffix in ("", "_reverse"):
        candidates = [getattr(module, kind + suffix, None) for kind in ("weight", "weight_ih", "weight_hh")]
        weights = [weight for weight in candidates if isinstance(weight, Tensor)]
        if not weights:
            continue
        outputs = 1 if isinstance(module, nn.ConvTranspose2d) else 0
        sums = torch.stack([weight.abs().transpose(0, outputs).flatten(1).sum(1) for weight in weights]).sum(0)
        bias = getattr(module, f"bias{suffix}", None)
        # The second ``grid.limit`` bounds a condition, which is added to the gates.
        largest = float((sums * grid.limit + grid.limit + (0 if bias is None else bias.abs())).max())
        if not largest < least:
            expected = f"weights to code with whose sums stay below {least:g}"
            raise ValueError(f"expected {expected}, got {largest:g} in {name}")
