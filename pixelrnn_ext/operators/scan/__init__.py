"""The recurrence of every layer, ``torch.ops.pixelrnn_ext.scan``: rows and diagonals, from any corner.

A layer asks for a Problem (problem.py), which run.py makes the operator's arguments of (arguments.py). Importing this
folder registers what the compiled library leaves to Python (rules.py).
"""

from . import rules as rules
