"""Helpers for messages to users: counts with their nouns, and the first line of an error."""


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def reason(error: BaseException | str) -> str:
    """Returns an error's first line.

    The later lines of torch's errors only say where in torch the error was raised.
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
