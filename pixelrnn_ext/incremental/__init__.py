"""Runs models pixel by pixel, each layer with its state, for sampling and coding.

A model is recorded (recording.py). A network turns the recording into layer states (network.py, states.py) and steps
over buffers of one image row (steps.py, rows.py). The states compute everything that comes from the rows above for a
whole row at once. Steps compute the rest for a pixel and draw its value, in PyTorch (eager.py) or compiled (native.py,
csrc/cpu/columns.cpp).
"""
