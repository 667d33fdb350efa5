"""Compiles the loss of a training by torch.compile, where this is asked for or pays.

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

CHOICES = ("auto", "on", "off")
# The share of an eager step that compiling saves, and the seconds that it takes. Both are estimates from mnist-diagonal
# with two threads on a CPU.
SHARE_SAVED, COMPILATION = 0.07, 30.0
TIMED_STEPS = 3


def choose(
    choice: str, before: bool | None, loss: nn.Module, step: Callable[[], object], steps: int, world: World
) -> tuple[bool, str]:
    """Compiles ``loss`` in place, or leaves it. All processes choose the same.

    Args:
        choice: one of CHOICES.
        before: whether the steps before a resumed training were compiled, or None for a new training.
        loss: the module to compile.
        step: computes the loss and the gradients of a batch, and changes nothing.
        steps: how many steps are left.
        world: the processes of the training.

    Returns:
        Whether ``loss`` is compiled, and a sentence for the user that says why, or "" for the choice "off".

    Raises:
        ValueError: nothing compiles here, but the choice is "on" or the steps before were compiled.
    """
    if choice == "off":
        return False, ""
    if before is False:
        return False, "the training step stays uncompiled, as before"
    why = "as before" if before else "as --compile on asks"
    if choice == "auto" and before is None:
        seconds = seconds_of(step, world)
        saved = SHARE_SAVED * steps * seconds
        why = f"which should save {saved:.2g} s, {SHARE_SAVED:.0%} of {steps} steps of {1e3 * seconds:.3g} ms"
        if saved <= COMPILATION:
            return False, f"the training step stays uncompiled: compiling may take {COMPILATION:.0f} s, {why}"
    else:
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
        if choice == "on":
            advice = "--compile off trains without it"
            raise ValueError(f"expected torch.compile to work for --compile on, got {failure}; {advice}")
        return False, f"the training step stays uncompiled, because torch.compile does not work: {failure}"
    return True, f"the training step was compiled in {time.monotonic() - start:.0f} s, {why}"


def seconds_of(step: Callable[[], object], world: World) -> float:
    """Returns the time of a training step in seconds, as a mean over all processes.

    Each process calls the step once to warm up, then calls it a few more times, and takes the fastest of these times.
    """

    def seconds() -> float:
        start = time.perf_counter()
        step()
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
        return time.perf_counter() - start

    seconds()
    fastest = min(seconds() for _ in range(TIMED_STEPS))
    return float(world.sum(torch.tensor(fastest, dtype=torch.float64))) / world.size


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
