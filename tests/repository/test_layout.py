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


# {top folder: the top folders from which its files may import besides itself and the package}
MAY_IMPORT = {
    "pixelrnn_ext": (),
    "build_tools": (),
    "benchmarks": ("build_tools",),
    "docs": (),
    "examples": (),
    ".ci": (),
    ".github": (),
    "tests": ("build_tools", "benchmarks", "docs", "examples"),
}
# Folders of tests/ from which any test may import.
SHARED = {"helpers", "core", "emulator"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


@cache
def modules(top):
    """Returns the names that Python finds if a top folder is on its path. Python does not look into the package."""
    folders = {"pixelrnn_ext": (), "docs": (ROOT / "docs", ROOT / "docs" / "faults")}.get(top, (ROOT / top,))
    return {path.stem for folder in folders for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}


@pytest.mark.parametrize("top", MAY_IMPORT)
def test_a_top_folder_imports_only_from_those_that_it_may(top):
    # Several folders may have the same name: tests/benchmarks has tests, `import benchmarks` finds the other folder.
    banned = set().union(*map(modules, MAY_IMPORT)) - modules(top).union(MAY_IMPORT, *map(modules, MAY_IMPORT[top]))
    if top == "tests":
        banned |= modules("tests") - SHARED - set(MAY_IMPORT).union(*map(modules, MAY_IMPORT["tests"]))
    for path in (ROOT / top).rglob("*.py"):
        for name in imported(path):
            words = name.split(".")
            assert words[0] not in banned, f"{path.relative_to(ROOT)} imports {name}"
            assert not any(word.startswith("test_") for word in words), f"{path.relative_to(ROOT)} imports {name}"
