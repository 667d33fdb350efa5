"""What share of a function's time its operators take, by torch's profiler."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch.profiler import ProfilerActivity, profile, record_function

# The first that matches a name. What torch calls `...Backward0` only dispatches, and is part of the rest.
GROUPS = {
    "scan, gradients": r"scan_(gradients|backward|weight_grad)|^\w*ScanBackward$",
    "scan, forward": r"pixelrnn_ext::\w*scan|^\w*Scan$",
    "convolutions": r"(aten::|pixelrnn_ext::)\w*conv\w*$|^\w*Conv2d(Backward)?$",
    "matrix products": r"aten::(mm|addmm|bmm|baddbmm)$",
    "copies": r"aten::(copy_|cat|fill_)$",
    "elementwise, sums": r"aten::_?(add|sub|mul|div|neg|clamp|relu|threshold|sigmoid|tanh|log|exp|binary|sum|mean)",
}
OPTIMISER, REST = "optimiser", "rest: Python, dispatch, fresh memory, views"


@dataclass
class Share:
    seconds: float = 0.0
    calls: float = 0.0


def shares(function: Callable[[], object], calls: int) -> dict[str, Share]:
    """Of one call, by group: the time within operators themselves, without that of others that they call."""
    function()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(calls):
            with record_function("a call"):
                function()
    found = {name: Share() for name in (*GROUPS, OPTIMISER, REST)}
    for event in profiler.events():
        share = found[_group(event)]
        share.seconds += 1e-6 * event.self_cpu_time_total / calls
        share.calls += 1 / calls
    return found


def _group(event) -> str:
    inside = event
    while inside is not None:
        if inside.name.startswith("Optimizer."):
            return OPTIMISER
        inside = inside.cpu_parent
    return next((name for name, pattern in GROUPS.items() if re.search(pattern, event.name)), REST)
