"""Times functions by the events of a GPU, and single kernels by torch's profiler."""

import statistics
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def called_seconds(function: Callable[[], object], calls: int = 3) -> float:
    """Seconds a call between CUDA events around a few calls in a row: what a caller waits for, launches included."""
    start, end = events()
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        function()
    end.record()
    end.synchronize()
    return 1e-3 * start.elapsed_time(end) / calls


class DeviceClock:
    """Seconds a call that the GPU works: the calls queue up behind a pause on the GPU, so that no launch is waited for.

    Where the launches outlast every pause (a queue holds about 1000) the time is one of ``called_seconds``, and
    ``bounds`` holds the function: the GPU works for that long at most.
    """

    def __init__(self, calls: int = 3, longest_pause: int = 1 << 27):
        self.calls, self.longest_pause, self.bounds = calls, longest_pause, set()
        self._pauses = {}  # cycles, by function

    def __call__(self, function: Callable[[], object]) -> float:
        start, end = events()
        while function not in self.bounds:
            pause = self._pauses.setdefault(function, 1 << 20)
            torch.cuda.synchronize()
            torch.cuda._sleep(pause)
            start.record()
            for _ in range(self.calls):
                function()
            end.record()
            queued = not start.query()  # the pause outlasted the launches
            end.synchronize()
            if queued:
                return 1e-3 * start.elapsed_time(end) / self.calls
            self._pauses[function] *= 2
            if pause >= self.longest_pause:
                self.bounds.add(function)
        return called_seconds(function, self.calls)


def events():
    return torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)


def kernel_microseconds(function: Callable[[], object], calls: int = 5) -> dict[str, tuple[int, float]]:
    """{kernel: (launches of it in a call, microseconds of them)} of a function that was called before. Empty where the
    profiler sees no kernels: it needs CUPTI."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(calls):
            function()
        torch.cuda.synchronize()
    return by_kernel(profiler.events(), calls)


def by_kernel(seen, calls: int) -> dict[str, tuple[int, float]]:
    found = {}
    for event in seen:
        if event.device_type == torch.autograd.DeviceType.CUDA:
            found.setdefault(event.name, []).append(event.time_range.elapsed_us())
    launches = {name: round(len(times) / calls) for name, times in found.items()}
    # What ran less than once a call is no kernel of the function, or the profiler missed some.
    return {name: (launches[name], launches[name] * statistics.median(found[name])) for name in found if launches[name]}


def sm_megahertz(cycles: int = 1 << 20) -> float | None:
    """The clock that the SMs have now: two pauses of known cycles, by events. None where these say nothing."""

    def seconds(cycles):
        return called_seconds(lambda: torch.cuda._sleep(cycles), 1)

    seconds(cycles)
    middle = statistics.median(seconds(2 * cycles) - seconds(cycles) for _ in range(3))
    return 1e-6 * cycles / middle if middle > 0 else None
