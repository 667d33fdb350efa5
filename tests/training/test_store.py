"""Large data sets are files that are mapped into memory."""

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch

from helpers.pictures import NAMES, names_in, write_named_pictures
from helpers.tiny import tiny_data
from pixelrnn_ext.training import data, decoding, folder, store
from pixelrnn_ext.training.distributed import ProcessError, World
from pixelrnn_ext.training.stored_data import check_same_everywhere

IMAGES = torch.arange(2 * 3 * 4, dtype=torch.uint8).view(2, 3, 2, 2)
LABELS = torch.tensor([3, 1])


def convert(add):
    for image, label in zip(IMAGES, LABELS):
        add("images", image[None])
        add("labels", label[None])
    return {"skipped": 1}


def make(cache, convert=convert, size=0):
    return store.find_or_make(cache, ["a", 1], lambda: (size, convert))


def test_a_store_is_made_once_and_its_file_never_changes(tmp_path):
    for made in (make(tmp_path), make(tmp_path, None)):
        assert torch.equal(made.tensors["images"], IMAGES) and torch.equal(made.tensors["labels"], LABELS)
        assert made.facts == {"skipped": 1}
        made.tensors["images"].zero_()
    assert made.sha256 == make(tmp_path / "elsewhere").sha256
    other = store.find_or_make(tmp_path, ["a", 2], lambda: (0, lambda add: add("images", IMAGES.flip(0)) or {}))
    assert other.sha256 != made.sha256


DAMAGE = {
    "truncated": lambda made: os.truncate(made / "images", 23),
    "longer": lambda made: os.truncate(made / "images", 25),
    "a file": lambda made: shutil.rmtree(made) or made.touch(),
    "missing": lambda made: (made / "labels").unlink(),
    "no description": lambda made: (made / store.FACTS).write_text("{"),
    "other shape": lambda made: (made / store.FACTS).write_text(
        (made / store.FACTS).read_text().replace("2, 2]", "4]")
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_is_made_again(tmp_path, damage):
    make(tmp_path)
    (made,) = (path for path in (tmp_path / "stores").iterdir() if path.is_dir())
    damage(made)
    assert store.find(tmp_path, ["a", 1]) is None
    assert torch.equal(make(tmp_path).tensors["images"], IMAGES)


def fail(error):
    def convert(add):
        add("images", IMAGES)
        raise error

    return convert


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "x.png"), ValueError("a bad file"), KeyboardInterrupt()], ids=repr
)
def test_a_failed_conversion_leaves_nothing_and_its_own_error(tmp_path, error):
    with pytest.raises(type(error)) as raised:
        make(tmp_path, fail(error))
    assert raised.value is error and not [path for path in (tmp_path / "stores").iterdir() if path.is_dir()]


def test_a_disk_without_space_is_said_before_and_leaves_nothing_when_full(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2e9))
        expected = (
            f"expected 3,000 MB of free space in {tmp_path}/stores for the converted images, got 2,000 MB: --cache DIR"
        )
        with pytest.raises(OSError, match=re.escape(expected)):
            make(tmp_path, None, size=3 * 10**9)
    monkeypatch.setattr(store.Path, "open", lambda self, mode: open("/dev/full", mode, buffering=0))  # noqa: SIM115
    with pytest.raises(OSError, match=r"could not be written \(No space left on device\)") as raised:
        make(tmp_path)
    assert raised.value.errno == errno.ENOSPC
    assert not [path for path in (tmp_path / "stores").iterdir() if path.is_dir()]


