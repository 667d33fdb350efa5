"""Copies a model for the codec, and rounds its parameters to fixed-point numbers, whose sums are exact in float64."""

import copy
import hashlib
import inspect
import json
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_map, tree_map_only

from ..incremental.grid import Grid, on_grid
from ..incremental.recording import Operation, Recording, check_hooks, record
from ..incremental.wrappers import (
    REPARAMETRISATIONS,
    check_unsharded,
    has_global_hooks,
    has_hooks,
    plain_name,
    uncompiled,
    unwrapped,
)

Recordings = dict[Any, Recording]


@torch.no_grad()
def prepared_copy(model: nn.Module, grid: Grid) -> Any:
    """Returns a copy of a model that the codec can run, in float64 on the CPU.

    Parametrised weights are computed in float64, so that every machine gets the same. Raises ValueError if a parameter
    is not finite, or if a layer's sums could be too large to be exact.
    """
    check_unsharded(model)
    for name, parameter in _named_parameters(model):
        if parameter.is_meta:
            raise ValueError(f"expected parameters with values to code with, got a meta tensor, {name}")
    model = _copy_sharing_hooks(uncompiled(unwrapped(model))).to("cpu", torch.float64).eval()
    for module in list(model.modules()):
        _make_plain(module)
    for name, parameter in _named_parameters(model.requires_grad_(False)):
        if not parameter.isfinite().all():
            raise ValueError(f"expected finite parameters to code with, got infinity or NaN in {name}")
        parameter.copy_(_parameter_on_grid(name.rpartition(".")[2], parameter, grid))
    for name, module in model.named_modules():
        _check_sums(plain_name(name), module, grid)
        # PyTorch computes a transposed convolution without rounding, so hooks round its inputs and outputs. All other
        # layers run in the codec's own code, which rounds.
        if isinstance(module, nn.ConvTranspose2d):
            module.register_forward_pre_hook(lambda _, inputs: (grid.quantized(inputs[0]),))
            module.register_forward_hook(lambda _, inputs, output: grid.quantize_(output))
    return model


def _named_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(plain_name(name), parameter) for name, parameter in model.named_parameters()]


