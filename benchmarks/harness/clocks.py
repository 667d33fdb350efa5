"""Times functions on a GPU without their launches, and their kernels with torch's profiler."""

import statistics
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from pixelrnn_ext.benchmark.gpu import called_seconds


def _seconds(function: Callable[[], object], calls: int, pause: int = 0) -> tuple[float, bool]:
    """Returns the mean seconds of a call, and whether the GPU slept until all calls were launched.

    ``pause`` is the number of cycles that the GPU sleeps before the calls. If the CPU launches all kernels during this
    sleep, the mean excludes the time of the launches.
    """
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    if pause:
        torch.cuda._sleep(pause)
    start.record()
    for _ in range(calls):
        function()
    end.record()
    queued = pause > 0 and not start.query()
    end.synchronize()
    return 1e-3 * start.elapsed_time(end) / calls, queued


class DeviceClock:
    """Measures the mean seconds of a function's calls, without the time to launch its kernels.

    A DeviceClock lets the GPU sleep while the CPU launches the function's kernels. If the launches take longer than the
    longest sleep, the measured time includes the launches, so the time is only an upper bound. The DeviceClock then
    adds the function to the set ``bounds``.
    """

    def __init__(self, calls: int = 3, longest_pause: int = 1 << 27):
        self.calls, self.longest_pause, self.bounds = calls, longest_pause, set()
        self._pauses = {}  # {function: cycles of the pause}

    def __call__(self, function: Callable[[], object]) -> float:
        while function not in self.bounds:
            pause = self._pauses.setdefault(function, 1 << 20)
            seconds, queued = _seconds(function, self.calls, pause)
            if queued:
                return seconds
            self._pauses[function] *= 2
            if pause >= self.longest_pause:
                self.bounds.add(function)
        return called_seconds(function, self.calls)


def kernel_microseconds(function: Callable[[], object], calls: int = 5) -> dict[str, tuple[int, float]]:
    """Returns {kernel: (launches per call, microseconds of these launches)} of a warmed-up function.

    Without CUPTI (NVIDIA's profiling library) the result is empty.
    """
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(calls):
            function()
        torch.cuda.synchronize()
    found = {}
    for event in profiler.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            found.setdefault(event.name, []).append(event.time_range.elapsed_us())
    launches = {name: round(len(times) / calls) for name, times in found.items()}
    # Leaves out a kernel with fewer launches than half the calls, because other code may have launched it.
    return {name: (launches[name], launches[name] * statistics.median(found[name])) for name in found if launches[name]}


def sm_megahertz(cycles: int = 1 << 20) -> float | None:
    """Returns the clock rate of the GPU's multiprocessors in MHz, or None if it cannot be measured."""

    def seconds(cycles):
        return called_seconds(lambda: torch.cuda._sleep(cycles), 1)

    seconds(cycles)
    middle = statistics.median(seconds(2 * cycles) - seconds(cycles) for _ in range(3))
    return 1e-6 * cycles / middle if middle > 0 else None
