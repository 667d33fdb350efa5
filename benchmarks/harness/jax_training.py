"""A training step in JAX of the paper's MNIST model: a PixelRNN of Diagonal BiLSTMs on black-and-white images.

Parameters have the names of the model in PyTorch. All maps are (N, H, W, channels).
"""

import math

import jax
import jax.numpy as jnp

from .jax_scan import DIAGONAL, layer

DIRECTIONS = "", "_reverse"


def _first(images, weight, bias):
    """Computes the 7x7 convolution with mask A by one product with the 24 earlier pixels of each pixel."""
    _, height, width = images.shape
    padded = jnp.pad(images, ((0, 0), (3, 3), (3, 3)))
    earlier = [padded[:, i // 7 :, i % 7 :][:, :height, :width] for i in range(24)]
    return jnp.stack(earlier, -1) @ weight[:24] + bias


def _logits(parameters, images):
    def product(name, x):
        return x @ parameters[f"{name}.weight"] + parameters[f"{name}.bias"]

    y = _first(2 * images - 1, parameters["first.weight"], parameters["first.bias"])
    blocks = sum(name.endswith(".layer.h0") for name in parameters)
    for block in (f"blocks.{i}" for i in range(blocks)):
        names = "weight_ih", "weight_hh", "bias", "h0", "c0"
        directions = [[parameters[f"{block}.layer.{name}{suffix}"] for name in names] for suffix in DIRECTIONS]
        weights = [w for direction in directions for w in direction[:3]]
        _, _, _, h0s, c0s = zip(*directions)
        y = y + product(f"{block}.output", layer(DIAGONAL, y, *weights, h0s=h0s, c0s=c0s))
    y = jax.nn.relu(product("head.1", jax.nn.relu(y)))
    return product("head.3", product("head.2", y))[..., 0]


def _bits_per_dim(parameters, images):
    images = images[:, 0].astype(parameters["first.bias"].dtype)
    logits = _logits(parameters, images)
    return (jax.nn.softplus(logits) - images * logits).mean() / math.log(2)


def step(state, images, learning_rate):
    """Returns the parameters with the mean squares of their gradients after a step of RMSProp, and the loss.

    RMSProp is training/optimiser.py's.
    """
    parameters, squares = state
    loss, gradients = jax.value_and_grad(_bits_per_dim)(parameters, images)
    squares = jax.tree.map(lambda square, g: 0.95 * square + 0.05 * g**2, squares, gradients)
    moved = jax.tree.map(
        lambda p, g, square: p - learning_rate * g / (jnp.sqrt(square) + 1e-8), parameters, gradients, squares
    )
    return (moved, squares), loss
