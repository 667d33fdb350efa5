"""Compresses images without loss, to the size that the likelihood of a model predicts (docs/compression.md)."""

from .codec import Codec

__all__ = ["Codec"]
