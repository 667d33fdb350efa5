"""Helpers for messages to users: counts with their nouns, and the first line of an error."""

import re

# Allocators of torch name their source file, and an error code.
_ALLOCATION = re.compile(r"DefaultCPUAllocator: .*tried to allocate (\d+) bytes")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def planned_for(capability: int) -> str:
    """Returns what the plan for a GPU that need not be present says. ``capability`` is 10 * major + minor."""
    return f"planned for compute capability {capability // 10}.{capability % 10} without asking a GPU"


def reason(error: BaseException | str) -> str:
    """Returns an error's first line.

    The later lines of torch's errors only say where in torch the error was raised.
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if found := _ALLOCATION.search(line):
        return f"expected sizes that fit into this machine's memory, got a tensor of {found[1]} bytes"
    return line


def sentence(error: BaseException) -> str:
    """Returns one line that describes an error to a user. An OSError has the name of its file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return reason(error)
