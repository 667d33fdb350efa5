"""Parts of printed and raised sentences."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun, whose plural has an s.

    Example:
        >>> counted(1, "image"), counted(2, "image")
        ('1 image', '2 images')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
