import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import pixelrnn_ext as px

NOT_IMPORTED = {"__main__", "_C", "_C_cuda", "operators.masked_conv.gpu_kernels"}
# Functions whose examples need CUDA kernels or a trained model.
NEEDS_MORE = {
    "pixelrnn_ext.operators.scan.plan.resident_plan",
    "pixelrnn_ext.sampling.sampling_plan",
    "pixelrnn_ext.training.checkpoint.load_model",
}


def documented():
    for info in pkgutil.walk_packages(px.__path__, "pixelrnn_ext."):
        if info.name.removeprefix("pixelrnn_ext.") in NOT_IMPORTED:
            continue
        for test in doctest.DocTestFinder().find(importlib.import_module(info.name)):
            if test.examples:
                yield test


EXAMPLES = {test.name: test for test in documented()}


def test_every_layer_and_model_has_an_example():
    shown = {name.rpartition(".")[2] for name in EXAMPLES}
    public = [name for name in px.__all__ if isinstance(getattr(px, name), type)]
    assert public and set(public) <= shown


@pytest.mark.parametrize("layer", [px.RowLSTM, px.DiagonalLSTM, px.DiagonalBiLSTM, px.LSTM2d, px.MaskedConv2d])
def test_every_argument_of_a_layer_is_described(layer):
    _, _, rest = inspect.getdoc(layer).partition("Args:\n")
    section, _, _ = rest.partition("\n\n")
    described = ", ".join(re.findall(r"^    ([a-z_, ]+): ", section, re.MULTILINE))
    assert described.split(", ") == list(inspect.signature(layer).parameters)
    assert "Raises:" in rest


def test_no_function_repeats_another_one_s_docstring():
    where = {}
    for path in Path(px.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and (docstring := ast.get_docstring(node)):
                where.setdefault(docstring, []).append(f"{path}: {node.name}")
    assert not [places for places in where.values() if len(places) > 1]


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name):
    test = EXAMPLES[name]
    skipped = any(example.options.get(doctest.SKIP) for example in test.examples)
    assert skipped == (name in NEEDS_MORE)
    test.globs = {**vars(px), **test.globs, "torch": torch}
    output = []
    failed, run = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
    assert not failed, "".join(output)
    assert run or skipped
