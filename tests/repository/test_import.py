import shutil
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses import FakeTensorMode

import pixelrnn_ext
from helpers import child
from pixelrnn_ext.operators import backends, library
from pixelrnn_ext.operators.precision import allows_tf32

# Prints the processor time of an import, as a part of that of torch, and the modules that it loads.
IMPORT = """
import sys, time
start = time.process_time()
import torch
before, torchs = set(sys.modules), time.process_time() - start
import pixelrnn_ext
print((time.process_time() - start) / torchs - 1, *sorted(set(sys.modules) - before))
"""
HEAVY = ("torch._dynamo", "torch._inductor", "sympy", "triton", "pixelrnn_ext.benchmark", "pixelrnn_ext.training")


def test_import_is_light(tmp_path):
    environment = child.environment(without=["PYTHONDONTWRITEBYTECODE"])
    parts = []
    for _ in range(3):  # the first import may compile the sources
        part, *loaded = printed_by(IMPORT, cwd=tmp_path, env=environment).split()
        parts.append(float(part))
        heavy = [name for name in loaded if any(f"{name}.".startswith(f"{module}.") for module in HEAVY)]
        assert "pixelrnn_ext" in loaded and not heavy, f"expected none of {', '.join(HEAVY)}, got {heavy[:5]}"
        if parts[-1] <= 1 / 8:
            return
    pytest.fail(f"expected at most an eighth of the time of torch's import, got {min(parts):.3f} of it")


@pytest.mark.parametrize(
    "get", [lambda: allows_tf32("rnn"), lambda: library.why_no_code(torch.device("cuda"))], ids=["tf32", "code"]
)
def test_what_a_layer_asks_on_a_gpu_is_a_constant_of_compiled_code(get):
    """torch.compile cannot trace the functions by which a layer asks for the GPU's settings.

    Compiled code must therefore treat the results of these functions as constants.
    """

    @torch.compile(fullgraph=True, backend="eager")
    def compiled(x):
        return x + 1 if get() else x - 1

    assert compiled(torch.zeros(1)).item() == (1 if get() else -1)


@pytest.mark.filterwarnings("ignore:plain PyTorch runs on the GPU")
def test_a_gpu_that_the_kernels_have_no_code_for_gets_the_reference(monkeypatch):
    monkeypatch.setattr(library, "why_no_cuda", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 9) if index else (7, 0))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    operators = SimpleNamespace(why_no_code=lambda capability: "no code" if capability == 70 else "")
    monkeypatch.setattr(torch.ops, "pixelrnn_ext", operators)
    library._why_no_code.cache_clear()
    chosen = {index: backends.choose("auto", torch.device("cuda", index)) for index in (0, 1, 7, None)}
    assert chosen == {0: None, 1: "auto", 7: "auto", None: None}, "of the GPU 7, which is elsewhere, nothing is known"
    with pytest.raises(RuntimeError, match="^backend='native' cannot run: no code$"):
        backends.choose("native", torch.device("cuda"))
    library._why_no_code.cache_clear()


@pytest.fixture
def without_cuda_kernels(monkeypatch):
    """Stands for a GPU beside a build without CUDA kernels."""
    monkeypatch.setattr(backends, "_warned", set())
    monkeypatch.setattr(library, "why_no_cuda", lambda: "no CUDA kernels")


def run_a_layer():
    with FakeTensorMode():
        pixelrnn_ext.DiagonalLSTM(1, 8, device="cuda")(torch.empty(1, 1, 2, 2, device="cuda"))


@torch.compile(fullgraph=True, backend="eager")
def choose_in_compiled_code(x):
    return x + 1 if backends.choose("auto", torch.device("cuda")) else x


without_cuda = pytest.mark.skipif(
    torch.version.cuda is None, reason="a torch without CUDA has no fake tensors of a GPU"
)
CALLS = [
    pytest.param(run_a_layer, id="layer", marks=without_cuda),
    pytest.param(lambda: choose_in_compiled_code(torch.zeros(1)), id="compiled"),
]


