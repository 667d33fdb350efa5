"""The microbenchmarks, and the constants that they measure (benchmarks/gpu_day/micro.py)."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_day import micro
from sass_model import model

ROOT = Path(__file__).resolve().parents[1]


def microbenchmark_names():
    header = (micro.FOLDER / "kernels.h").read_text()
    return re.findall(r"^  X\((\w+), \d", header, re.MULTILINE)


def test_every_microbenchmark_measures_a_constant():
    names = microbenchmark_names()
    assert len(names) == len(set(names)) > 30
    used = {name for constant in micro.CONSTANTS for name in compile(constant.cycles, "", "eval").co_names}
    assert used | micro.ERRORS.keys() == set(names)


def test_the_constants_are_those_of_the_model():
    def value(name):
        table, _, entry = name.partition(" ")
        if table == "CCTL.IVALL":
            return 0  # nothing but its scoreboard
        found = getattr(model, table)
        return found if not entry else found[entry][0] if table == "PIPES" else found[entry]

    assert {constant.name: constant.model for constant in micro.CONSTANTS} == {
        c.name: value(c.name) for c in micro.CONSTANTS
    }


PROGRAM = """#!{python}
import json, sys, time
names = sys.argv[1:]
if not names:
    print("one two three four five")
for name in names:
    if name == "two":
        sys.exit("an illegal instruction was encountered")
    if name == "four":
        sys.stdout.flush()
        time.sleep(60)
    print(json.dumps({{"name": name, "cycles": 1.5}}))
"""


def test_a_microbenchmark_that_fails_or_hangs_costs_no_other(tmp_path, monkeypatch):
    compiler = tmp_path / "nvcc"  # it "compiles" a program that misbehaves
    compiler.write_text(f"#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\ncp {tmp_path / 'program'} $1\n")
    (tmp_path / "program").write_text(PROGRAM.format(python=sys.executable))
    for file in ("nvcc", "program"):
        (tmp_path / file).chmod(0o755)
    monkeypatch.setattr(micro, "nvcc", lambda: str(compiler))
    monkeypatch.setattr(micro, "TOGETHER", 2.0)
    found = []
    micro.measure("9.0", tmp_path / "micro.log", 60, found.append)
    assert {r["name"]: (r["status"], r.get("note")) for r in found} == {
        "one": ("ok", None),
        "two": ("failed", "an illegal instruction was encountered"),
        "three": ("ok", None),
        "four": ("failed", "no answer within 2 s"),
        "five": ("ok", None),
    }
    assert "an illegal instruction" in (tmp_path / "micro.log").read_text()
    found.clear()
    micro.measure("9.0", tmp_path / "micro.log", 0.5, found.append)
    assert {r["status"] for r in found} == {"not run"} and len(found) == 5
    compiler.write_text("#!/bin/sh\necho broken; exit 1\n")
    with pytest.raises(RuntimeError, match="do not compile; see micro.log"):
        micro.measure("9.0", tmp_path / "micro.log", 60, found.append)


def test_without_nvcc_the_microbenchmarks_say_so(monkeypatch):
    monkeypatch.setattr(micro.shutil, "which", lambda name: None)
    monkeypatch.setenv("CUDA_HOME", "/nowhere")
    monkeypatch.delenv("CUDA_PATH", raising=False)
    with pytest.raises(FileNotFoundError, match="got none as /nowhere/bin/nvcc$"):
        micro.nvcc()


@pytest.mark.emulated
@pytest.mark.parametrize("arch", [80, 90, 100, 120])
def test_the_microbenchmarks_compile_without_a_warning(arch, tmp_path):
    program = tmp_path / "microbenchmarks"
    command = micro.command(micro.nvcc(), f"{arch / 10}", program)
    done = subprocess.run(["nice", *command, "-Xcompiler", "-Wall,-Wextra,-Werror"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    listed = subprocess.run([program], capture_output=True, text=True)
    assert listed.stdout.split() == microbenchmark_names()


@pytest.mark.emulated
def test_the_microbenchmarks_are_right_on_the_emulator():
    """Their barriers and addresses; its clock stands still. Its approximations are off by what is documented."""
    from emulator import toolchain
    from emulator.control import Emulator

    kernels, host = ROOT / "benchmarks/gpu_day/microbenchmarks/kernels.cu", ROOT / "tests/emulated/microbenchmarks.cpp"
    flags = [f"-I{ROOT / 'csrc'}", "-DPIXELRNN_EMULATED"]
    library = toolchain.library("microbenchmarks", kernels=[kernels], host=[host], arch="sm_90", flags=flags)
    emulator = Emulator(library)
    emulator.device("sm_90")
    run = emulator.library.run_microbenchmark
    run.restype = ctypes.c_char_p
    answers = {name: run(name.encode(), 16).decode() for name in microbenchmark_names()}
    assert set(answers.values()) == {""}, answers
    emulator.device("sm_80")
    assert run(b"round_trip_2", 16).decode() == ""  # left out
