import os
import signal
import sys
from pathlib import Path

from . import BUILT_IN_PLACE, ROOT

BENCHMARKS = ROOT / "benchmarks"
# If pixelrnn_ext has no compiled kernels in the repository, Python must find the installed package first, also in child
# processes.
elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() not in (BENCHMARKS, ROOT)]
in_place = [str(ROOT)] * BUILT_IN_PLACE
sys.path[:] = [str(BENCHMARKS), *in_place, *elsewhere, str(ROOT / "tests"), str(ROOT)]
os.environ["PYTHONPATH"] = os.pathsep.join([*in_place, *filter(None, [os.environ.get("PYTHONPATH")])])

from gpu_day.command import main  # noqa: E402  (found on the path that is set above)

if __name__ == "__main__":
    # SIGTERM raises KeyboardInterrupt, which also stops the child processes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
