"""Compiles the steps of a JAX function for torch's tensors, with a limited number of threads."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
import torch
from jax.extend import backend


@lru_cache(maxsize=1)  # so that it does nothing if the client has so many threads already
def start_client(threads: int) -> None:
    """Starts XLA's client for the CPU with ``threads`` threads. The arrays of the client before become invalid.

    XLA has no option for the number of threads. It starts as many as there are cores on which the calling thread may
    run, and they inherit these cores. So this thread may run on ``threads`` cores alone while the client starts.
    """
    jax.clear_caches()
    backend.clear_backends()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    try:
        jax.devices("cpu")
    finally:
        os.sched_setaffinity(0, cores)
    jax.config.update("jax_enable_x64", True)  # for --full; an array of float32 keeps its dtype


def make_step(
    function: Callable[..., Any], mode: str, inputs: Sequence[torch.Tensor], cotangent: torch.Tensor
) -> Callable[[], Any]:
    """Returns a compiled function that runs ``mode`` once and waits for its results, which are JAX arrays."""
    dy, *arrays = (jax.numpy.asarray(t.detach().contiguous().numpy()) for t in (cotangent, *inputs))
    forward = partial(jax.vjp, function)
    if mode == "forward":
        return _compiled(forward, *arrays)
    if mode == "backward":
        _, pullback = _compiled(forward, *arrays)()
        return _compiled(lambda pullback, dy: pullback(dy), pullback, dy)

    def forward_backward(dy: Any, *arrays: Any) -> tuple[Any, ...]:
        y, pullback = forward(*arrays)
        return y, *pullback(dy)

    return _compiled(forward_backward, dy, *arrays)


def make_training_step(
    parameters: dict[str, torch.Tensor], images: torch.Tensor, learning_rate: float
) -> Callable[[], Any]:
    """Returns a compiled function that trains for one step, and returns the loss. ``parameters`` stay as they are."""
    from .jax_training import step

    arrays = {name: jax.numpy.array(t.detach().numpy()) for name, t in parameters.items()}
    state, pixels = (arrays, jax.tree.map(jax.numpy.zeros_like, arrays)), jax.numpy.asarray(images.numpy())
    run = jax.jit(partial(step, learning_rate=learning_rate), donate_argnums=0).lower(state, pixels).compile()

    def next_step() -> Any:
        nonlocal state
        state, loss = jax.block_until_ready(run(state, pixels))
        return loss

    return next_step


def to_torch(arrays: Sequence[Any]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.array(array)) for array in arrays]


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    run = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(run(*arguments))
