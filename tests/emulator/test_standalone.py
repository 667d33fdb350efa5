import ast
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PYTHON = sorted(HERE.rglob("*.py"))
CUDA = sorted(path for path in HERE.rglob("*") if path.suffix in (".h", ".cpp", ".cu", ".cuh"))
TESTS_IMPORT = {"pytest", "torch"}


def name(path):
    return path.relative_to(HERE).as_posix()


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_no_import_and_no_path_leaves_the_folder(path):
    depth = len(path.relative_to(HERE).parts)
    allowed = sys.stdlib_module_names | (TESTS_IMPORT if path.name.startswith("test_") else set())
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= depth
        elif isinstance(node, ast.ImportFrom):
            assert node.module.partition(".")[0] in allowed
        elif isinstance(node, ast.Attribute):
            assert node.attr != "parents"
            assert not (node.attr == "parent" and getattr(node.value, "attr", "") == "parent")


def test_no_include_leaves_the_folder():
    headers = {name(path) for path in CUDA}
    for path in CUDA:
        for included in re.findall(r'^ *# *include *"(.*)"', path.read_text(), re.MULTILINE):
            assert ".." not in included and {included, name(path.parent / included)} & headers, f"{path}: {included}"
