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
    """The cost of a memory instruction over all warps and launches.

    ``ideal`` is the lowest cost for the same data, and ``paid`` the actual cost. The unit is a wavefront in shared
    memory, a 32-byte sector in global memory, and an aligned segment of 128 bytes in a peer's shared memory (st.async).
    """

    accesses: int
    lanes: int
    paid: int
    ideal: int
    space: str
    kind: str
    bytes: str
    place: str


class Emulator:
    def __init__(self, library):
        self.library = library if isinstance(library, ctypes.CDLL) else ctypes.CDLL(str(library))
        for name in ("profile", "sites"):
            getattr(self.library, f"emulator_{name}").restype = ctypes.c_char_p

    def _call(self, name, *arguments):
        if getattr(self.library, f"emulator_{name}")(*arguments):
            raise ValueError(f"emulator_{name}: expected known names, got {arguments}")

    def set_schedule(self, name, seed=1, preemption=0, resident=2):
        """Sets the order of threads in later launches. The struct Launch in runtime.h explains the parameters."""
        self._call("set_schedule", name.encode(), ctypes.c_uint64(seed), preemption, resident)

    def set_device(self, name, multiprocessors=0, gpc=0):
        """Sets the emulated GPU to `name`, such as "sm_90".

        `multiprocessors` is the number of all multiprocessors, and `gpc` is the number of multiprocessors in one
        graphics processing cluster. If a parameter is 0, the emulated GPU has as many multiprocessors as the real GPU.
        """
        self._call("set_device", name.encode(), multiprocessors, gpc)

    def add_static_shared_memory(self, bytes):
        self.library.emulator_add_static_shared_memory(bytes)

    def profile(self):
        """Returns the costs of the memory instructions since the last call, if the library was built with
        checks="profile"."""
        rows = (line.split("\t") for line in self.library.emulator_profile().decode().splitlines())
        return [Cost(*map(int, row[:4]), *row[4:]) for row in rows]

    def sites(self, kernel=""):
        """Returns the instructions of a kernel (of all kernels for "") that `mutate` can break."""
        rows = (line.split("\t") for line in self.library.emulator_sites(kernel.encode()).decode().splitlines())
        return [Site(name, int(number), *names, tuple(modes.split())) for name, number, *names, modes in rows]

    def mutate(self, kernel, site, mode):
        """Breaks an instruction of a kernel in later launches, in one of the ways that its Site lists."""
        self._call("mutate", kernel.encode(), site, mode.encode())

    def mutation_reached(self):
        """Returns whether a broken instruction was executed since the last call."""
        return bool(self.library.emulator_mutation_reached())

    def clear_mutations(self):
        self.library.emulator_clear_mutations()
