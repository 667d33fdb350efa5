"""The benchmarks run, check their providers before they time them, and write what they measured."""

import csv
import json
import runpy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import bench_codec
import bench_diag
import bench_per_image
import bench_row
import bench_sampling
import dispatches
import pixelrnn_ext as px
from harness import command, extent, image_codecs
from harness.target import Target
from helpers import child
from helpers.root import ROOT
from pixelrnn_ext import _command, cli
from pixelrnn_ext.benchmark import baselines, diagonal
from pixelrnn_ext.benchmark import command as bench
from pixelrnn_ext.operators import library

BENCHMARKS = ROOT / "benchmarks"
ANOTHER_FUNCTION = {  # than the good loop
    "native, 4 gates", "native, 1 direction", "native, padded", "nn.LSTM over pixels (another function)",
    "nn.LSTM along rows and columns (another function)",
}  # fmt: skip
PROVIDERS = {
    "bench_diag": {"loop as written", "good loop", "native", "GEMM floor", "GEMM floor, out="},
    "bench_row": {
        "loop as written", "good loop", "native", "native, NCHW", "nn.LSTM", "GEMM floor", "GEMM floor, out=",
    },
    "bench_lstm2d": {"good loop", "native", "GEMM floor", "GEMM floor, out=", *ANOTHER_FUNCTION},
    "bench_masked_conv": {"conv2d, masked weight", "conv2d, cropped weight", "ours"},
}  # fmt: skip

native = pytest.mark.skipif(library.why_no_native() is not None, reason=str(library.why_no_native()))


