"""A model of a kernel's line loop, from its machine code: how many cycles a line should take. Never a measurement. See
README.md."""
