"""The package's modules form layers: a module imports only modules of lower layers."""

import ast
import importlib.util
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pixelrnn_ext
from helpers.root import ROOT

PACKAGE = Path(pixelrnn_ext.__file__).parent
SOURCES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


@cache
def imports(name):
    found, package = set(), name if SOURCES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(SOURCES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                found.add(f"{base}.{alias.name}" if f"{base}.{alias.name}" in SOURCES else base)
    return found


@pytest.mark.parametrize("depth", [1, 2, 3], ids=["rooms", "rooms in rooms", "modules"])
def test_no_import_circle(depth):
    def prefix(name):
        return ".".join(name.split(".")[: depth + 1])

    below = {}
    for name in SOURCES:
        below.setdefault(prefix(name), set()).update(prefix(other) for other in imports(name) if other in SOURCES)
    for name, others in below.items():
        others.discard(name)
    # Raises CycleError, which shows the cycle, if modules import each other.
    order = list(TopologicalSorter(below).static_order())
    for chain in (["masks", "layers", "cli"], ["incremental", "sampling", "models"], ["codec", "models"]):
        assert sorted(chain, key=lambda name: order.index(f"pixelrnn_ext.{name}")) == chain


def test_no_include_circle_of_the_cuda_kernels():
    """Also checks that the driver knows neither the scans nor the sampler, and the scans not the sampler."""
    top, below = ROOT / "csrc" / "cuda", {}
    for path in top.rglob("*.*"):
        for name in re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE):
            room = (path.parent / name).resolve().parent
            if room.is_relative_to(top) and room != path.parent:
                below.setdefault(path.parent.name, set()).add(room.name)
    assert below == {"driver": {"cuda"}, "scan": {"cuda", "driver"}, "sampler": {"cuda", "driver", "scan"}}


TESTS = ROOT / "tests"
# Folders of tests/ from which any test may import.
SHARED = {"helpers", "core", "emulator", "sass_model"}


def test_no_test_imports_from_a_test():
    folders = {path.name for path in TESTS.iterdir() if path.is_dir()}
    # An import of `benchmarks` means the repository's folder, not tests/benchmarks.
    private = folders - SHARED - {"benchmarks"}
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            module = f"{'.' * node.level}{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                words = f"{module}{alias.name}".split(".")
                where = f"{path.relative_to(TESTS)} imports {module}{alias.name}"
                assert not any(word.startswith("test_") for word in words), where
                assert words[0] not in private, where
