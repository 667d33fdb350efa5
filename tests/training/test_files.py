import errno
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers.pictures import names_in
from pixelrnn_ext.training.files import folder_atomically, is_replaceable, write_atomically


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_links_stay_and_what_they_point_to_is_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link, chain = tmp_path / "elsewhere" / "target", tmp_path / "link", tmp_path / "chain"
    link.symlink_to("elsewhere/target")
    chain.symlink_to(link)
    for path, content in ((link, b"made"), (chain, b"replaced")):
        write_atomically(path, content)
        assert path.is_symlink() and target.read_bytes() == content
    assert names_in(tmp_path / "elsewhere") == ["target"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755, None], ids=lambda mode: oct(mode) if mode else "new")
def test_a_file_keeps_its_mode_and_a_new_one_has_that_of_any_new_file(tmp_path, mode):
    path, other = tmp_path / "file", tmp_path / "other"
    other.touch()
    if mode is not None:
        path.write_bytes(b"old")
        path.chmod(mode)
        other.chmod(mode)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize("through", ["pipe", "link"])
def test_a_pipe_is_written_into(tmp_path, through):
    pipe, path = tmp_path / "pipe", tmp_path / through
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    with ThreadPoolExecutor(1) as reader:
        content = reader.submit(pipe.read_bytes)
        write_atomically(path, bytes(100_000))
        assert content.result() == bytes(100_000)
    assert pipe.is_fifo() and not is_replaceable(path)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("link", errno.ELOOP),
        pytest.param("/dev/full", errno.ENOSPC, marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="")),
    ],
    ids=["a circle", "a full device"],
)
def test_a_link_that_cannot_be_written_to(tmp_path, target, error):
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(OSError, match=rf"link could not be written \({os.strerror(error)}") as raised:
        write_atomically(link, bytes(100_000))
    assert raised.value.errno == error


def test_the_standard_output_is_written_on(capfd):
    print("before")
    write_atomically("/dev/stdout", b"picture\n")
    print("after")
    assert capfd.readouterr().out == "before\npicture\nafter\n" and not is_replaceable("/dev/stdout")


def test_a_name_as_long_as_a_name_can_be(tmp_path):
    path = tmp_path / ("\N{SNOWMAN}" * 83 + ".png")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_killed_processes_left_is_removed(tmp_path, dead_pid, kind):
    here = platform.node()
    # A container that starts again gives its process the number of the one that was killed.
    left = [f".a.png.{here}.{dead_pid}.tmp", f".a.png.{here}.{os.getpid()}.tmp"]
    kept = [
        f".a.png.{here}.{os.getppid()}.tmp",
        f".a.png.{here}x.{dead_pid}.tmp",
        f".b.png.{here}.{dead_pid}.tmp",
        "a.tmp",
    ]
    for name in left + kept:
        path = tmp_path / name
        if kind == "folder":
            path.mkdir()
            path /= "file"
        path.touch()
    if kind == "file":
        write_atomically(tmp_path / "a.png", b"")
    else:
        with folder_atomically(tmp_path / "a.png"):
            pass
    assert names_in(tmp_path) == sorted([*kept, "a.png"])


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a link"])
def test_a_folder_is_there_when_it_is_whole(tmp_path, there):
    path, target = tmp_path / "made", tmp_path / ("target" if there == "a link" else "made")
    if there != "nothing":
        target.mkdir(0o750)
    if there == "a link":
        path.symlink_to("target")
    before = names_in(tmp_path)
    with folder_atomically(path) as made:
        (made / "file").write_bytes(b"new")
        assert not path.exists() or not names_in(path)
    assert (path / "file").read_bytes() == b"new" and path.is_symlink() == (there == "a link")
    assert names_in(tmp_path) == (before or ["made"])
    assert there == "nothing" or target.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), r"made could not be written \(No space left"),
        (ChildProcessError("another process ended"), "^another process ended$"),
        (KeyboardInterrupt(), "^$"),
    ],
    ids=["full disk", "another process", "Ctrl-C"],
)
@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_no_half_folder(tmp_path, error, message, there):
    path = tmp_path / "made"
    if there:
        path.mkdir()
    with pytest.raises(type(error), match=message), folder_atomically(path) as made:
        (made / "file").write_bytes(b"new")
        raise error
    assert names_in(tmp_path) == ["made"] * there and not (there and names_in(path))


def test_a_folder_does_not_replace_what_came_meanwhile(tmp_path):
    with pytest.raises(OSError, match=r"made could not be written \("), folder_atomically(tmp_path / "made") as made:
        (made / "file").touch()
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "other").touch()
    assert names_in(tmp_path) == ["made"] and names_in(tmp_path / "made") == ["other"]
