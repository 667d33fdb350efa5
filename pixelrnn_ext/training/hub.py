"""Reads data sets of the library ``datasets``: of a hub, or of files on this machine."""

import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .._sentences import reason
from .decoding import CHUNK, decoded
from .files import check_numbered
from .images import MAX_PIXELS, pixel_limit, read_image
from .optional import need
from .progress import bar
from .store import Add, Convert, Store, find_or_make, stamps

INSTALL = """pip install ".[hub]" in a checkout, pip install "./NAME.whl[hub]" where NAME.whl is the wheel"""
SPLITS = ("train", "validation", "test")
_HELD_OUT = ("train[:90%]", "train[90%:]", "test")
# Files that Dataset.save_to_disk and DatasetDict.save_to_disk write.
_SAVED = ("state.json", "dataset_dict.json")


def read(
    where: str,
    *,
    cache: Path,
    splits: Sequence[str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    image_size: Sequence[int] | None = None,
    fit: str = "crop",
    gray: bool = False,
    strict: bool = False,
    max_pixels: int = MAX_PIXELS,
    workers: int = 0,
) -> tuple[Store, str | None]:
    """Returns a store of a data set, with tensors such as ``"train.images"``, and the revision of a hub's data set.

    Args:
        where: the name of a data set of a hub, or a folder: of parquet files, of images, or of Dataset.save_to_disk.
        splits: the library's expressions for train, validation and test, such as ``"train[:90%]"``.
        image_column: the column of the images. It may be left out if there is only one.
        label_column: the column of the classes. It may be left out if there is at most one.
        revision: the revision of a hub's data set, by default the newest.
        streaming: converts records as they arrive, so that the library keeps no files. Needs whole splits.
        image_size: (height, width), to which ``fit`` fits the images. By default all have the size of the first one.
        strict: whether a record that cannot be used is an error. Otherwise it is skipped and counted.
    """
    if streaming and (parts := [expression for expression in splits or () if {*expression} & {*"[+"}]):
        raise ValueError(f"expected --splits to name whole splits with --streaming, got {parts[0]}")
    datasets = need("datasets", INSTALL)
    builder, is_here = None, Path(where).is_dir()
    if Path(where).is_file():
        raise NotADirectoryError(f"expected a folder or the name of a data set, got the file {where}")
    if revision is not None and is_here:
        raise ValueError(f"expected no revision for a folder, got {revision}")
    with _explained(where):
        if not any((Path(where) / name).exists() for name in _SAVED):
            builder = datasets.load_dataset_builder(where, revision=revision)
            _check_shards(builder.config.data_files or {})
            if found := re.search("@([0-9a-f]{40})", builder.base_path or ""):
                revision = found[1]
    if builder is None:
        files = [file for file in Path(where).rglob("*") if file.is_file()]
    else:
        files = [Path(str(file)) for part in (builder.config.data_files or {}).values() for file in part]
    content = stamps(sorted(files)) if is_here else builder and builder.hash
    # Older versions made stores of parts of splits that overlap. They have another key.
    disjoint = splits and [*["disjoint" for split in splits if "[" in split or "+" in split][:1], *splits]
    key = ["hf", where, content, revision, disjoint, image_column, label_column]
    key += [image_size, fit, gray, max_pixels]

    def prepare() -> tuple[int, Convert]:
        with _explained(where):
            if builder is None:
                sets = datasets.load_from_disk(where)
            elif streaming:
                sets = builder.as_streaming_dataset()
            else:
                # The library would take a file on this machine for unchanged that has another size, but the old time.
                builder.download_and_prepare(download_mode="force_redownload" if is_here else None)
                sets = builder.as_dataset()
        if not hasattr(sets, "keys"):
            sets = {"train": sets}
        whole = streaming and builder is not None
        names = _expressions(sets, splits)
        parts = [_whole(sets, name) for name in names] if whole else _select(sets, names)
        features = parts[0].features or {}
        if any(part.features != features for part in parts):
            raise ValueError(f"expected the same columns and classes in {', '.join(names)}, got others in hf:{where}")
        image = _column(features, "Image", image_column, "--image-column")
        label = _column(features, "ClassLabel", label_column, "--label-column", may_lack=True)
        if image == label:
            raise ValueError(f"expected two columns for images and classes, got {image} for both")
        decode = _Decoder(image, label, features[label].names if label else [], image_size, fit, gray, max_pixels)
        with _explained(where):
            # The records keep the bytes of the image files, which read_image decodes.
            kept, encoded = [image, label] if label else [image], datasets.Image(decode=False)
            parts = [part.select_columns(kept).cast_column(image, encoded) for part in parts]
            needed = 0 if whole else sum(map(len, parts)) * decode.size_of_record(parts[0])
        return needed, partial(_convert, where, [*zip(SPLITS, names, parts)], decode, strict, workers)

    store = find_or_make(cache, key, prepare)
    if strict and store.facts["skipped"]:
        raise ValueError(store.facts["first"])
    return store, revision


@dataclass(frozen=True)
class _Decoder:
    """Decodes records to (pixels as a numpy array, number of the class), or to the reason why a record is of no use."""

    image: str
    label: str | None
    classes: list[str]
    size: Sequence[int] | None
    fit: str
    gray: bool
    max_pixels: int

    def records(self, part: Any, name: str, numbers: range) -> list[Any]:
        return self.rows(name, numbers.start, part[numbers.start : numbers.stop])

    def rows(self, name: str, start: int, rows: dict[str, list[Any]]) -> list[Any]:
        found: list[Any] = []
        labels = rows[self.label] if self.label else [0] * len(rows[self.image])
        with pixel_limit(self.max_pixels):
            for number, (value, label) in enumerate(zip(rows[self.image], labels), start):
                try:
                    found.append((self._pixels(f"record {number} of {name}", value, label), label))
                except ValueError as error:
                    found.append(str(error))
        return found

    def _pixels(self, record: str, value: Any, label: int | None) -> Any:
        if self.classes and (label is None or not 0 <= label < len(self.classes)):
            raise ValueError(f"{record} has the label {label}, expected 0 to {len(self.classes) - 1}")
        size = None if self.size is None else (self.size[0], self.size[1])
        content = _content(record, value)
        return read_image(record, size, fit=self.fit, gray=self.gray, content=content).contiguous().numpy()

    def size_of_record(self, part: Any) -> int:
        """Returns the bytes of a converted record, by the first one, or 0 if that cannot be decoded."""
        for found in self.records(part, "", range(min(1, len(part)))):
            return 0 if isinstance(found, str) else found[0].nbytes + 8
        return 0


def _convert(
    where: str, parts: list[tuple[str, str, Any]], decode: _Decoder, strict: bool, workers: int, add: Add
) -> dict[str, Any]:
    shape: list[int] | None = None
    skipped: list[str] = []
    for split, name, part in parts:
        total = len(part) if hasattr(part, "__len__") else None
        with bar("records", total, f"reading {name}") as shown:
            for number, record in enumerate(_records(where, name, part, decode, workers)):
                shown.update()
                fault = record if isinstance(record, str) else _other_size(record[0], shape)
                if fault is None:
                    pixels, label = record
                    shape = list(pixels.shape)
                    add(f"{split}.images", torch.from_numpy(pixels)[None])
                    if decode.label:
                        add(f"{split}.labels", torch.tensor([label]))
                    continue
                if fault is not record:
                    fault = f"record {number} of {name} is {fault}"
                if strict:
                    raise ValueError(fault)
                skipped.append(fault)
    first = next(iter(skipped), None)
    if shape is None:
        raise ValueError(f"expected images in hf:{where}, got {first or 'no records'}")
    return dict(shape=shape, classes=decode.classes, skipped=len(skipped), first=first)


def _other_size(pixels: Any, expected: list[int] | None) -> str | None:
    if expected is None or list(pixels.shape) == expected:
        return None
    sides, others = ("x".join(map(str, shape[1:])) for shape in (pixels.shape, expected))
    return f"{sides}, expected {others}; --image-size fits images"


def _records(where: str, name: str, part: Any, decode: _Decoder, workers: int) -> Iterator[Any]:
    with _explained(where):
        if hasattr(part, "__len__"):
            yield from decoded(len(part), partial(decode.records, part, name), workers)
            return
        start = 0
        for rows in part.iter(CHUNK):
            found = decode.rows(name, start, rows)
            start += len(found)
            yield from found


def _content(record: str, value: dict[str, Any] | None) -> bytes:
    if value is None:
        raise ValueError(f"{record} has no image")
    if value["bytes"] is not None:
        return value["bytes"]
    try:
        with need("datasets.utils.file_utils").xopen(value["path"], "rb") as file:
            return file.read()
    except Exception as error:  # a file may be anywhere, and each file system has errors of its own
        raise ValueError(f"{record} cannot be read: {reason(error)}") from error


def _expressions(sets: Any, splits: Sequence[str] | None) -> Sequence[str]:
    if splits is not None:
        return splits
    if {"train", "test"} <= sets.keys():
        return SPLITS if "validation" in sets else _HELD_OUT
    expected = "--splits TRAIN VALIDATION TEST, such as --splits train[:80%] train[80%:90%] train[90%:]"
    raise ValueError(f"expected {expected}, since the splits are {', '.join(sets)}")


def _whole(sets: Any, name: str) -> Any:
    if name not in sets:
        expected = f"whole splits with --streaming, of {', '.join(sets)}"
        raise ValueError(f"expected --splits to name {expected}, got {name}")
    return sets[name]


def _select(sets: Any, expressions: Sequence[str]) -> list[Any]:
    """Returns the records of each expression. Two expressions that are not the same must not share a record."""
    datasets, counts = need("datasets", INSTALL), {name: len(sets[name]) for name in sets}
    chosen = {}
    for expression in expressions:
        try:
            chosen[expression] = datasets.ReadInstruction.from_spec(expression).to_absolute(counts)
        except (ValueError, AssertionError) as error:
            expected = f"--splits of {', '.join(sets)}, or parts of them"
            raise ValueError(f"expected {expected}, got {expression}: {error}") from error
    for (one, parts), (other, others) in itertools.combinations(chosen.items(), 2):
        for a, b in itertools.product(parts, others):
            if a.splitname == b.splitname and max(a.from_, b.from_) < min(a.to, b.to):
                got = f"{one} and {other}, which share records of {a.splitname}"
                raise ValueError(f"expected --splits that do not overlap, got {got}")
    # The library refuses to select no record at the end of a split.
    return [
        datasets.concatenate_datasets(
            [sets[part.splitname].select(range(part.from_, part.to) or range(0)) for part in chosen[expression]]
        )
        for expression in expressions
    ]


def _column(features: Any, kind: str, name: str | None, option: str, may_lack: bool = False) -> Any:
    names = [column for column, feature in features.items() if type(feature).__name__ == kind]
    if name is None and (len(names) == 1 or (may_lack and not names)):
        return names[0] if names else None
    # An image column may also be of bytes, or of names of files.
    if name not in (features if kind == "Image" else names):
        expected = f"{option} to name a column of {kind}, of {', '.join(features) or 'none'}"
        raise ValueError(f"expected {expected}, got {name or f'{len(names)} such columns'}")
    return name


def _check_shards(files: dict[str, Sequence[str]]) -> None:
    """Raises an error if a file such as NAME-00001-of-00003.parquet is missing or has a copy beside it.

    The library would read the files that are there.
    """
    shards: dict[tuple[str, str, str], dict[str, int]] = {}
    for file in (str(file) for part in files.values() for file in part):
        # Some hubs put a hash of the content behind the number, another one in each file. Browsers put " (1)" there.
        if found := re.fullmatch(r"(.*)-(\d{5})-of-(\d{5})[^./]*(\.[^/]*)", file):
            shards.setdefault((found[1], found[3], found[4]), {})[file] = int(found[2])
    for (start, count, end), numbered in shards.items():
        check_numbered(numbered, range(int(count)), f"{start}-", f"-of-{count}{end}", digits=5)


class _Errors(logging.Handler):
    """Collects what the library logs as errors, because its exceptions do not name the damaged file."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turns any error of the library into an OSError of one line."""
    handler, logger = _Errors(), logging.getLogger("datasets")
    logger.addHandler(handler)
    try:
        yield
    except (MemoryError, ChildProcessError):
        raise
    except Exception as error:
        why = " ".join((handler.texts or [str(error) or type(error).__name__])[-1].split())
        raise OSError(f"hf:{where} cannot be loaded: {why}") from error
    finally:
        logger.removeHandler(handler)
