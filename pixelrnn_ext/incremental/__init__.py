"""Runs models pixel by pixel, each layer with its state, for sampling and coding.

recording.py records a model's operations. network.py turns the recording into a state per layer (states.py) and into
steps over buffers of one image row (steps.py, rows.py). Row steps compute a whole row at once, for example the
contribution of the rows above (row_steps.py). The other steps add the contribution of the current row for one pixel and
draw its value, in PyTorch (eager.py) or compiled (native.py, csrc/cpu/columns.cpp).
"""
