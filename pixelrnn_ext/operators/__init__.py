"""Registers the operators ``torch.ops.pixelrnn_ext`` and their rules (such as derivatives) with torch, and runs them.

The recurrence is in scan/, and the masked convolution in masked_conv/. columns.py calls the operators of sampling and
coding.
"""
