"""The operators under the functions, ``torch.ops.pixelrnn_ext``: what runs them, and what is registered with them.

A folder is a family: the recurrence and the masked convolution; columns.py is the one that sampling runs. Beside them
is what they share: the compiled library (library.py), the choice between it and the reference (backends.py), what is
asked of tensors (operands.py), and the rules for derivatives (autograd.py), torch.vmap (batching.py), autocast
(autocast.py), tf32 (precision.py) and devices (devices.py).
"""
