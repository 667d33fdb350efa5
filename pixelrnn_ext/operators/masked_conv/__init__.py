"""The operators behind masked_conv2d. Importing this folder registers them (rules.py)."""

from .rules import masked_conv2d, masked_conv2d_backward

__all__ = ["masked_conv2d", "masked_conv2d_backward"]
