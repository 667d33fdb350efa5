"""Loads the data set of a checkpoint again. Reads only those files of a folder that the training has read."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._sentences import sentence
from . import data
from .checkpoint import Facts
from .distributed import World
from .folder import OtherFiles, names_of

# Options of a run, which change no image.
RUN_OPTIONS = ("cache", "workers")
# Options that change the images of a folder, not only which files count as unreadable.
IMAGE_OPTIONS = ("image_size", "fit", "gray")
OLD_FOLDER = (
    "expected a checkpoint that names the files it was trained on, got one of an earlier version, whose splits of a "
    "folder depended on the number of its files and cannot be made again: train anew (it can still draw samples)"
)


def load_again(facts: Facts, spec: str | None = None, *, same: bool = False, **options: Any) -> data.DataSet:
    """Loads the data set with which a checkpoint was trained, or another data set.

    Files that were added to the training's folder later are left out. A note in the result says so. Another note says
    that a data set of the training's name has other images, labels or classes than the checkpoint.

    Args:
        spec: another data set, or the training's data set in a new place.
        same: whether to refuse all data sets but the training's, in its old place or, if the checkpoint has a digest
            of the images, in a new one. The caller then compares the images by check_same. If false, another folder
            may lack files.
        options: replace the training's options of :func:`data.load`. Those that change a folder's images are refused.
    """
    folder, arguments, before = _folder(facts), facts.get("arguments", {}), _stored_spec(facts)
    if not isinstance(before, str) and (same or spec is None):
        raise ValueError("expected --data, since the checkpoint does not say how its data set is loaded")
    before = data.absolute(before) if isinstance(before, str) else ""
    where = before if spec is None else data.absolute(spec)
    has_its_name, why = where.partition(":")[0] == before.partition(":")[0], ""
    if has_its_name and where.startswith("folder:"):
        if folder is None:
            raise ValueError(OLD_FOLDER)
        for name in IMAGE_OPTIONS:
            used, wanted = _readable(folder["options"][name]), _readable(options.get(name))
            if wanted not in (None, used):
                expected = f"--{name.replace('_', '-')} {used}, with which the training began"
                raise ValueError(f"expected {expected}, got {wanted}")
        kept = {name: arguments[name] for name in RUN_OPTIONS if arguments.get(name) is not None}
        options = folder["options"] | kept | options
        try:
            loaded = _load(where, where == before, options | dict(files=folder["files"]))
        except OtherFiles as error:
            if same or where == before:
                raise
            loaded, why = data.load(where, **options), str(error)
    else:
        # Files may move: check_same compares the digest of their images.
        if same and where != before and not (has_its_name and facts["data"].get("fingerprint")):
            raise ValueError(f"expected --data {before}, with which the training began, got {where}")
        # Another data set of a hub has splits and columns of its own.
        if spec is None or (has_its_name and (same or where == before or not where.startswith("hf:"))):
            options = {name: arguments[name] for name in data.OPTIONS if arguments.get(name) is not None} | options
        loaded = _load(where, same and where == before, options)
    if not why and not same and has_its_name and _is_other(facts, loaded):
        change = "the data set has changed" if where == before else "it is another data set"
        why = f"{change}, or is read with other options"
    return replace(loaded, notes=(*loaded.notes, f"not the images of the training: {why}")) if why else loaded


def _load(where: str, may_have_moved: bool, options: dict[str, Any]) -> data.DataSet:
    try:
        return data.load(where, **options)
    except OSError as error:
        name, _, path = where.partition(":")
        if not (may_have_moved and os.path.isabs(path)) or os.path.isdir(path):
            raise
        hint = f"--data {name}:PATH says where the images of the training are now"
        raise NotADirectoryError(f"{sentence(error).removesuffix('.')}; {hint}") from error


def paths_again(facts: Facts, spec: str | None = None) -> list[Path]:
    folder, where = _folder(facts), data.absolute(spec or str(_stored_spec(facts)))
    if folder is not None and where.startswith("folder:"):
        known = [Path(where.removeprefix("folder:")) / name for name in names_of(folder["files"])]
        if all(path.exists() for path in known):
            return known
    return data.paths(where)


def check_same(facts: Facts, now: data.DataSet) -> None:
    before, stored = _folder(facts), facts["data"]
    are_same_files = _identity(before) == _identity(now.folder)
    if are_same_files and not _is_other(facts, now):
        return
    if not are_same_files and before is None and stored.get("name") == "folder":
        raise ValueError(OLD_FOLDER)
    others = "pixels, labels or names of classes" if are_same_files else "files or options"
    got = f"{now.description} with other {others}"
    raise ValueError(f"expected the data of the training, {stored.get('description')}, got {got}")


def check_same_everywhere(now: data.DataSet, world: World) -> None:
    if now.folder is not None:
        digest = now.folder["files"]["digest"]
        world.check_same(f"files in {now.folder['path']}", lambda: digest)
    world.check_same(f"images of {now.description}", lambda: now.fingerprint)


def _is_other(facts: Facts, now: data.DataSet) -> bool:
    """Returns whether a checkpoint stores another fingerprint. A checkpoint of an older version may store none."""
    before = facts["data"].get("fingerprint")
    if not isinstance(before, dict):
        return False
    return (before.get("sha256"), facts["data"]["classes"]) != (now.fingerprint["sha256"], list(now.classes))


def _identity(folder: dict[str, Any] | None) -> tuple[object, ...] | None:
    if folder is None:
        return None
    return folder["files"]["digest"], *(_readable(folder["options"][name]) for name in IMAGE_OPTIONS)


def _readable(value: object) -> object:
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _stored_spec(facts: Facts) -> Any:
    folder = _folder(facts)
    return facts.get("arguments", {}).get("data") if folder is None else f"folder:{folder['path']}"


def _folder(facts: Facts) -> dict[str, Any] | None:
    """Returns the stored DataSet.folder, or None if the data set was no folder or the checkpoint does not store it."""
    folder = facts["data"].get("folder")
    if folder is None:
        return None
    try:
        are_names = isinstance(folder["path"], str) and isinstance(folder["files"]["digest"], str)
        is_valid = are_names and {*IMAGE_OPTIONS, "max_pixels"} == folder["options"].keys()
    except (AttributeError, KeyError, TypeError):
        is_valid = False
    if not is_valid:
        raise ValueError("the checkpoint is damaged: it does not say how its folder of images was read")
    return folder
