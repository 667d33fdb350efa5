"""Settings of malloc and OpenMP for this process.

The command makes these settings before it imports torch, so this module imports only Python's standard library.
"""

import ctypes
import os

# The option numbers of mallopt(), from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Environment variables that tell OpenMP how long an idle thread spins before it sleeps.
WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def keep_freed_memory() -> bool:
    """Lets glibc keep freed memory for later allocations, which makes a training step on a CPU faster.

    By default glibc returns large freed blocks to the operating system, and the next step takes them again, with a page
    fault for every 4 KiB. How much time this takes depends on the system: docs/speed.md has a measurement.

    Call this function once, at the start of a script that trains or evaluates on a CPU. It changes the whole process,
    so an import of this package does not call it. The command ``pixelrnn`` does. A process that it changed keeps up to
    512 MiB more, and cannot return memory below a block that is still in use. Freed blocks of 32 MiB or more return to
    the operating system as before.

    Returns:
        Whether the settings took effect. They do not take effect, and nothing changes, if the process does not use
        glibc's malloc (as on macOS and Windows), or if the user has configured malloc by ``GLIBC_TUNABLES`` or a
        variable such as ``MALLOC_TRIM_THRESHOLD_``.
    """
    try:
        glibc, process = ctypes.CDLL("libc.so.6"), ctypes.CDLL(None)
    except OSError:
        return False
    # A preloaded library, such as jemalloc, replaces malloc. The settings would not reach it.
    addresses = {ctypes.cast(library.malloc, ctypes.c_void_p).value for library in (glibc, process)}
    if len(addresses) > 1 or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    return bool(glibc.mallopt(_MMAP_THRESHOLD, 32 << 20) and glibc.mallopt(_TRIM_THRESHOLD, 512 << 20))


def configure_process() -> None:
    """Configures malloc and OpenMP for this process. Must be called before torch is imported.

    Changes no setting that the user has made by an environment variable.
    """
    keep_freed_memory()
    # GNU's default is 300,000 spins. If another process keeps a core busy, a spinning thread may take the core of a
    # thread that has work.
    if not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = "1000"  # OpenMP reads this variable when torch is imported
