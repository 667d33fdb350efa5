"""Compiles and links files into a disk cache that several processes share.

A file's name has a hash of its compiler command and of its sources. ``PIXELRNN_TEST_CACHE`` names the cache's folder.
The default is a temporary folder for each user.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

JOBS = 2


class BuildError(RuntimeError):
    pass


def folder():
    default = Path(tempfile.gettempdir()) / f"pixelrnn-tests-{os.getuid()}"
    path = Path(os.environ.get("PIXELRNN_TEST_CACHE", default))
    path.mkdir(parents=True, exist_ok=True)
    return path


def hash_of(*parts):
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:20]


def content_hashes(paths):
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]


@contextmanager
def locked(name):
    """Locks the name of a cached file against other processes."""
    with open(folder() / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write(path, content):
    """Writes a file atomically, because other processes may read it."""
    with tempfile.NamedTemporaryFile("w" if isinstance(content, str) else "wb", dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def in_parallel(function, items):
    with ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(function, items))


def compile(command, source, suffix):
    """Runs `command SOURCE -o OUTPUT` unless the cache has its output, and returns the output's path."""
    command, source = list(map(str, command)), Path(source).resolve()
    key = hash_of(_version(command[0]), *command, source)
    dependencies = folder() / f"{source.stem}-{key}.json"

    def output():
        try:
            files = json.loads(dependencies.read_text())
            return folder() / f"{source.stem}-{hash_of(key, *content_hashes(files))}{suffix}"
        except (OSError, ValueError):
            return None

    with locked(f"{source.stem}-{key}"):
        known = output()
        if known and known.exists():
            return known
        with tempfile.TemporaryDirectory(dir=folder()) as scratch:
            made, rule = Path(scratch) / f"out{suffix}", Path(scratch) / "rule.d"
            for _ in range(3):  # again if a source changed meanwhile
                start = time.time()
                log = _run([*command, source, "-MMD", "-MF", rule, "-o", made])
                files = _dependencies(rule.read_text())
                if all(os.stat(file).st_mtime < start for file in files):
                    break
            write(dependencies, json.dumps(files))
            write(output().with_suffix(".log"), log)
            made.replace(target := output())
        return target


def link(command, name, suffix=".so"):
    """Links by running `command -o OUTPUT`, and returns the output's path. The linker's messages go to a .log file
    beside it."""
    target = folder() / f"{name}-{hash_of(_version(command[0]), *command)}{suffix}"
    with locked(target.stem):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder()) as scratch:
                log = _run([*command, "-o", Path(scratch) / target.name])
                write(target.with_suffix(".log"), log)
                (Path(scratch) / target.name).replace(target)
    return target


@cache
def _version(tool):
    return subprocess.run([tool, "--version"], capture_output=True, text=True).stdout


def _run(command):
    done = subprocess.run(["nice", *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}{done.stderr[-8000:]}")
    return done.stderr


def _dependencies(makefile_rule):
    names = makefile_rule.split(":", 1)[1].replace("\\\n", " ")
    return [name.replace("\\ ", " ") for name in re.findall(r"(?:\\ |\S)+", names)]
