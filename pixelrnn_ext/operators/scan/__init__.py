"""The recurrence of every layer, ``torch.ops.pixelrnn_ext.scan``: rows and diagonals, from any corner.

A layer makes a Problem (problem.py), which run.py converts to the operator's arguments (arguments.py). Importing this
folder registers the rules that the compiled library leaves to Python (rules.py).
"""

from . import rules as rules
