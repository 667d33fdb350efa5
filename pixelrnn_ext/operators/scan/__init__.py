"""The recurrence of every layer, ``torch.ops.pixelrnn_ext.scan``. It scans rows or diagonals from any corner."""

from . import rules as rules
