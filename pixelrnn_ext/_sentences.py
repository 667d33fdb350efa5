"""Helpers for messages to users: counts with their nouns, and the first line of an error."""


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def reason(error: BaseException | str) -> str:
    """Returns an error's first line.

    The later lines of torch's errors only say where in torch the error was raised.
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def sentence(error: BaseException) -> str:
    """Returns one line that describes an error to a user. An OSError has the name of its file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return reason(error)
