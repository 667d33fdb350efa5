"""Tests what a command does before it reads its options, for example at Ctrl-C while it imports torch."""

import ctypes
import importlib
import os
import platform
import signal
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from helpers import child
from pixelrnn_ext import _command
from pixelrnn_ext._process import WAIT_VARIABLES, keep_freed_memory
from pixelrnn_ext.operators import library

# Source of a module torch that sends Ctrl-C to the process that imports it.
INTERRUPTED = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:  # torch catches it at times
    pass
"""
BROKEN = "raise ImportError('torch is not whole\\nand more lines')\n"
SCRIPT = "import sys\nfrom pixelrnn_ext.__main__ import main\nsys.exit(main())\n"


def start(folder, torch, command):
    """Runs a command in a new process that imports the source ``torch`` as the module torch."""
    (folder / "torch.py").write_text(torch)
    (folder / "pixelrnn").write_text(SCRIPT)
    options = dict(cwd=folder, env=child.environment(folder, without=["LOCAL_RANK"]), timeout=60)
    return subprocess.run([sys.executable, *command.split()], capture_output=True, text=True, **options)


@pytest.mark.parametrize(
    ("argv", "options", "command"),
    [
        ("-m", "-m pixelrnn_ext info", "python -m pixelrnn_ext"),
        ("-m", "-X dev -Im pixelrnn_ext", "python -m pixelrnn_ext"),
        ("/bin/pixelrnn", "/bin/pixelrnn info", "pixelrnn"),
        ("-m", "-m another pixelrnn_ext", None),
        ("a.py", "a.py -m pixelrnn_ext", None),
    ],
)
def test_which_command_a_process_is(monkeypatch, argv, options, command):
    monkeypatch.setattr(sys, "argv", [argv])
    monkeypatch.setattr(sys, "orig_argv", ["python", *options.split()])
    assert _command.running_command() == command


@pytest.mark.parametrize(
    ("command", "name"), [("-m pixelrnn_ext info", "python -m pixelrnn_ext"), ("pixelrnn info", "pixelrnn")]
)
@pytest.mark.parametrize(
    ("torch", "status", "said"),
    [(INTERRUPTED, 130, "interrupted"), (BROKEN, 2, "{name}: torch is not whole")],
    ids=["interrupted", "broken"],
)
def test_an_import_that_fails_ends_the_command_in_one_line(tmp_path, command, name, torch, status, said):
    done = start(tmp_path, torch, command)
    assert (done.returncode, done.stderr) == (status, f"{said.format(name=name)}\n")


# A thread that never ends. When the command is done, it sends signals, of which the first one may come just before the
# main thread begins to wait for this thread, which the signal then does not wake. It does not join the main thread,
# because Python's end and such a join may meet in an AssertionError.
SIGNALS = "map(lambda _: os.kill(os.getpid(), 15) or time.sleep(0.01), iter(int, 1))"
THREAD = f"lambda: (done.wait(), *{SIGNALS})"


@pytest.mark.parametrize("thread", ["int", pytest.param(THREAD, marks=pytest.mark.sweep)], ids=["", "thread"])
@pytest.mark.parametrize(("number", "status", "said"), [(0, 0, ""), (signal.SIGINT, 130, "interrupted\n")], ids=str)
def test_signals_while_python_ends_leave_the_exit_status(number, status, said, thread):
    program = f"""
import atexit, os, signal, sys, threading, time
from pixelrnn_ext import __main__
from pixelrnn_ext.cli import info
info.run = lambda *_: os.kill(os.getpid(), {number:d}) or 0
for number in (signal.SIGINT, signal.SIGTERM):
    atexit.register(os.kill, os.getpid(), number)
done = threading.Event()
threading.Thread(target={thread}).start()
status = __main__.main()
done.set()
sys.exit(status)
"""
    done = child.python("-c", program)
    assert (done.returncode, done.stderr) == (status, said)


def test_another_program_is_told():
    with pytest.raises(ImportError), _command.without_traceback(None):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        raise ImportError


def test_ctrl_c_is_as_before_when_the_imports_are_done():
    with _command.without_traceback("pixelrnn"):
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_unknown_instruction_set_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as ended, _command.without_traceback("pixelrnn"):
        library._set_instruction_set("foo", "PIXELRNN_INSTRUCTION_SET")
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("pixelrnn: PIXELRNN_INSTRUCTION_SET: expected an instruction set of this machine")
    assert said.endswith("got 'foo'\n") and said.count("\n") == 1


# Runs two commands, and prints the modules that are loaded at their end.
MODULES = """
import sys
from pixelrnn_ext import cli
status = cli.main(["sample", sys.argv[1], "--out", "new.png"]) or cli.main(["evaluate", sys.argv[1]])
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""
# Packages that take a second or more to import, or that only other commands need.
HEAVY = ("torchvision", "torch._dynamo", "torch._inductor", "torch.onnx", "sympy", "triton", "matplotlib", "skimage")


