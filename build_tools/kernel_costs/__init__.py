"""The modelled or measured cycles of the resident kernels, in csrc/cuda/scan/costs.h."""
