"""The operators under masked_conv2d. Importing it registers them (rules.py)."""

from .rules import masked_conv2d, masked_conv2d_backward

__all__ = ["masked_conv2d", "masked_conv2d_backward"]
