"""Lossless compression of images to the size that a model's likelihood promises (docs/compression.md)."""

from .codec import Codec

__all__ = ["Codec"]
