import pytest

from helpers.gpu import strict_products

from .gpus import MARKS, REAL_GPU, Gpu


@pytest.fixture(params=[pytest.param(name, marks=mark) for name, mark in MARKS.items()])
def gpu(request, record_property):
    """An emulated GPU's properties are reset after the test."""
    name = request.param
    if name == "real":
        gpu = REAL_GPU
    else:
        from helpers.emulated import library  # this module needs a CUDA compiler

        emulated = library.load(name)
        emulated.emulator.set_schedule("burst")
        emulated.emulator.clear_mutations()
        gpu = Gpu(name, emulated.ops, "cpu", emulated.emulator)
    with strict_products():
        yield gpu
    if gpu.emulator:
        gpu.emulator.add_static_shared_memory(0)
        gpu.emulator.set_device(name)
    for (format, results), ratio in gpu.worst.items():
        record_property("error", (f"{format} {results}", ratio))
