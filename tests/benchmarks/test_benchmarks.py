import csv
import importlib.util
import pickle
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bench_codec
import bench_diag
import bench_per_image
import bench_sampling
import pixelrnn_ext as px
from harness import command, image_codecs
from harness.options import CHECK, DEFAULT, VERDICT
from harness.requirements import Target
from helpers import child
from helpers.checks import native
from helpers.root import ROOT
from pixelrnn_ext import _process, cli
from pixelrnn_ext.benchmark import baselines
from pixelrnn_ext.benchmark.children import CANNOT_RUN, Ended
from pixelrnn_ext.benchmark.timing import Times
from pixelrnn_ext.cli import bench

BENCHMARKS = ROOT / "benchmarks"
TINY = replace(bench_diag.CASES[0], size=bench_diag.CASES[0].size.tiny())
ANOTHER_FUNCTION = {
    "native, 4 gates", "native, 1 direction", "native, padded", "nn.LSTM over pixels (another function)",
    "nn.LSTM along rows and columns (another function)",
}  # fmt: skip
LAYERS = {"loop as written", "good loop", "native", "native, NCHW", "native, bfloat16"}
PROVIDERS = {
    "bench_diag": LAYERS,
    "bench_row": {*LAYERS, "nn.LSTM", "nn.LSTM, bfloat16"},
    "bench_lstm2d": {"good loop", "native", *ANOTHER_FUNCTION},
    "bench_masked_conv": {"conv2d, masked weight", "conv2d, cropped weight", "ours"},
}


