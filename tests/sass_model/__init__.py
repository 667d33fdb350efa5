"""A model that predicts the cycles of a kernel's line from its machine code. See README.md."""
