"""Compiles the loss of a training by torch.compile, where this is asked for.

Compiled steps may differ from eager steps in their last bits. Therefore a training makes the choice once, before its
first step, and stores it in its checkpoints.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._sentences import reason
from .distributed import World

CHOICES = ("on", "off")


def choose(
    choice: str, before: bool | None, loss: nn.Module, step: Callable[[], object], world: World
) -> tuple[bool, str]:
    """Compiles ``loss`` in place, or leaves it. All processes choose the same.

    Args:
        choice: one of CHOICES.
        before: whether the steps before a resumed training were compiled, or None for a new training.
        loss: the module to compile.
        step: computes the loss and the gradients of a batch, and changes nothing.
        world: the processes of the training.

    Returns:
        Whether ``loss`` is compiled, and a sentence for the user that says why, or "" for the choice "off".

    Raises:
        ValueError: nothing compiles here.
    """
    if choice == "off":
        return False, ""
    if before is False:
        return False, "the training step stays uncompiled, as before"
    # This step runs without torch.compile, so that an error in the model appears with the message of the model.
    step()
    start = time.monotonic()
    failure = _compile(loss, step, world.device)
    if world.any(failure is not None):
        vars(loss).pop("forward", None)
        failure = failure or "another process that cannot compile"
        if before:
            advice = "--resume --compile off goes on without it, with other last bits"
            raise ValueError(f"expected torch.compile to work, as in the steps before, got {failure}; {advice}")
        advice = "--compile off trains without it"
        raise ValueError(f"expected torch.compile to work for --compile on, got {failure}; {advice}")
    why = "as before" if before else "as --compile on asks"
    return True, f"the training step was compiled in {time.monotonic() - start:.0f} s, {why}"


def _compile(loss: nn.Module, step: Callable[[], object], device: torch.device) -> str | None:
    """Compiles a tiny function, and then ``loss`` by calling ``step``. Returns None, or why this fails."""
    try:
        tiny = torch.compile(_add_one_if_compiled, fullgraph=True, dynamic=False)
        if not tiny(torch.zeros(8, device=device)).all():
            return "a torch.compile that is switched off"
        loss.forward = torch.compile(loss.forward, fullgraph=True, dynamic=False, options=options_for(device))
        step()
    except Exception as error:  # the errors of compilers have no common class
        return reason(error)
    return None


def options_for(device: torch.device) -> dict[str, Any]:
    """Returns options for Inductor: on a GPU the mode "reduce-overhead", which captures CUDA graphs.

    Inductor must not choose kernels by time, because a resumed training would then choose others.
    """
    return {"deterministic": True} | ({"triton.cudagraphs": True} if device.type == "cuda" else {})


def overwrites_outputs(device: torch.device) -> bool:
    """Returns whether the next call of a compiled function overwrites the outputs and gradients of this call.

    CUDA graphs do so, because they keep both in their own memory pool. Tests replace this function.
    """
    return bool(options_for(device).get("triton.cudagraphs"))


def _add_one_if_compiled(x: Tensor) -> Tensor:
    return x + 1 if torch.compiler.is_compiling() else x
