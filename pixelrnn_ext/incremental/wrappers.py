"""Handles wrappers and hooks of modules: torch.compile, activation checkpoints, sharding and forward hooks."""

from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

# Types of pre-hooks that compute a weight from other parameters, and do not read the module's input.
REPARAMETRISATIONS = (WeightNorm, SpectralNorm, BasePruningMethod)
_COMPILED = "_orig_mod"  # torch.compile keeps the module in this attribute
_WRAPPERS = {_COMPILED, "_checkpoint_wrapped_module"}


def plain_name(name: str) -> str:
    """Returns the name of a module or parameter, without the parts that wrappers add to it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the model that torch.compile and activation checkpoints wrap."""
    while wrapped := _WRAPPERS & model._modules.keys():
        inner = model._modules[wrapped.pop()]
        assert inner is not None
        model = inner
    return model


def check_unsharded(model: nn.Module) -> None:
    """Raises TypeError if a parameter is sharded, for example by fully_shard."""
    for name, parameter in model.named_parameters():
        if hasattr(parameter, "device_mesh"):
            raise TypeError(f"expected a model with whole parameters, got a shard of {plain_name(name)}")


def has_hooks(module: nn.Module) -> bool:
    """Returns whether a module has forward hooks or pre-hooks, not counting torch.nn.utils' reparametrisations."""
    return bool(module._forward_hooks) or any(
        not isinstance(hook, REPARAMETRISATIONS) for hook in module._forward_pre_hooks.values()
    )


def has_global_hooks() -> bool:
    return bool(torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks)


def uncompiled(module: nn.Module, name: str = "", copies: dict[nn.Module, nn.Module] | None = None) -> nn.Module:
    """Returns the model without compiled modules, so that their operations can be recorded.

    In a compiled module, Dynamo would compile the operations instead.

    Compiled modules, and modules that contain them, become shallow copies with the same parameters, buffers and hooks.
    Raises TypeError if a hook would be called with such a copy, because the hook may not recognise the copy.
    """
    copies = {} if copies is None else copies
    if module in copies:
        return copies[module]
    children = {
        key: None if child is None else uncompiled(child, f"{name}.{key}" if name else key, copies)
        for key, child in module._modules.items()
    }
    inner = children.get(_COMPILED)
    compiled = module._compiled_call_impl is not None or inner is not None
    if not compiled and all(children[key] is child for key, child in module._modules.items()):
        copy = module
    elif has_hooks(module) or has_global_hooks():
        where = plain_name(name) or type(module).__name__
        raise TypeError(f"expected no forward hook where modules are compiled, got one that {where} calls")
    elif inner is not None:
        copy = inner
    else:
        copy = object.__new__(type(module))
        copy.__dict__.update({**module.__dict__, "_modules": children, "_compiled_call_impl": None})
    copies[module] = copy
    return copy