@pytest.mark.parametrize("call", CALLS)
def test_pytorch_on_a_gpu_is_said_once(call, without_cuda_kernels):
    with pytest.warns(RuntimeWarning) as said:
        for _ in range(2):
            call()
    [text] = [str(warning.message) for warning in said if "plain PyTorch" in str(warning.message)]
    assert "slower than the CUDA kernels: no CUDA kernels (docs/install.md says how to get kernels for a GPU" in text


def test_a_chosen_reference_and_a_cpu_are_not_warned_of(without_cuda_kernels, monkeypatch):
    monkeypatch.setattr(library, "_why_no_native", "no compiler")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backends.choose("reference", torch.device("cuda")) is None
        assert backends.choose("auto", torch.device("cpu")) is None


def test_a_driver_older_than_torchs_cuda_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(library, "why_no_cuda", lambda: None)

    def why(driver):
        operators = SimpleNamespace(why_no_gpu=lambda: "", driver_version=lambda: driver)
        monkeypatch.setattr(torch.ops, "pixelrnn_ext", operators)
        return library.why_no_gpu()

    needs = f"torch {torch.__version__} needs NVIDIA's driver for CUDA 13.2, found one for CUDA 12.2: "
    assert why(12020) == f"{needs}update the driver, or install a torch for CUDA 12"
    assert why(13000) == f"NVIDIA's driver has a GPU, but torch {torch.__version__} can use none"


COMPUTE = """
assert px.DiagonalLSTM(1, 2)(torch.ones(1, 1, 2, 2)).isfinite().all()
config = px.build_config()
"""
# Pretends that torch has no CUDA. The package can still plan launches.
BESIDE_A_CPU_ONLY_TORCH = f"""
import torch
torch.version.cuda = None
import pixelrnn_ext as px
{COMPUTE}
print(config["why_no_cuda"], config["why_no_gpu"], sep="|")
print(px.resident_plan(32, 32, 128, dtype=torch.bfloat16, capability=(9, 0)).forward)
"""


@pytest.mark.skipif(library.why_no_planner() is not None, reason=f"{library.why_no_planner()}")
def test_beside_a_cpu_only_torch_the_cuda_kernels_are_planned_but_not_run(tmp_path):
    first, plan = printed_by(BESIDE_A_CPU_ONLY_TORCH, cwd=tmp_path).splitlines()
    reason = library.why_no_cuda() or f"torch {torch.__version__} is built without CUDA"
    assert first == f"{reason}|{reason}" and plan.startswith("forward_bf16_")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's driver")
@pytest.mark.skipif(library.why_no_cuda() is not None, reason=f"{library.why_no_cuda()}")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_what_is_missing():
    why = library.build_config()["why_no_gpu"]
    assert why.startswith(("expected NVIDIA's driver, got none: libcuda.so.1: ", "expected a GPU, but "))
    with pytest.raises(RuntimeError) as raised:
        pixelrnn_ext.resident_plan(3, 4, 8)
    assert str(raised.value).splitlines()[0].endswith(why)


DAMAGED = f"""
import sys
import torch
import pixelrnn_ext as px
assert px.__file__.startswith(sys.argv[1]), px.__file__
{COMPUTE}
assert config["why_no_gpu"] == config["why_no_cuda"]
print(config["native"], config["why_no_cuda"], sep="|")
"""


def test_cuda_kernels_that_do_not_load_leave_the_cpu_kernels_and_a_reason(tmp_path):
    """The package ignores libraries with names of older versions, such as _C.abi3.so."""
    package = tmp_path / "pixelrnn_ext"
    left_out = shutil.ignore_patterns("_C_cuda*", "__pycache__")
    shutil.copytree(Path(pixelrnn_ext.__file__).parent, package, ignore=left_out)
    for name in ("_C_cuda", "_C.abi3", "_C_cuda.abi3"):
        (package / f"{name}.so").write_text("a stand-in, which does not load")
    printed = printed_by(DAMAGED, tmp_path, cwd=tmp_path, env=child.environment(tmp_path))
    native, reason = printed.strip().split("|", 1)
    assert native == str(pixelrnn_ext.build_config()["native"])
    assert f"do not load on torch {torch.__version__}: " in reason and "file too short" in reason


def printed_by(program, *arguments, **options):
    done = child.python("-c", program, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout
