"""The codec can read the files in tests/codec/golden, and writes the same files again, byte for byte.

The files never change. A codec that writes other bytes needs a new file format.
"""

from pathlib import Path

import pytest
import torch

from helpers import child
from pixelrnn_ext.codec import Codec
from pixelrnn_ext.training import checkpoint

FOLDER = Path(__file__).parent / "golden"

# {file: ((N, H, W) of each group of images, number of streams of each group)}. A stream is a sequence of bytes that
# codes some images of the group.
FILES = {
    "diagonal-binary": ([(5, 9, 8)], 2),
    "row-rgb": ([(2, 5, 6), (1, 3, 7)], 1),
    "cnn-17-levels": ([(3, 8, 7)], 3),
    "multiscale-conditional": ([(3, 6, 4)], 1),
}


def images_of(model, n, height, width):
    i, k, r, c = torch.meshgrid(*map(torch.arange, (n, model.image_channels, height, width)), indexing="ij")
    return (r * c * (i + 1) + 5 * r + 3 * c + 11 * i + 7 * k) % model.levels


def condition_of(model, n):
    if model.condition_channels:
        return torch.arange(n * model.condition_channels).view(n, -1, 1, 1) * 0.375 - 1
    return None


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_is_read_and_written_again(name, instruction_set):
    check(name, "auto")


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_is_that_of_pytorch_alone(name):
    check(name, "reference")


CAPABILITIES = ["default", "avx2", "avx512"]
BEST = torch.backends.cpu.get_cpu_capability().lower()
OTHER_LIBRARIES = {
    "MKL without FMA": {"MKL_CBWR": "COMPATIBLE"},
    "libm without FMA": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"},
    **{
        f"torch by {name}": {"ATEN_CPU_CAPABILITY": name}
        for number, name in enumerate(CAPABILITIES)
        if name == "default" or BEST in CAPABILITIES[number:]
    },
}


@pytest.mark.sweep
@pytest.mark.parametrize("variables", OTHER_LIBRARIES.values(), ids=OTHER_LIBRARIES)
def test_other_paths_of_the_libraries(variables, tmp_path):
    chosen = "a_golden_file_is or (test_torch and contiguous and 1)"
    child.run_tests(Path(__file__).parent, chosen, tmp_path, variables | {"OMP_NUM_THREADS": "1"})


def check(name, backend):
    model, _ = checkpoint.load_model(FOLDER / f"{name}.safetensors")
    for module in model.modules():
        if hasattr(module, "backend"):
            module.backend = backend
    sizes, streams = FILES[name]
    groups = [images_of(model, *size) for size in sizes]
    condition = condition_of(model, sizes[0][0])
    file = (FOLDER / f"{name}.prnn").read_bytes()
    codec = Codec(model)
    got = codec.decompress_groups(file, condition)
    assert len(got) == len(groups) and all(map(torch.equal, got, groups))
    assert codec.compress(groups, condition, streams=streams) == file
