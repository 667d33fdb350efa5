"""The recurrence, ``torch.ops.pixelrnn_ext.line_scan``.

Importing it registers what the compiled library leaves to Python (rules.py).
"""

from . import directions as directions
from . import rules as rules
