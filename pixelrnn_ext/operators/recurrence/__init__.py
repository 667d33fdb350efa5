"""The recurrence, ``torch.ops.pixelrnn_ext.line_scan`` and ``bilstm_scan``.

Importing it registers what the compiled library leaves to Python (rules.py).
"""

from . import rules as rules