def test_commands_import_no_heavy_package_that_they_do_not_use(trained, tmp_path):
    done = child.python("-c", MODULES, trained[0], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = done.stderr.split()
    heavy = [module for module in loaded if f"{module}.".startswith(tuple(f"{package}." for package in HEAVY))]
    assert "pixelrnn_ext.cli" in loaded and not heavy, f"expected none of {', '.join(HEAVY)}, got {heavy[:5]}"


def add_package(folder):
    (folder / "pixelrnn_ext").mkdir(parents=True)
    (folder / "pixelrnn_ext" / "__init__.py").touch()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A source folder without built libraries, which `python -m` imports."""
    folder = tmp_path / "checkout"
    monkeypatch.setattr(library, "__file__", str(folder / "pixelrnn_ext" / "operators" / "library.py"))
    monkeypatch.setattr(library, "_is_built", lambda module: False)
    monkeypatch.setattr(library, "BUILD", dict.fromkeys(library.BUILD))
    monkeypatch.setattr(sys, "path", [str(folder), str(tmp_path / "site")])
    add_package(folder)
    return folder


def test_a_checkout_says_what_to_do_and_what_it_hides(checkout, tmp_path, monkeypatch):
    assert library.hidden_installation() is None
    why = f"the source folder {checkout} was not built: pip install -e {checkout} builds it in place"
    assert library._load_native() == library._load_cuda() == why
    site = tmp_path / "site"
    add_package(site)
    importlib.invalidate_caches()
    assert library.hidden_installation() == site
    why = (
        f"the source folder {checkout} comes first on Python's path and hides the package that is installed in "
        f"{site}: run from another folder, or build this one in place with pip install -e {checkout}"
    )
    assert library._load_native() == library._load_cuda() == why
    # A package without libraries need not be a source folder. It may have been built without a compiler.
    monkeypatch.setitem(library.BUILD, "why_no_native", "there is no g++")
    assert library.hidden_installation() is None
    assert library._load_native() == "pixelrnn_ext was built without its CPU kernels: there is no g++"


# A program with an outdated library, whose operator has another schema than the Python files expect.
STALE = """
import sys, torch
load, stale = torch.ops.load_library, torch.library.Library("pixelrnn_ext", "FRAGMENT")
torch.ops.load_library = lambda path: stale.define(sys.argv[2]) if path.stem == sys.argv[1] else load(path)
import pixelrnn_ext
pixelrnn_ext.RowLSTM(1, 2)(torch.zeros(1, 1, 3, 3))
config = pixelrnn_ext.build_config()
print(config["why_no_native"], config["why_no_cuda"], sep="\\n")
"""


@pytest.mark.parametrize(
    ("module", "kernels", "schema"),
    [("_C", "CPU", "round_to_grid(Tensor(a!) x, int bits) -> ()"), ("_C_cuda", "CUDA", "why_no_gpu() -> int")],
)
def test_a_stale_library_is_refused_and_pytorch_runs(tmp_path, module, kernels, schema):
    if not library._is_built(module):
        pytest.skip(f"{module} is not built")
    variables = child.environment() | {"PIXELRNN_INSTRUCTION_SET": "baseline"}
    command = [sys.executable, "-c", STALE, module, schema]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    why = dict(zip(("CPU", "CUDA"), done.stdout.splitlines()))[kernels]
    expected = f"the {kernels} kernels beside the package are of other sources, expected operators "
    assert why.startswith(f"{expected}{library.SCHEMAS[module]}, got ")
    assert why.endswith(": build them again (pip install -e .)")


@pytest.mark.parametrize("why", [library.why_no_native(), library.why_no_cuda()], ids=["CPU", "CUDA"])
def test_the_libraries_are_of_these_sources(why):
    """If this fails after you changed an operator's schema, `make schemas` records its hash."""
    assert "of other sources" not in (why or "")


def test_the_hash_of_the_schemas_sees_every_change(monkeypatch):
    monkeypatch.setattr(torch._C, "_jit_get_schemas_for_operator", lambda name: [torch._C.parse_schema(name)])
    schema = "scan(Tensor x, Tensor[] maps, int n) -> Tensor"
    changes = ("scan", "scans"), ("x", "y"), ("Tensor x", "Tensor? x"), ("Tensor[]", "int[]"), ("int n", "int n=1")
    changes += ("-> Tensor", "-> int"), (", int n", "")
    schemas = [schema, *(schema.replace(*change) for change in changes)]
    assert len({library._hash_of_schemas({schema}) for schema in schemas}) == len(schemas)
    assert library._hash_of_schemas(schemas) == library._hash_of_schemas(schemas[::-1])


def test_a_torch_that_does_not_describe_schemas_is_no_error(monkeypatch):
    monkeypatch.delattr(torch._C, "_jit_get_schemas_for_operator")
    assert library._hash_of_schemas({"pixelrnn_ext::scan"}) is None
    monkeypatch.delattr(torch._C, "_dispatch_get_all_op_names")
    assert library._operators() == set()


# Defines faults(), the number of page faults of repeated allocations.
FAULTS = """
import os, resource
def faults():
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [bytearray(b"x") * (1 << 20) for _ in range(20)]
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        del blocks
    return faults
"""
# Source of a module torch that prints the number of page faults, and OpenMP's variables.
SETTINGS = f"""{FAULTS}
waiting = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
print(faults(), {{name: os.environ[name] for name in waiting if name in os.environ}})
raise ImportError
"""
# Prints the number of page faults after an import of the package, the result of the call, and the number after it.
KEEP = f"""{FAULTS}
import pixelrnn_ext as px
print(faults(), px.keep_freed_memory(), faults())
"""
FEW = 20 * (1 << 20) // os.sysconf("SC_PAGE_SIZE") / 4
MALLOC_VARIABLES = [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]
BRIEFLY = {"GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize(
    ("command", "variables", "waiting", "keeps"),
    [
        ("-m pixelrnn_ext info", {}, BRIEFLY, True),
        ("pixelrnn info", {}, BRIEFLY, True),
        ("pixelrnn info", {"MALLOC_TRIM_THRESHOLD_": "131072"}, BRIEFLY, False),
        *(("pixelrnn info", {name: "1"}, {name: "1"}, True) for name in ("OMP_WAIT_POLICY", *BRIEFLY, "KMP_BLOCKTIME")),
        # `bench` keeps the default OpenMP, and sets malloc later, because users' own programs have them.
        ("-m pixelrnn_ext bench", {}, {}, False),
        ("another.py", {}, {}, False),
    ],
)
def test_a_command_keeps_its_pages_and_lets_its_threads_wait_briefly(
    tmp_path, monkeypatch, command, variables, waiting, keeps
):
    for name in (*MALLOC_VARIABLES, *WAIT_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "another.py").write_text("import pixelrnn_ext")
    faults, found = start(tmp_path, SETTINGS, command).stdout.strip().split(maxsplit=1)
    assert found == str(waiting)
    if platform.libc_ver()[0] == "glibc":
        assert (int(faults) < FEW) == keeps


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(
    ("variables", "keeps"),
    [
        ({}, True),
        ({"MALLOC_ARENA_MAX": "2"}, False),
        pytest.param({"GLIBC_TUNABLES": ""}, False, marks=pytest.mark.sweep),
    ],
)
def test_a_script_keeps_its_pages_from_its_call_on(tmp_path, variables, keeps):
    environment = child.environment(without=MALLOC_VARIABLES) | variables
    done = child.python("-c", KEEP, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    before, result, after = done.stdout.split()
    assert int(before) > FEW and result == str(keeps) and (int(after) < FEW) == keeps


@pytest.mark.parametrize("preloaded", [False, True])
def test_a_malloc_that_replaces_glibcs_is_not_configured(monkeypatch, preloaded):
    for name in MALLOC_VARIABLES:
        monkeypatch.delenv(name)
    found = ctypes.CDLL(None)
    glibc = SimpleNamespace(malloc=found.malloc, mallopt=Mock())
    process = SimpleNamespace(malloc=found.calloc if preloaded else found.malloc)
    monkeypatch.setattr(ctypes, "CDLL", {"libc.so.6": glibc, None: process}.get)
    assert keep_freed_memory() == glibc.mallopt.called == (not preloaded)


def test_a_system_without_glibc_is_not_configured(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", Mock(side_effect=OSError))
    assert not keep_freed_memory()
