"""Images to bytes and back, without loss, at the size that a model's likelihood promises (docs/compression.md).

``model.py`` makes of a model one with exact arithmetic, ``coding.py`` runs it over images, ``container.py`` is the
file, ``self_check.py`` asks whether arithmetic here is what it should be.
"""

from .codec import Codec

__all__ = ["Codec"]
