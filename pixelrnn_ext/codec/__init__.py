"""Turns images into bytes and back, without loss, at the size that a model's likelihood promises.

``model.py`` prepares a copy of a model with exact arithmetic, ``coding.py`` runs it over images, ``container.py``
reads and writes the file, ``self_check.py`` checks the arithmetic of this process (docs/compression.md).
"""

from .codec import Codec

__all__ = ["Codec"]
