"""The project's CUDA kernels and the host code around them, on the emulator: operators for CPU tensors."""
