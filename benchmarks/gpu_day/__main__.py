import os
import signal
import sys
from pathlib import Path

from . import BUILT_IN_PLACE, ROOT

BENCHMARKS = ROOT / "benchmarks"
# The path needs benchmarks/ for harness and gpu_day, tests/ for helpers.kernels. `python -m` puts the repository first,
# whose pixelrnn_ext has kernels only if built in place. Otherwise the installed package must come first, also in child
# processes.
elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() not in (BENCHMARKS, ROOT)]
in_place = [str(ROOT)] * BUILT_IN_PLACE
sys.path[:] = [str(BENCHMARKS), *in_place, *elsewhere, str(ROOT / "tests"), str(ROOT)]
os.environ["PYTHONPATH"] = os.pathsep.join([*in_place, *filter(None, [os.environ.get("PYTHONPATH")])])

from gpu_day.command import main  # noqa: E402  (from the path above)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM stops the child processes, too
    sys.exit(main())