@pytest.fixture(autouse=True)
def _environment_is_kept(monkeypatch):
    # the benchmarks ask for more than this, for the rest of their process, where it says nothing
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    monkeypatch.setenv("GOMP_SPINCOUNT", "300000")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a benchmark as its script, here, where torch is loaded already: what it printed."""

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


def main(*arguments):
    return command.main(bench_diag.__file__, bench_diag.__doc__, bench_diag.CASES, bench_diag.TARGETS, list(arguments))


@pytest.mark.sweep
@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("bench_*.py")), ids=lambda path: path.stem)
def test_a_script_finds_what_it_imports(script, tmp_path):
    options = dict(cwd=tmp_path, env=child.environment(), capture_output=True, text=True)
    done = subprocess.run([sys.executable, script, "--help"], **options)
    assert (done.returncode, done.stderr) == (0, "") and f"usage: {script.name} " in done.stdout


@native
@pytest.mark.parametrize("script", PROVIDERS)
def test_check(script, run, tmp_path):
    table, text = tmp_path / "table.csv", tmp_path / "table.md"
    printed = run(script, "--check", "--threads", "1", "--csv", table, "--markdown", text)
    assert f"command: python benchmarks/{script}.py --check" in printed

    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["provider"] for row in rows} == PROVIDERS[script]
    assert {row["mode"] for row in rows} == {"forward", "backward", "forward+backward"}
    for row in rows:
        assert float(row["median ms"]) > 0 and float(row["p20 ms"]) <= float(row["p80 ms"])
        baseline = "good loop" if "good loop" in PROVIDERS[script] else "conv2d, masked weight"
        compared = row["provider"] not in ANOTHER_FUNCTION
        assert (float(row[f"speed-up over {baseline}"] or 0) > 0) == compared
        assert (float(row["share of GEMM floor"] or 0) > 0) == (compared and "GEMM floor" in PROVIDERS[script])
        assert row["provider"].startswith("GEMM floor") or float(row["max error"]) < 1e-5
        assert all(" ".join(row[column].split()) in " ".join(printed.split()) for column in ("case", "provider"))

    lines = [line for line in text.read_text().splitlines() if line.startswith("| ") and " forward" in line]
    assert len(lines) == sum("forward" in row["mode"] for row in rows)
    assert len({line.count("|") for line in lines}) == 1


def test_the_good_loops_are_the_references():
    x = torch.randn(2, 32, 4, 5)
    nothing = torch.zeros(2, 1, 4, 5), torch.zeros(32, 1, 1, 1)
    for loop, taps, reference in (
        (baselines.diagonal_good_loop, 2, px.reference.diagonal_lstm),
        (baselines.row_good_loop, 3, px.reference.row_lstm),
        (baselines.row_good_loop, 1, px.reference.row_lstm),
    ):
        weight = torch.randn(32, 8, taps)
        torch.testing.assert_close(loop(x, weight), reference(*nothing, weight, gate_bias=x), rtol=0, atol=0)


def test_a_mismatch_is_reported_without_a_time(monkeypatch, tmp_path, capsys):
    loop = baselines.diagonal_good_loop
    wrong = lambda x, weight: loop(x, weight * 1.001)  # noqa: E731
    monkeypatch.setattr(baselines, "diagonal_loop_as_written", wrong)
    table = tmp_path / "table.csv"
    assert main("--check", "--threads", "1", "--csv", str(table)) == 1
    assert "MISMATCH diagonal B2 4x5 h16 float32, 1 thread, loop as written: error " in capsys.readouterr().out
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    wrong_rows = [row for row in rows if row["provider"] == "loop as written"]
    assert len(wrong_rows) == 3
    for row in rows:
        assert (row["status"] == "mismatch") == (row in wrong_rows) == (not row["median ms"])
    assert all(float(row["max error"]) > 1e-5 for row in wrong_rows)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threads", "0"],
        ["--threads", "two"],
        ["--instruction-set", "mmx"],
        ["--check", "--full"],
        ["--verdict", "--full"],
        ["--verdict", "--compile"],
        ["--csv", "no/such/folder/table.csv"],
        ["--unknown"],
    ],
    ids=" ".join,
)
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(*arguments)
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_only_names_a_case(capsys):
    assert main("--only", "nothing") == 2
    assert "no case has 'nothing' in its name" in capsys.readouterr().err


def test_nothing_is_required_of_some_cases(capsys):
    assert main("--verdict", "--threads", "7") == 2
    assert "nothing is required of these cases and numbers of threads" in capsys.readouterr().err


@native
def test_a_default_run_and_a_verdict(monkeypatch, tmp_path, capsys):
    tiny = replace(bench_diag.CASES[0], size=bench_diag.CASES[0].size.tiny())
    other = replace(bench_diag.CASES[1], in_default=False)
    targets = [Target(tiny, "native", "good loop", faster=1e9, threads=n) for n in (1, 2)]
    for name in (extent.DEFAULT, extent.VERDICT):
        monkeypatch.setitem(extent.EXTENTS, name, replace(extent.EXTENTS[name], seconds=0.0, fewest=2))

    def ran(*arguments):
        table = tmp_path / "table.csv"
        arguments = [*arguments, "--threads", "1", "--csv", str(table)]
        assert command.main(bench_diag.__file__, bench_diag.__doc__, [tiny, other], targets, arguments) == 0
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["mode"] for row in rows} == {"forward+backward"}
        return capsys.readouterr().out, {row["provider"]: row for row in rows}

    printed, rows = ran()
    assert set(rows) == {"loop as written", "good loop", "native", "GEMM floor"}
    assert f"skipped, only with --full: {other}; percentiles" in printed and "missed" not in printed
    assert [name for name in rows if rows[name]["peak MiB"]] in (["native"], [])  # where the system tells

    printed, rows = ran("--verdict")
    assert set(rows) == {"good loop", "native"}
    assert printed.count("missed") == 1 and "skipped" not in printed


@native
@pytest.mark.parametrize("markdown", [False, True])
def test_the_command_prints_the_short_table(monkeypatch, capsys, markdown):
    """With nothing of benchmarks/, which no wheel holds."""
    tiny = replace(diagonal.CASES[0], size=diagonal.CASES[0].size.tiny())
    monkeypatch.setattr(bench, "CASES", [tiny, replace(diagonal.CASES[2], in_default=False)])
    monkeypatch.setattr(bench, "SHORT", replace(bench.SHORT, seconds=0.0, fewest=2))
    argv = ["bench", "--threads", "1", *["--markdown"] * markdown]
    assert cli.main(argv) == 0
    printed = capsys.readouterr().out
    assert f"command: pixelrnn {' '.join(argv)}\n" in printed and "MISMATCH" not in printed
    (line,) = [line.strip("| ") for line in printed.splitlines() if line.strip("| ").startswith("diagonal ")]
    assert line.startswith(str(tiny)) and line.count(" x ") == 2 and ("|" in line) == markdown


@native
@pytest.mark.sweep
def test_the_command_in_a_process_of_its_own(monkeypatch, tmp_path):
    """Which asks for nothing that a program with these layers would not have. In another folder: Python's -m takes the
    source folder before the installed package."""
    for name in ("MALLOC_MMAP_THRESHOLD_", *_command.WAITING):
        monkeypatch.delenv(name, raising=False)
    command = [sys.executable, "-m", "pixelrnn_ext", "bench", "--only", "layer B1 32x32 h128", "--threads", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=child.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("DiagonalBiLSTM")]
    assert line.startswith("DiagonalBiLSTM layer B1 32x32 h128  ") and " x " in line
    assert "python -m pixelrnn_ext bench" in done.stdout and "threads wait by" not in done.stdout


def test_the_command_refuses_a_case_that_there_is_not(capsys):
    assert cli.main(["bench", "--only", "nothing"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pixelrnn: expected --only to be a part of one of diagonal B16 28x28 h16, ")


def test_the_command_fails_where_numbers_are_wrong(monkeypatch, capsys):
    loop = baselines.diagonal_good_loop
    monkeypatch.setattr(baselines, "diagonal_good_loop", lambda x, weight: loop(x, weight * 1.001))
    monkeypatch.setattr(bench, "CASES", [replace(diagonal.CASES[0], size=diagonal.CASES[0].size.tiny())])
    monkeypatch.setattr(bench, "SHORT", replace(bench.SHORT, seconds=0.0, fewest=2))
    assert cli.main(["bench"]) == 1
    assert "MISMATCH diagonal B2 4x5 h16 float32, 2 threads, good loop: error " in capsys.readouterr().out


def test_plot_needs_matplotlib(monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        main("--plot", "plot.png")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "--plot needs matplotlib: pip install matplotlib\n"


def test_requirements():
    floor, loop, *layer = bench_row.TARGETS
    assert floor.required("avx512") == 0.95 and floor.required("avx2") == pytest.approx(1.1875)
    assert floor.required("baseline") is None
    assert loop.required("avx2") == 3
    assert [target.threads for target in layer] == [1, 2]


def test_sampling_check(run):
    printed = run("bench_sampling", "--check", "--threads", "1")
    assert "command: python benchmarks/bench_sampling.py --check --threads 1" in printed
    for sampler in ("naive, full passes", "cropped passes", "incremental", "incremental, in PyTorch"):
        assert printed.count(f"  {sampler}  ") == 4, sampler


def test_sampling_reports_images_that_differ(monkeypatch, capsys):
    monkeypatch.setattr(
        bench_sampling.sampling, "naive", lambda model, draws: 1 - px.sampling.incremental(model, draws)
    )
    monkeypatch.setattr(bench_sampling, "CASES", bench_sampling.CASES[:1])
    monkeypatch.setattr(bench_sampling, "OTHERS", [])
    assert bench_sampling.main(["--check"]) == 1
    assert "MISMATCH MNIST diagonal" in capsys.readouterr().out


@native
def test_training_check(run):
    printed = run("bench_training", "--check", "--threads", "1", "--load", "--profile")
    for backend in ("native", "reference"):
        assert printed.count(f"mnist-diagonal  {backend}") == 1, printed
    assert "over the quiet time" in printed and "scan, gradients" in printed
    assert "threads wait by: GOMP_SPINCOUNT=300000\n" in printed


@native
def test_per_image_gradients_check(run):
    printed = run("bench_per_image", "--check", "--threads", "1")
    assert "gradients of every image take " in printed


def test_per_image_gradients_that_do_not_add_up_are_reported(monkeypatch, capsys):
    monkeypatch.setattr(
        bench_per_image, "grad", lambda f: lambda *args: {k: v / 2 for k, v in torch.func.grad(f)(*args).items()}
    )
    assert bench_per_image.main(["--check"]) == 1
    assert "MISMATCH" in capsys.readouterr().out


def test_codec_check(run):
    printed = run("bench_codec", "--check", "--threads", "1")
    assert "command: python benchmarks/bench_codec.py --check --threads 1" in printed
    for name in ("row, -log2 p", "pixelcnn, the range coder alone, ours"):
        assert printed.count(f"  {name}  ") == 1, printed
    for name in ("PNG", "xz"):
        assert printed.count(f"  {name}  ") == 2, printed
    assert "decompress over sampling" in printed


def test_codec_reports_images_that_differ(monkeypatch, capsys):
    decompress = bench_codec.Codec.decompress
    monkeypatch.setattr(bench_codec.Codec, "decompress", lambda *args, **options: 1 - decompress(*args, **options))
    assert bench_codec.main(["--check", "--threads", "1"]) == 1
    assert "MISMATCH pixelcnn: other images come back" in capsys.readouterr().out


def test_codec_reports_another_codec_that_is_not_lossless(monkeypatch, capsys):
    codec = image_codecs.available()[0]
    monkeypatch.setattr(
        image_codecs, "available", lambda: [replace(codec, decode=lambda *args: codec.decode(*args) | 1)]
    )
    assert bench_codec.main(["--check", "--threads", "1"]) == 1
    assert "MISMATCH row: PNG decodes other pixels" in capsys.readouterr().out


def test_codec_requirements():
    case = bench_codec.tiny_cases()[1]
    ratios = {1: {"compress": 3.0, "decompress": 1.5}}
    verdicts = [str(verdict) for verdict in bench_codec.verdicts(case, 0.05, -0.02, ratios, {1: ""})]
    assert verdicts == ["met", "met", "met", "missed"]
    large = bench_codec.verdicts(case, 0.11, 0.011, ratios, {1: ""})
    assert [str(verdict) for verdict in large[:2]] == ["missed", "missed"]


@native
def test_dispatches_are_counted_and_a_rise_is_told(monkeypatch, tmp_path, capsys):
    cases = "row, states", "diagonal", "LSTM2d, all of 4, sizes"
    monkeypatch.setattr(dispatches, "CASES", {case: dispatches.CASES[case] for case in cases})
    file = tmp_path / "counts.json"
    assert dispatches.main(["--json", str(file)]) == dispatches.main(["--against", str(file)]) == 0
    counts = json.loads(file.read_text())
    # The operator alone: no operand is copied.
    assert [
        counts["diagonal"][f"{place} {name}"][0] for place in ("cpu", "gpu") for name in ("forward", "backward")
    ] == [1] * 4
    counts["row, states"]["gpu backward"][1] -= 1
    file.write_text(json.dumps(counts))
    capsys.readouterr()
    assert dispatches.main(["--against", str(file)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("row, states, gpu backward: expected at most ")
