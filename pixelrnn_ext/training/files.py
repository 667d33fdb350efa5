"""Files that are there whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Writes a file beside ``path`` and puts it in its place: whatever fails, a file that was there stays as it was.

    Raises:
        OSError: it cannot be written, for a full disk too; the sentence says that nothing was replaced.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        kept = "; the one that was there is kept" if path.exists() else ""
        raise OSError(error.errno, f"{path} could not be written ({error.strerror or error}){kept}") from error
    finally:
        with suppress(OSError):  # on a read-only file system, whose own error says more
            temporary.unlink(missing_ok=True)
