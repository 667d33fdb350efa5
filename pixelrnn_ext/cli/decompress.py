import hashlib
from argparse import ArgumentParser, Namespace
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._sentences import counted
from ..codec import Codec, container
from ..training.exact_images import check_model, write_numbered
from ..training.progress import rows_bar
from . import coding
from .arguments import input_file, positive
from .inputs import divided, load_model
from .outputs import add_out, check_folder

SUMMARY = "restore compressed images"
EXAMPLES = (
    "mnist5k-diagonal digits.prnn --out digits",
    "runs/pictures photographs.prnn --out photographs --max-bytes 20000000000",
    "runs/digits-by-class both.prnn --out both --label digits:validation --label digits:test",
)


def add(parser: ArgumentParser) -> None:
    coding.add_options(parser)
    parser.add_argument("file", type=input_file, metavar="FILE", help="a file that compress wrote; -: standard input")
    add_out(parser, "folder", "-o", metavar="DIR", help="a new or empty folder")
    limit = "memory for decoding (%(default)s); a file that needs more is refused"
    parser.add_argument("--max-bytes", type=positive, default=2**32, metavar="N", help=limit)


@divided
def run(options: Namespace, command: str, argv: list[str]) -> int:
    """Decodes a file that compress wrote with the same CHECKPOINT. Writes numbered PNG files to a new folder."""
    check_folder(Path(options.out))
    model, facts = load_model(options)
    check_model(model.image_channels, model.levels)
    world = options.world
    if world.size > 1 and options.file == Path("/dev/stdin"):
        raise ValueError("expected a file, which each process can read, got -, which only one of them could")
    codec = Codec(model, map=world.map)
    data = options.file.read_bytes()
    world.check_same("file", lambda: hashlib.sha256(data).hexdigest())
    with _naming(options.file):
        counts = [group.images for group in container.read(data).groups]
    conditions = coding.conditions(options.labels, None, counts, model, facts)
    count = sum(counts)
    with _naming(options.file), rows_bar("decoding") as progress:
        groups = codec.iterate_groups(
            data,
            conditions,
            max_bytes=options.max_bytes,
            batch_size=options.batch_size,
            progress=world.scaled(progress),
        )
        images = (image for group in groups for image in group)
        if not world.is_first:
            deque(images, maxlen=0)
            return 0
        write_numbered(Path(options.out), images, count, model.levels)
    print(f"{counted(count, 'image')}: {options.out}")
    return 0


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Adds the file's name to the message of a ValueError.

    If the message names the argument ``max_bytes``, the new message names the option ``--max-bytes`` instead.
    """
    try:
        yield
    except ValueError as error:
        message = str(error).replace("within max_bytes", "within --max-bytes")
        raise ValueError(f"{file} cannot be decoded: {message}") from error
