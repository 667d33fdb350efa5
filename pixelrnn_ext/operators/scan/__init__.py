"""The recurrence of every layer, ``torch.ops.pixelrnn_ext.scan``: rows and diagonals, from any corner."""

from . import rules as rules
