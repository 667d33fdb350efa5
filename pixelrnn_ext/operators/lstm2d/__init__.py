"""The two-dimensional LSTM, whose directions may start from any corner and whose images may have sizes of their own:
``torch.ops.pixelrnn_ext.lstm2d_scan``.

Importing it registers what the compiled library leaves to Python (rules.py).
"""

from . import rules as rules
