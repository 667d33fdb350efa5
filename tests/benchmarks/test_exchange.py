from pathlib import Path

import pytest
import torch

import bench_gpu
from harness import exchange
from harness.exchange import EXCHANGES, Exchange, Gpu
from pixelrnn_ext.benchmark.children import Ended


def test_strides_volumes_and_the_launch_are_those_of_the_kernels(core):
    for blocks in (2, 4, 8):
        units = 128 // blocks
        sizes = dict(hidden=128, taps=2, blocks=blocks, tiles=4, segments=True)
        s = core.Tiling(format=core.Format.bf16, backward=False, **sizes)
        row, chunk, columns = s.stride(True), s.chunk_stride(True), 2 * units // 16
        states = Exchange(blocks, 32, columns, row, chunk, columns * chunk, s.line_bytes(True))
        assert EXCHANGES[f"forward h128, {blocks} blocks"] == states
        s = core.Tiling(format=core.Format.bf16, backward=True, **sizes)
        floats = s.part_floats(True)
        sums = Exchange(blocks, 8, floats // blocks // 32, 16, 128 * blocks, 128, 4 * floats)
        assert EXCHANGES[f"backward h128, {blocks} blocks"] == sums
    pieces = {name: e.pieces for name, e in EXCHANGES.items() if e.blocks == 8}
    assert list(pieces.values()) == [56, 448, 1792, 896]
    assert bench_gpu.LAUNCH_US == pytest.approx(1e6 * core.Constants().launch)


class FakeGpu(Gpu):
    """A GPU whose launches take made-up clock cycles. ``lost`` is the number of threads that receive wrong values."""

    lost = 0

    def __init__(self, machine_code):
        self._cycles, self._is_right = torch.zeros(8), torch.zeros(8 * exchange.THREADS)
        # In each launch, the fake GPU takes the next of these numbers of clock cycles for a line of a scan.
        self.cycles = iter((0, 40, 20, 30, 10, 60, 50))

    def launch(self, e, lines):
        self._cycles[:] = next(self.cycles) * lines
        self._is_right[: e.blocks * exchange.THREADS - self.lost] = 1


def test_what_is_measured(monkeypatch):
    name, e = next(iter(EXCHANGES.items()))
    monkeypatch.setattr(exchange, "Gpu", FakeGpu)
    monkeypatch.setattr(exchange, "compile_kernel", lambda architecture: (b"", ""))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert exchange.exchange(name) == {"blocks": 2, "pieces": e.pieces, "measured": 40}
    monkeypatch.setattr(FakeGpu, "lost", 1)
    with pytest.raises(RuntimeError, match="expected 512 threads with all pieces, got 511"):
        exchange.exchange(name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    with pytest.raises(Ended, match="expected compute capability 9.0 or later, got 8.9"):
        exchange.exchange(name)


@pytest.mark.emulated
@pytest.mark.parametrize("architecture", ["9.0", "10.0", "12.0"])
def test_the_kernel_compiles_without_a_warning(architecture):
    machine_code, log = exchange.compile_kernel(architecture)
    assert log == "" and exchange.device_code.kernels_of(machine_code) == ["exchange_2", "exchange_4", "exchange_8"]


@pytest.mark.emulated
def test_the_pieces_come_on_the_emulator():
    from emulator import toolchain
    from emulator.control import Emulator
    from helpers import nvrtc

    host, compiler = Path(__file__).with_name("driver.cpp"), nvrtc.compiler()
    library = toolchain.build_library("exchange", compiler=compiler, kernels=[exchange.KERNEL], host=[host])
    Emulator(library).set_device("sm_90")
    gpu = Gpu(b"", "cpu", str(library))
    for e in EXCHANGES.values():
        few = e._replace(rows=min(e.rows, 64))
        found = gpu.run(few, lines=3, repeats=2)
        assert found == {"blocks": e.blocks, "pieces": few.pieces, "measured": 0}
    with pytest.raises(RuntimeError, match="^cuModuleGetFunction: "):
        gpu.launch(few._replace(blocks=16), 3)
