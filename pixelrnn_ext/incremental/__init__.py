"""Runs models pixel by pixel, for sampling and coding. Each layer keeps a state, so that it computes no pixel twice.

recording.py records a model's operations. From the recording, network.py makes the state of each layer (states.py). A
state has steps, which work on buffers of one image row (steps.py, rows.py). A row step computes a whole row at once,
for example the contribution of the rows above (row_steps.py). The other steps compute one pixel: they add the
contribution of its own row, and draw its value. Steps run in PyTorch (eager.py) or compiled (native.py,
csrc/cpu/columns.cpp).
"""
