"""Registers the operators ``torch.ops.pixelrnn_ext`` and their rules with torch, and runs them."""
