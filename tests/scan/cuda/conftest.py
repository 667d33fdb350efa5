import pytest

from helpers.gpu import strict_products

from .gpus import CARD, MARKS, Gpu


@pytest.fixture(params=[pytest.param(name, marks=mark) for name, mark in MARKS.items()])
def gpu(request, record_property):
    """A GPU of gpus.py. A test may change the properties of an emulated GPU."""
    name = request.param
    if name == "card":
        gpu = CARD
    else:
        from helpers.emulated import library  # its import needs a CUDA compiler

        emulated = library.load(name)
        emulated.emulator.schedule("burst")
        emulated.emulator.mutate_none()
        gpu = Gpu(name, emulated.ops, "cpu", emulated.emulator)
    with strict_products():
        yield gpu
    if gpu.emulator:
        gpu.emulator.take_shared_memory(0)
        gpu.emulator.device(name)
    for (format, results), ratio in gpu.worst.items():
        record_property("error", (f"{format} {results}", ratio))
