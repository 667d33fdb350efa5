"""Registers the rules of the operators ``torch.ops.pixelrnn_ext``, and runs the operators.

Each folder is a family of operators: the recurrence (scan/) and the masked convolution (masked_conv/). columns.py calls
the operators of sampling. The other files serve all families.
"""
