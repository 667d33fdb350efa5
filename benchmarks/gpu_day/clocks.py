"""Times functions on a GPU with CUDA events, and their kernels with torch's profiler."""

import statistics
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def called_seconds(function: Callable[[], object], calls: int = 3) -> float:
    """Returns the mean seconds of a call, including the time to launch its kernels, by CUDA events."""
    return _seconds(function, calls)[0]


def _seconds(function: Callable[[], object], calls: int, pause: int = 0) -> tuple[float, bool]:
    """Returns the mean seconds of a call, and whether the GPU paused until all kernels were launched.

    The GPU first pauses for ``pause`` cycles. If the pause outlasts the launches, the mean leaves out the launches'
    time.
    """
    start, end = events()
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
    """Measures the mean seconds of a call on the GPU alone, without the time to launch its kernels.

    The GPU pauses until the kernels are launched. If the launches outlast the longest pause, returns
    ``called_seconds``, an upper bound that includes the launches. Then adds the function to the set ``bounds``.
    """

    def __init__(self, calls: int = 3, longest_pause: int = 1 << 27):
        self.calls, self.longest_pause, self.bounds = calls, longest_pause, set()
        self._pauses = {}  # {function: cycles of the pause before its calls}

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


def events():
    return torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)


def kernel_microseconds(function: Callable[[], object], calls: int = 5) -> dict[str, tuple[int, float]]:
    """Returns {kernel's name: (launches per call, microseconds of these launches)} for a function that was warmed up.
    The dict is empty if the profiler lacks CUPTI."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(calls):
            function()
        torch.cuda.synchronize()
    return by_kernel(profiler.events(), calls)


def by_kernel(events, calls: int) -> dict[str, tuple[int, float]]:
    found = {}
    for event in events:
        if event.device_type == torch.autograd.DeviceType.CUDA:
            found.setdefault(event.name, []).append(event.time_range.elapsed_us())
    launches = {name: round(len(times) / calls) for name, times in found.items()}
    # The result leaves out a kernel whose launches per call round to zero. The profiler missed its launches, or other
    # code launched the kernel.
    return {name: (launches[name], launches[name] * statistics.median(found[name])) for name in found if launches[name]}


def sm_megahertz(cycles: int = 1 << 20) -> float | None:
    """Returns the clock rate of the GPU's multiprocessors in MHz, from the times of two pauses, one with twice the
    cycles of the other. Returns None if the longer pause took no more time."""

    def seconds(cycles):
        return called_seconds(lambda: torch.cuda._sleep(cycles), 1)

    seconds(cycles)
    middle = statistics.median(seconds(2 * cycles) - seconds(cycles) for _ in range(3))
    return 1e-6 * cycles / middle if middle > 0 else None
