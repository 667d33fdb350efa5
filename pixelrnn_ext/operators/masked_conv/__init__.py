"""The operators for masked convolutions and their gradients."""

from .rules import masked_conv2d, masked_conv2d_backward

__all__ = ["masked_conv2d", "masked_conv2d_backward"]