@pytest.fixture(autouse=True)
def _restore_environment(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    monkeypatch.setenv("GOMP_SPINCOUNT", "300000")


@pytest.fixture(autouse=True)
def _without_jax(monkeypatch):
    """Hides JAX, which with_jax.py tests in a process of its own."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "jax" else find(name, *more))


@pytest.fixture(autouse=True)
def _made_up_peaks(monkeypatch):
    dtypes = torch.float32, torch.bfloat16
    monkeypatch.setattr(command, "measure", lambda threads: {(d, n): 1e11 for n in threads for d in dtypes})


@pytest.fixture
def run(monkeypatch, capsys):
    def script(name, *arguments):
        path = str(BENCHMARKS / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        threads = torch.get_num_threads()
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(path, run_name="__main__")
        torch.set_num_threads(threads)
        printed = capsys.readouterr()
        assert ended.value.code == 0, printed.out + printed.err
        return printed.out

    return script


def read_rows(table):
    return list(csv.DictReader(table.read_text().splitlines()))


def main(*arguments):
    return command.main(bench_diag.__file__, bench_diag.__doc__, bench_diag.CASES, bench_diag.TARGETS, list(arguments))


def has_peak_memory():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


@pytest.mark.sweep
@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("bench_*.py")), ids=lambda path: path.stem)
def test_a_script_finds_what_it_imports(script, tmp_path):
    done = child.python(script, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and f"usage: {script.name} " in done.stdout


@native
@pytest.mark.parametrize("script", PROVIDERS)
def test_check(script, run, tmp_path):
    table, text = tmp_path / "table.csv", tmp_path / "table.md"
    printed = run(script, "--check", "--threads", "1", "--csv", table, "--markdown", text)
    assert f"command: python benchmarks/{script}.py --check" in printed

    rows = read_rows(table)
    assert {row["provider"] for row in rows} == PROVIDERS[script]
    assert {row["mode"] for row in rows} == {"forward", "backward", "forward+backward"}
    for row in rows:
        assert float(row["median ms"]) > 0 and float(row["p20 ms"]) <= float(row["p80 ms"])
        baseline = "good loop" if "good loop" in PROVIDERS[script] else "conv2d, masked weight"
        compared = row["provider"] not in ANOTHER_FUNCTION
        assert (float(row[f"speed-up over {baseline}"] or 0) > 0) == compared
        assert (float(row["share of peak"] or 0) > 0) == compared
        assert float(row["max error"]) < (2e-2 if "bfloat16" in row["provider"] else 1e-5)
        assert all(" ".join(row[column].split()) in " ".join(printed.split()) for column in ("case", "provider"))
    # The case is pickled for the process that measures memory.
    assert len({row["case"] for row in rows if row["peak MiB"]}) == has_peak_memory()
    assert all(str(pickle.loads(pickle.dumps(case))) == str(case) for case in importlib.import_module(script).CASES)

    lines = [line for line in text.read_text().splitlines() if line.startswith("| ") and " forward" in line]
    assert len(lines) == sum("forward" in row["mode"] for row in rows)
    assert len({line.count("|") for line in lines}) == 1


def wrong(function):
    return lambda x, weight: function(x, weight * 1.001)


def test_a_mismatch_is_reported_without_a_time(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(baselines, "diagonal_loop_as_written", wrong(baselines.diagonal_loop_as_written))
    monkeypatch.setitem(command.BUDGETS, CHECK, replace(command.BUDGETS[CHECK], memory=0))
    table = tmp_path / "table.csv"
    assert main("--check", "--threads", "1", "--csv", str(table)) == 1
    assert "MISMATCH diagonal B2 4x5 h16 float32, 1 thread, loop as written: error " in capsys.readouterr().out
    rows = read_rows(table)
    wrong_rows = [row for row in rows if row["provider"] == "loop as written"]
    assert len(wrong_rows) == 3
    for row in rows:
        assert (row["status"] == "mismatch") == (row in wrong_rows) == (not row["median ms"])
    assert all(float(row["max error"]) > 1e-5 for row in wrong_rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--threads 0", "error: argument --threads: expected an integer >= 1"),
        ("--instruction-set mmx", "error: argument --instruction-set"),
        ("--check --full", "error: argument --full: not allowed with argument --check"),
        ("--csv no/such/folder/table.csv", "error: cannot write to no/such/folder/table.csv"),
        ("--only nothing", "bench_diag.py: no case has 'nothing' in its name"),
        ("--verdict --threads 7", "nothing is required of these cases and numbers of threads"),
        ("--plot plot.png", "--plot needs matplotlib: pip install matplotlib\n"),
        ("--plot plot.mp3", "error: argument --plot: expected one of the endings "),
    ],
)
def test_what_a_benchmark_refuses(arguments, message, monkeypatch, capsys):
    if arguments == "--plot plot.png":
        monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    elif "plot" in arguments:
        pytest.importorskip("matplotlib", reason="the bench and the train extra bring matplotlib")
    try:
        status = main(*arguments.split())
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2 and message in capsys.readouterr().err


@native
def test_a_default_run_and_a_verdict(monkeypatch, tmp_path, capsys):
    other = replace(bench_diag.CASES[1], in_default=False)
    targets = [Target(TINY, "native", "good loop", faster=1e9, threads=n) for n in (1, 2)]
    for name in (DEFAULT, VERDICT):
        monkeypatch.setitem(command.BUDGETS, name, replace(command.BUDGETS[name], seconds=0.0, fewest=2))

    def ran(*arguments):
        table = tmp_path / "table.csv"
        arguments = [*arguments, "--threads", "1", "--csv", str(table)]
        assert command.main(bench_diag.__file__, bench_diag.__doc__, [TINY, other], targets, arguments) == 0
        rows = read_rows(table)
        assert {row["mode"] for row in rows} == {"forward+backward"}
        return capsys.readouterr().out, {row["provider"]: row for row in rows}

    printed, rows = ran()
    assert set(rows) == {"loop as written", "good loop", "native"}
    assert f"skipped, only with --full: {other}; percentiles" in printed and "missed" not in printed
    assert [name for name in rows if rows[name]["peak MiB"]] == ["native"] * has_peak_memory()

    printed, rows = ran("--verdict")
    assert set(rows) == {"good loop", "native"}
    assert printed.count("missed") == 1 and "skipped" not in printed


@native
@pytest.mark.parametrize("markdown", [False, True])
def test_the_command_prints_the_short_table(monkeypatch, capsys, markdown):
    first, second = bench.CASES[:2]
    monkeypatch.setattr(bench, "CASES", [replace(first, size=TINY.size), replace(second, in_default=False)])
    monkeypatch.setattr(bench, "SHORT", replace(bench.SHORT, seconds=0.0, fewest=2, memory=int(markdown)))
    argv = ["bench", "--threads", "1", *["--markdown"] * markdown]
    assert cli.main(argv) == 0
    printed = capsys.readouterr().out
    assert f"command: pixelrnn {' '.join(argv)}\n" in printed and "MISMATCH" not in printed
    (line,) = [line.strip("| ") for line in printed.splitlines() if line.strip("| ").startswith("diagonal ")]
    assert line.startswith(str(TINY)) and line.count(" x ") == 2 and ("|" in line) == markdown


@native
@pytest.mark.sweep
def test_the_command_in_a_process_of_its_own(monkeypatch, tmp_path):
    """Outside the repository, `python -m` finds the installed package."""
    for name in ("MALLOC_MMAP_THRESHOLD_", *_process.WAIT_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    arguments = "bench", "--only", "layer B1 32x32 h128", "--threads", "1"
    done = child.python("-m", "pixelrnn_ext", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("DiagonalBiLSTM")]
    assert line.startswith("DiagonalBiLSTM layer B1 32x32 h128  ") and " x " in line
    assert "python -m pixelrnn_ext bench" in done.stdout and "threads wait by" not in done.stdout


def test_the_command_refuses_a_case_that_there_is_not(capsys):
    assert cli.main(["bench", "--only", "nothing"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pixelrnn: expected --only to be a part of one of diagonal B16 28x28 h16, ")


def test_the_command_fails_where_numbers_are_wrong(monkeypatch, capsys):
    monkeypatch.setattr(baselines, "diagonal_good_loop", wrong(baselines.diagonal_good_loop))
    monkeypatch.setattr(bench, "CASES", [TINY])
    monkeypatch.setattr(bench, "SHORT", replace(bench.SHORT, seconds=0.0, fewest=2, memory=0))
    assert cli.main(["bench"]) == 1
    assert "MISMATCH diagonal B2 4x5 h16 float32, 2 threads, good loop: error " in capsys.readouterr().out


SAMPLERS = bench_sampling.NAIVE, bench_sampling.CROPPED, bench_sampling.INCREMENTAL, bench_sampling.EAGER
# {script: {text: how often the script prints it with --check}}
WHOLE_MODELS = {
    "bench_sampling": {f"  {name}  ": 4 for name in SAMPLERS},
    "bench_training": {
        "mnist-diagonal  native": 1, "mnist-diagonal  reference": 1, "over the quiet time": 1,
        "  pixelrnn_ext::scan_gradients  ": 1, "threads wait by: GOMP_SPINCOUNT=300000;": 1,
    },
    "bench_per_image": {"gradients of every image take ": 1},
    "bench_data": {"MiB of the store": 1, "a store, batches alone": 1, "size and time of every file": 1},
    "bench_codec": {
        "  row, -log2 p  ": 1, "  pixelcnn, the range coder alone, ours  ": 1, "decompress over sampling": 1,
        "  PNG  ": 2, "  xz  ": 2,
    },
}  # fmt: skip
OPTIONS = {"bench_training": ["--load", "--profile"], "bench_data": ["--files", "30"]}
NEED_KERNELS = "bench_training", "bench_per_image"


@pytest.mark.parametrize(
    "script", [pytest.param(name, marks=native if name in NEED_KERNELS else ()) for name in WHOLE_MODELS]
)
def test_check_of_whole_models(script, run):
    times = WHOLE_MODELS[script]
    printed = run(script, "--check", "--threads", "1", *OPTIONS.get(script, []))
    assert f"command: python benchmarks/{script}.py --check --threads 1" in printed
    assert {text: printed.count(text) for text in times} == times


def naive_differs(monkeypatch):
    monkeypatch.setattr(bench_sampling.sampling, "naive", lambda *args: 1 - px.sampling.incremental(*args))
    monkeypatch.setattr(bench_sampling, "CASES", bench_sampling.CASES[:1])
    monkeypatch.setattr(bench_sampling, "OTHERS", [])


def gradients_are_halved(monkeypatch):
    grad = bench_per_image.grad
    monkeypatch.setattr(bench_per_image, "grad", lambda f: lambda *args: {k: v / 2 for k, v in grad(f)(*args).items()})


def other_images_come_back(monkeypatch):
    decompress = bench_codec.Codec.decompress
    monkeypatch.setattr(bench_codec.Codec, "decompress", lambda *args, **options: 1 - decompress(*args, **options))


def png_is_not_lossless(monkeypatch):
    codec = image_codecs.available()[0]
    lossy = replace(codec, decode=lambda *args: codec.decode(*args) | 1)
    monkeypatch.setattr(image_codecs, "available", lambda: [lossy])


@pytest.mark.parametrize(
    ("script", "break_it", "message"),
    [
        (bench_sampling, naive_differs, "MISMATCH MNIST diagonal"),
        (bench_per_image, gradients_are_halved, "MISMATCH: the gradients of "),
        (bench_codec, other_images_come_back, "MISMATCH pixelcnn: other images come back"),
        (bench_codec, png_is_not_lossless, "MISMATCH row: PNG decodes other pixels"),
    ],
    ids=["sampling", "per_image", "codec", "PNG"],
)
def test_a_mismatch_of_whole_models_is_reported(script, break_it, message, monkeypatch, capsys):
    break_it(monkeypatch)
    assert script.main(["--check", "--threads", "1"]) == 1
    assert message in capsys.readouterr().out


def test_codec_requirements():
    case = bench_codec.tiny_cases()[1]
    times = {1: Times({"compress": [3.0] * 2, "a pass": [1.0] * 2, "decompress": [1.5] * 2, "sampling": [1.0] * 2})}
    verdicts = [str(verdict) for verdict in bench_codec.verdicts(case, 0.05, -0.02, times)]
    assert verdicts == ["met", "met", "met", "missed"]
    large = bench_codec.verdicts(case, 0.11, 0.011, times)
    assert [str(verdict) for verdict in large[:2]] == ["missed", "missed"]


def test_a_sampler_on_a_gpu_is_compared_with_a_cpu(monkeypatch):
    tiny = {"hidden_channels": 8, "head_channels": 8}
    cases = [replace(case, side=4, model=case.model | tiny) for case in bench_sampling.CASES[:1]]
    rows, facts = {row.provider: row for row in bench_sampling.gpu_rows(cases, True, "cpu")}, {}
    assert list(rows) == ["auto", "images", "stages", "pytorch", bench_sampling.NAIVE]
    rows[bench_sampling.NAIVE].measure(lambda **found: facts.update(found))
    assert facts["called"][1] > 0
    naive_differs(monkeypatch)
    with pytest.raises(Ended, match="of 32 values are wrong"):
        rows[bench_sampling.NAIVE].measure(lambda **found: None)
    with pytest.raises(Ended) as ended:
        rows["images"].measure(lambda **found: None)
    assert ended.value.status == CANNOT_RUN
