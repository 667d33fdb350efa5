import ctypes
from typing import NamedTuple

SCHEDULES = ("forward", "reverse", "random", "burst", "starve")


class Site(NamedTuple):
    kernel: str
    number: int
    place: str
    instruction: str
    modes: tuple


class Cost(NamedTuple):
    """Wavefronts (shared memory) or sectors (global memory) that a memory instruction took, and the fewest possible."""

    accesses: int
    lanes: int
    paid: int
    ideal: int
    space: str
    kind: str
    bytes: str  # bytes per lane
    place: str


class Emulator:
    def __init__(self, library):
        """library: a path or a ctypes.CDLL."""
        self.library = library if isinstance(library, ctypes.CDLL) else ctypes.CDLL(str(library))
        for name in ("profile", "sites"):
            getattr(self.library, f"emulator_{name}").restype = ctypes.c_char_p

    def _call(self, name, *arguments):
        if getattr(self.library, f"emulator_{name}")(*arguments):
            raise ValueError(f"emulator_{name}: expected known names, got {arguments}")

    def set_schedule(self, name, seed=1, preemption=0, resident=2):
        """Sets how later launches order their threads (struct Launch in runtime.h)."""
        self._call("set_schedule", name.encode(), ctypes.c_uint64(seed), preemption, resident)

    def set_device(self, name, multiprocessors=0, gpc=0):
        """Sets the GPU. If `multiprocessors` or `gpc` (multiprocessors of a GPC) is 0, the GPU's own number stays."""
        self._call("set_device", name.encode(), multiprocessors, gpc)

    def add_static_shared_memory(self, bytes):
        """Adds static shared memory to every kernel, as if another compiler allocated more."""
        self.library.emulator_add_static_shared_memory(bytes)

    def profile(self):
        """Returns the memory Costs of the launches since the last call. Empty unless built with checks="profile"."""
        rows = (line.split("\t") for line in self.library.emulator_profile().decode().splitlines())
        return [Cost(*map(int, row[:4]), *row[4:]) for row in rows]

    def sites(self, kernel=""):
        """Returns the Sites (instructions that `mutate` can break) of a kernel, or of all kernels for ""."""
        rows = (line.split("\t") for line in self.library.emulator_sites(kernel.encode()).decode().splitlines())
        return [Site(name, int(number), *names, tuple(modes.split())) for name, number, *names, modes in rows]

    def mutate(self, kernel, site, mode):
        """Breaks the instruction of a Site. `mode` is one of the ways that the Site lists."""
        self._call("mutate", kernel.encode(), site, mode.encode())

    def mutation_reached(self):
        """Returns whether a thread reached a broken instruction since the last call."""
        return bool(self.library.emulator_mutation_reached())

    def clear_mutations(self):
        self.library.emulator_clear_mutations()
