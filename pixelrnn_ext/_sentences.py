"""Parts of printed and raised sentences."""


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def reason(error: BaseException | str) -> str:
    """Returns the message of an error in one line. The later lines of torch's errors say where they were raised."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
