"""Captures CUDA graphs, and waits for a GPU."""

from collections.abc import Callable

import torch


def capture(device: torch.device, run: Callable[[], None], warm_up: bool = False) -> torch.cuda.CUDAGraph:
    """Captures the work that ``run`` launches on ``device`` as a CUDA graph. Other threads may use the GPU meanwhile.

    If ``warm_up``, first calls ``run`` without capturing. PyTorch's operations need this, because their first call
    allocates workspaces.
    """
    with torch.cuda.device(device):  # the capture needs a stream of the current device
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        if warm_up:
            with torch.cuda.stream(stream):
                run()
            current.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            run()
    return graph


def is_capturing(device: torch.device) -> bool:
    """Returns whether a CUDA graph captures the work of the current stream."""
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


def wait(device: torch.device) -> None:
    torch.cuda.current_stream(device).synchronize()
