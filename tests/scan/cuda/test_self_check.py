"""Tests the look at the resident kernels before their first use, with kernels that lie. No test needs a GPU."""

import json
import multiprocessing
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from helpers.checks import native
from helpers.scans import DTYPES, OPS, Problem
from kernel_costs.kernel_list import FORMATS
from pixelrnn_ext.operators import library
from pixelrnn_ext.operators.scan import self_check

from .gpus import on_gpus
from .python_recurrence import PythonRecurrence

pytestmark = native
CPU = torch.device("cpu")


class Recurrence(PythonRecurrence):
    """Counts the calls by path. On a path of resident kernels it adds ``lie`` to a result."""

    def __init__(self, lie=0.0, wrong="h"):
        self.lie, self.wrong, self.paths = lie, wrong, []

    def recurrence(self, *args):
        self.paths.append(args[-2])
        h, c, gates = super().recurrence(*args)
        return h + self.lie * (self.wrong == "h" and args[-2] != "step"), c, gates

    def recurrence_backward(self, *args):
        dx, *rest = super().recurrence_backward(*args)
        return dx + self.lie * (self.wrong == "dx" and args[-2] != "step"), *rest


class Unable(Recurrence):
    error = RuntimeError("out of memory")

    def recurrence(self, *args):
        raise self.error


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PIXELRNN_SELF_CHECK", raising=False)
    new_process(monkeypatch)
    return tmp_path / "cache" / "pixelrnn_ext"


def new_process(monkeypatch):
    monkeypatch.setattr(self_check, "_trusted", set())
    monkeypatch.setattr(self_check, "_distrusted", set())


def scan(layer="bilstm", format="fp32", path="auto", hidden=8, **options):
    return Problem(format, layer, hidden, (2, 3, 4), merge="none", input=False, **options).scan(path=path)


def path_of(ops, *arguments, **options):
    return self_check.trusted(ops, scan(*arguments, **options)).path


def test_kernels_that_agree_are_looked_at_once(cache_folder, monkeypatch):
    ops = Recurrence()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [path_of(ops) for _ in range(3)] == ["auto"] * 3
    assert ops.paths == ["resident"]
    (file,) = cache_folder.iterdir()
    assert json.loads(file.read_text())["verdicts"] == {"resident_fp32 D2 diagonal taps2 h8": ""}
    new_process(monkeypatch)
    assert path_of(ops) == "auto" and ops.paths == ["resident"], "expected the next process not to look"
    assert path_of(ops, "row3") == path_of(ops, hidden=4) == path_of(ops, "stable") == "auto"
    assert ops.paths == ["resident"] * 4


@pytest.mark.parametrize("wrong", ["h", "dx"])
@pytest.mark.parametrize("lie", [0.01, float("nan")])
def test_kernels_that_lie_are_left_to_the_step_path(wrong, lie, monkeypatch):
    ops = Recurrence(lie, wrong)
    with pytest.warns(RuntimeWarning, match=f"resident_fp32 compute wrong values on the CPU: .* {wrong} ") as caught:
        assert path_of(ops) == "step"
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert path_of(ops) == path_of(ops, "row3") == "step", "the file's other sizes are distrusted, too"
        assert path_of(Recurrence(), "stable") == "auto"
    new_process(monkeypatch)
    with pytest.warns(RuntimeWarning, match="wrong values"):
        assert path_of(ops, "row3") == "step", "the next process must know of all sizes"
    assert ops.paths == ["resident"]


def test_a_warning_that_is_an_error_leaves_the_step_path():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="wrong values"):
            path_of(Recurrence(1.0))
        assert path_of(Recurrence(1.0)) == "step"


@pytest.mark.parametrize(
    "options",
    [dict(path="resident"), dict(path="step"), dict(format="fp64"), dict(layer="graves-peepholes"),
     dict(sizes=[(1, 2), (3, 4)])],
    ids=["resident", "step", "fp64", "peepholes", "sizes"],
)  # fmt: skip
def test_scans_that_are_not_looked_at(options):
    ops = Recurrence(1.0)
    assert path_of(ops, **options) == options.get("path", "auto") and not ops.paths


def test_the_variable_turns_the_check_off(monkeypatch):
    monkeypatch.setenv("PIXELRNN_SELF_CHECK", "0")
    ops = Recurrence(1.0)
    assert path_of(ops) == "auto" and not ops.paths


def test_kernels_that_cannot_run_are_tried_once_and_not_kept(cache_folder):
    ops = Unable()
    assert path_of(ops) == path_of(ops) == "auto" and not cache_folder.exists()


def test_kernels_that_break_the_gpu_s_context_are_named(cache_folder, monkeypatch):
    monkeypatch.setattr(Unable, "error", torch.AcceleratorError("an illegal memory access"))
    with pytest.raises(RuntimeError, match="resident_fp32 failed on the CPU: an illegal memory access .*'step'"):
        path_of(Unable())
    assert not cache_folder.exists()