def _copy_sharing_hooks(model: nn.Module) -> nn.Module:
    """Returns a deep copy of a model that shares the model's hooks.

    torch cannot deepcopy weights that a hook, such as weight norm, has computed, so they are cloned.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        memo |= {id(t): t.detach().clone() for t in vars(module).values() if isinstance(t, Tensor) and not t.is_leaf}
        memo |= {id(hook): hook for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())}
    return copy.deepcopy(model, memo)


def _make_plain(module: nn.Module) -> None:
    """Replaces parametrisations, and hooks that compute weights, by the weights."""
    if parametrize.is_parametrized(module):
        # torch's remove_parametrizations is not used, because it deletes the weight's property from the module's class,
        # and the user's model has the same class.
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


def record_networks(original: nn.Module, model: nn.Module) -> Recordings:
    """Records the operations of each network of ``model``, the codec's copy of ``original``.

    Raises TypeError if hooks change the operations of only one model, or if a module outside the networks has a hook.
    """
    if hasattr(original, "factor"):
        check_hooks(original, bool(original.condition_channels))
    networks, copies = _networks(original), _networks(model)
    recordings = {network: record(network, bool(network.condition_channels)) for network in copies.values()}
    for recording in recordings.values():
        _use_parameters_of(model, original, recording)
    if not has_global_hooks() and not any(map(has_hooks, original.modules())):
        return recordings
    for name, network in copies.items():
        if not _match(record(networks[name], bool(network.condition_channels)), recordings[network]):
            raise TypeError(f"expected hooks that do the same to a copy of the model, got others in {name or 'it'}")
    recorded = {module for network in networks.values() for module in network.modules()}
    for name, module in original.named_modules():
        if module is not original and module not in recorded and (has_hooks(module) or has_global_hooks()):
            raise TypeError(f"expected no hook of {plain_name(name)} to code with, got one")
    return recordings


def _use_parameters_of(model: nn.Module, original: nn.Module, recording: Recording) -> None:
    """Replaces parameters of ``original`` in the recorded operations by the rounded parameters of ``model``.

    Raises TypeError for a tensor of neither model, because it is not rounded.
    """
    tensors, originals = (dict((*_named_parameters(m), *m.named_buffers())) for m in (model, original))
    counterparts = {id(tensor): tensor for tensor in tensors.values()}
    counterparts |= {id(tensor): tensors[name] for name, tensor in originals.items() if name in tensors}
    for operation in recording.operations:

        def counterpart(tensor: Tensor, operation: Operation = operation) -> Tensor:
            if id(tensor) not in counterparts:
                raise TypeError(f"expected the model's own parameters to code with, got a tensor in {operation}")
            return counterparts[id(tensor)]

        operation.args, operation.kwargs = tree_map_only(Tensor, counterpart, (operation.args, operation.kwargs))


def _networks(model: nn.Module) -> dict[str, Any]:
    return {plain_name(name): m for name, m in model.named_modules() if hasattr(type(m), "logit_map")}


def _match(a: Recording, b: Recording) -> bool:
    def structure(recording: Recording) -> list[Any]:
        place = {operation: i for i, operation in enumerate(recording.operations)}

        def argument(a: Any) -> Any:
            return place.get(a, str(a)) if isinstance(a, Operation) else a.shape if isinstance(a, Tensor) else a

        return [(o.function, tree_map(argument, (o.args, o.kwargs))) for o in recording.operations]

    def tensors(recording: Recording) -> list[Tensor]:
        return [leaf.cpu().double() for leaf in recording.arguments() if isinstance(leaf, Tensor)]

    if structure(a) != structure(b):
        return False
    return all(torch.allclose(x, y, rtol=1e-5, atol=2**-14) for x, y in zip(tensors(a), tensors(b)))


def fingerprint(model: nn.Module, grid: Grid, recordings: Recordings) -> bytes:
    """Returns eight bytes that identify a model. ``model`` is the codec's copy, from :func:`prepared_copy`."""
    wiring = [type(model).__name__, _changed_arguments(model), grid]
    digest = hashlib.sha256(json.dumps(wiring, sort_keys=True).encode())
    # math.ldexp is exact in every rounding mode. 2 ** n is not exact, because it calls the C function pow.
    unit = math.ldexp(1, grid.activation + grid.weight)
    for name, parameter in sorted(_named_parameters(model)):
        digest.update(name.encode())
        digest.update((parameter * unit).long().numpy().astype("<i8").tobytes())
    read = {id(leaf) for recording in recordings.values() for leaf in recording.arguments()}
    for name, buffer in sorted(model.named_buffers()):
        if id(buffer) in read:
            digest.update(plain_name(name).encode())
            digest.update(buffer.double().numpy().astype("<f8").tobytes())
    return digest.digest()[:8]


def _changed_arguments(model: nn.Module) -> dict[str, Any]:
    """Returns the constructor arguments that differ from their defaults.

    Arguments with default values are left out, so that an argument that a later version adds does not change the
    fingerprints of existing models. ``backend`` is left out, because it does not change the results.
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
    if isinstance(arguments.get("small"), dict):
        small = arguments["small"].items()
        arguments["small"] = {name: value for name, value in small if value != values[name][0] and name != "backend"}
    return arguments


def _parameter_on_grid(kind: str, value: Tensor, grid: Grid) -> Tensor:
    if kind.startswith("weight"):
        return on_grid(value, grid.weight)
    if kind.startswith(("h0", "c0")):  # rounded and clamped like all other h and c
        return grid.quantized(value)
    return on_grid(value, grid.activation + grid.weight)


def _check_sums(name: str, module: nn.Module, grid: Grid) -> None:
    limit = math.ldexp(1, 53 - grid.activation - grid.weight)
    for suffix in ("", "_reverse"):
        candidates = [getattr(module, kind + suffix, None) for kind in ("weight", "weight_ih", "weight_hh")]
        weights = [weight for weight in candidates if isinstance(weight, Tensor)]
        if not weights:
            continue
        outputs = 1 if isinstance(module, nn.ConvTranspose2d) else 0
        sums = torch.stack([weight.abs().transpose(0, outputs).flatten(1).sum(1) for weight in weights]).sum(0)
        bias = getattr(module, f"bias{suffix}", None)
        # No input is larger than ``grid.limit``, so the products with the weights sum to at most ``sums * grid.limit``.
        # The other ``grid.limit`` is for a condition, which is added to the pre-activations of the gates.
        largest = float((sums * grid.limit + grid.limit + (0 if bias is None else bias.abs())).max())
        if not largest < limit:
            expected = f"weights to code with whose sums stay below {limit:g}"
            raise ValueError(f"expected {expected}, got {largest:g} in {name}")
