"""Lossless compression of images to the size that a model's likelihood promises (docs/compression.md).

``model.py`` makes a copy of a model with exact arithmetic, ``coding.py`` runs the copy over images, ``container.py``
reads and writes files, ``self_check.py`` checks the arithmetic of this process.
"""

from .codec import Codec

__all__ = ["Codec"]