@pytest.mark.parametrize("content", [b"", b"\xff{", b"[]", b"{}", b'{"verdicts": {"a": 1, " ": "b"}}', b"[" * 100_000])
def test_a_damaged_file_is_replaced(content, cache_folder):
    file = self_check._file(CPU)
    cache_folder.mkdir(parents=True)
    file.write_bytes(content)
    assert path_of(Recurrence()) == "auto"
    assert json.loads(file.read_text())["verdicts"] == {"resident_fp32 D2 diagonal taps2 h8": ""}
    assert list(cache_folder.iterdir()) == [file]


@pytest.mark.parametrize("home", ["none", "a file", "full"])
def test_a_home_that_takes_no_file_is_no_error(home, tmp_path, monkeypatch):
    if home == "none":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    elif home == "a file":
        (tmp_path / "cache").touch()
    else:
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    ops = Recurrence()
    assert path_of(ops) == "auto" and ops.paths == ["resident"]
    assert not any(file.is_file() for file in (tmp_path / "cache").rglob("*"))


def _store_many(number):
    for i in range(30):
        self_check._store(CPU, {f"resident_fp32 {number} {i}": ""})
        assert self_check._stored(CPU), "expected a whole file at any time"


def test_processes_that_write_at_once_leave_a_whole_file(cache_folder):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(_store_many, range(2))
    assert self_check._stored(CPU) and len(list(cache_folder.iterdir())) == 1


def test_threads_look_once():
    ops = Recurrence(1.0)
    with ThreadPoolExecutor(4) as pool, pytest.warns(RuntimeWarning) as caught:
        assert set(pool.map(lambda _: path_of(ops), range(8))) == {"step"}
    assert ops.paths == ["resident"] and len(caught) == 1


@pytest.mark.parametrize(
    "mode", [nullcontext, torch.no_grad, torch.inference_mode], ids=["grad", "no_grad", "inference"]
)
def test_the_look_leaves_torchs_state_alone(mode):
    s, ops = scan("row3"), Recurrence()
    before = torch.get_rng_state()
    with mode():
        states = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert self_check.trusted(ops, s).path == "auto" and ops.paths == ["resident"]
        assert states == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    assert torch.equal(before, torch.get_rng_state())


def test_a_capture_takes_a_kept_verdict_and_does_not_look(monkeypatch):
    """Pretends that the scan is on a GPU whose stream is captured."""
    device, capturing = torch.device("cuda", 0), [True]
    s = scan()
    s = s._replace(weight_hh=s.weight_hh.to("meta"))
    ops = Recurrence(1.0)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing[0])
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(self_check, "_identity", lambda _: ("a GPU", "a driver"))
    monkeypatch.setattr(torch.Tensor, "device", property(lambda _: device))
    assert self_check.trusted(ops, s).path == "auto" and not self_check._trusted, "nothing is known yet"
    self_check._store(device, {"resident_fp32 D2 diagonal taps2 h8": "relative errors of h 1.0"})
    with pytest.warns(RuntimeWarning, match="wrong values on a GPU: relative errors of h 1.0"):
        assert self_check.trusted(ops, s).path == "step"
    assert not ops.paths


@pytest.mark.skipif(library.why_no_cuda() is not None, reason=f"{library.why_no_cuda()}")
@pytest.mark.parametrize("operator", ["scan", "scan_gradients"])
def test_the_cuda_operators_look_before_each_pass(operator, monkeypatch):
    """Calls the code for a GPU with tensors on the CPU, which reaches no kernel."""

    def look(ops, s, name, bound):
        raise InterruptedError(name)

    monkeypatch.setattr(self_check, "_look", look)
    problem = Problem("fp32", "row3", 8, (2, 3, 4), merge="none", input=False)
    args = problem.scan() if operator == "scan" else problem.gradient_arguments(OPS).flat
    with pytest.raises(InterruptedError, match="resident_fp32 D1 row taps3 h8"):
        getattr(OPS, operator).default.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA), *args)


@on_gpus(["format", "layer", "hidden"], [(f, layer, 16) for f in FORMATS for layer in ("bilstm", "row3", "stable")],
         lambda gpu, *_: gpu == "sm_90")  # fmt: skip
def test_the_real_kernels_agree(format, layer, hidden, gpu):
    s = Problem(format, layer, hidden, (1, 1, 1), merge="none", input=False).scan(DTYPES[format])
    assert self_check._differences(gpu.ops, s, "resident", self_check.BOUNDS[format]) == ""
    strict = self_check._differences(gpu.ops, s, "resident", 0.0)
    errors = [float(word) for word in strict.replace(",", "").split() if "e-" in word]
    assert len(errors) == 5 and max(errors) <= self_check.BOUNDS[format] / 4, strict