@pytest.mark.parametrize("place", ["stores", "a store"])
def test_a_disk_that_cannot_be_written_to_is_said_in_one_sentence(tmp_path, monkeypatch, place):
    """A test may run as root, which may write to any folder. The disk of the second case had stores before."""
    (tmp_path / "cache" / ("stores" if place == "a store" else "")).mkdir(parents=True)
    mkdir = Path.mkdir

    def read_only(path, *args, **options):
        if (path.parent.name == "stores") == (place == "a store"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(OSError, match="Read-only") as raised:
        make(tmp_path / "cache")
    got = f"{tmp_path}/cache, which could not be written (Read-only file system): --cache DIR names another one"
    assert raised.value.strerror == f"expected a place for the converted images, got {got}"
    assert raised.value.errno == errno.EROFS


@pytest.mark.parametrize("file", ["cache", "cache/stores"])
def test_a_file_in_the_place_of_the_stores_is_said_in_one_sentence(tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    expected = f"expected a place for the converted images, got {tmp_path}/{file}, which could not be written"
    with pytest.raises(OSError, match=expected):
        make(tmp_path / "cache", None)


def make_slowly(cache, count):
    def slow(add):
        count.value += 1
        signal.sigtimedwait([], 0.3)
        return convert(add)

    assert torch.equal(make(cache, slow).tensors["images"], IMAGES)


def test_processes_that_need_a_store_at_once_make_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    count = context.Value("i", 0)
    processes = [context.Process(target=make_slowly, args=(tmp_path, count)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0] and count.value == 1


def load(pictures, cache, **options):
    return data.load(f"folder:{pictures}", image_size=(8, 8), gray=True, cache=cache, **options)


@pytest.fixture
def pictures(tmp_path):
    """24 pictures in two subfolders, and a file that is no picture. The folders changed long ago."""
    made = write_named_pictures(tmp_path / "pictures", [*NAMES[1:], "dogs/caf\udce9.png"])
    (made / "dogs" / "x.png").write_text("no picture")
    for changed in (made, made / "cats", made / "dogs"):
        os.utime(changed, (1e9, 1e9))
    return made


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_is_the_same_in_memory_and_in_a_store(pictures, tmp_path, monkeypatch, workers):
    state = torch.get_rng_state()
    expected = load(pictures, tmp_path / "cache", workers=workers)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(folder, "IN_MEMORY", 0)
    got = load(pictures, tmp_path / "cache", workers=workers)
    assert torch.equal(torch.get_rng_state(), state)
    assert got.facts == expected.facts and len(got.fingerprint["sha256"]) == 64
    assert got.notes == expected.notes and "24 images read, 1 skipped as unreadable" in got.notes[0]
    for split, part in expected.splits.items():
        assert torch.equal(got.splits[split].images, part.images)
        assert torch.equal(got.splits[split].labels, part.labels)
    monkeypatch.setattr(folder, "read_image", None)
    assert load(pictures, tmp_path / "cache").facts == got.facts
    assert load(pictures, tmp_path / "cache", files=got.folder["files"]).facts == got.facts
    with pytest.raises(ValueError, match=r"dogs/x.png cannot be read as an image"):
        load(pictures, tmp_path / "cache", strict=True)


def test_the_names_in_a_large_folder_are_kept_until_it_changes(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "INDEXED", 25)
    cache = tmp_path / "cache"
    names, _ = folder.list_names(pictures, cache)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", None)
        assert folder.list_names(pictures, cache) == (names, {})
    (pictures / "dogs" / "x.png").rename(pictures / "dogs" / "y.png")
    changed = (pictures / "dogs").stat().st_mtime_ns
    monkeypatch.setattr(time, "time_ns", lambda: changed + 10**9)
    assert "dogs/y.png" in folder.list_names(pictures, cache)[0]
    with monkeypatch.context() as patch:
        # The list of a folder that has changed just now is not kept, because a second change may have the same time.
        patch.setattr(os, "scandir", None)
        with pytest.raises(TypeError):
            folder.list_names(pictures, cache)
    index = cache / "folders" / names_in(cache / "folders")[0]
    index.write_text(json.dumps({"folders": []}))
    assert "dogs/y.png" in folder.list_names(pictures, cache)[0]


def test_processes_must_see_the_same_images(monkeypatch):
    monkeypatch.setattr(World, "_agree", lambda self, value, error: [value, "another"])
    with pytest.raises(
        ProcessError, match="expected the same images of tiny .* in all processes, got another in process"
    ):
        check_same_everywhere(tiny_data(), World(0, 2, torch.device("cpu"), object()))


def end_worker(numbers):
    os.kill(os.getpid(), signal.SIGKILL)


def handlers(numbers):
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def large_chunks(numbers):
    return [str(os.getpid()), numpy.zeros(10**6)]


def read_one_chunk_and_die(connection):
    for record in decoding.decoded(10**6, large_chunks, workers=1):
        connection.send(int(record))
        os.kill(os.getpid(), signal.SIGKILL)


def test_workers_leave_signals_to_their_reader_and_end_with_it():
    assert list(decoding.decoded(1, handlers, workers=1)) == [signal.SIG_IGN] * 2
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe()
    # A daemon must not have children, so this process is none.
    reader = context.Process(target=read_one_chunk_and_die, args=(sender,))
    reader.start()
    worker = receiver.recv()
    reader.join()
    try:
        for _ in range(100):
            if not is_running(worker):
                break
            time.sleep(0.1)
        else:
            pytest.fail("the worker waits for ever")
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def is_running(process):
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().split()[2] != "Z"


def no_memory(numbers):
    raise MemoryError("x.png does not fit into memory")


def test_what_ends_a_worker_is_said_in_one_sentence():
    expected = (
        "one of 1 processes that decode images was killed, perhaps for lack of memory: --workers sets their number"
    )
    with pytest.raises(ChildProcessError, match=f"^{expected}$"):
        list(decoding.decoded(1, end_worker, workers=1))
    with pytest.raises(MemoryError, match="^x.png does not fit into memory$"):
        list(decoding.decoded(1, no_memory, workers=1))
    count = 2 * decoding.CHUNK + 1
    assert list(decoding.decoded(count, numpy.array, workers=2)) == list(range(count))
