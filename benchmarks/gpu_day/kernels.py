"""Times single kernels by torch's profiler, and says at what clock they ran."""

import statistics
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from harness.gpu_timing import events


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

    def microseconds(cycles):
        start, end = events()
        start.record()
        torch.cuda._sleep(cycles)
        end.record()
        end.synchronize()
        return 1e3 * start.elapsed_time(end)

    microseconds(cycles)
    differences = [microseconds(2 * cycles) - microseconds(cycles) for _ in range(3)]
    middle = statistics.median(differences)
    return cycles / middle if middle > 0 else None
