"""The operators under the functions, ``torch.ops.pixelrnn_ext``: runs them and registers their rules.

A folder is a family: the recurrence (scan/) and the masked convolution (masked_conv/). columns.py has the operators of
sampling. The other files serve all families: the compiled library (library.py), the choice of a backend (backends.py),
the checks of tensors (operands.py), and the rules for derivatives (autograd.py), torch.vmap (batching.py), autocast
(autocast.py) and tf32 (precision.py).
"""
