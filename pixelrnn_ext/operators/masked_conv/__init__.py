"""The operators behind masked_conv2d, registered on import."""

from .rules import masked_conv2d, masked_conv2d_backward

__all__ = ["masked_conv2d", "masked_conv2d_backward"]
