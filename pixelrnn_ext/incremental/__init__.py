"""The models pixel by pixel, each layer with its state: what sampling runs.

A model is recorded (recording.py). A network makes of the recording layer states (network.py, states.py) and steps over
buffers of one image row (steps.py, rows.py). What comes from the rows above is computed for a whole row at once; the
steps are what is left for a pixel. They run in PyTorch (eager.py) or compiled (native.py, csrc/cpu/columns.cpp), and
the same steps end in the draw of the value.
"""
