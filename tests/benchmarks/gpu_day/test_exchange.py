from pathlib import Path

import pytest
import torch

from gpu_day import exchange, scan_tables
from gpu_day.exchange import EXCHANGES, Exchange, Gpu

from .made_up_day import Report


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
    assert scan_tables.LAUNCH_US == pytest.approx(1e6 * core.Constants().launch)


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


def measured(monkeypatch, capability, known=()):
    monkeypatch.setattr(exchange, "Gpu", FakeGpu)
    monkeypatch.setattr(exchange, "compile_kernel", lambda architecture: (b"", ""))
    monkeypatch.setattr(exchange, "launch", lambda: {"device_us": 2.0, "call_us": 4.0})
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    report = Report()
    exchange.measure_exchange({*list(EXCHANGES)[1:], *known}, report, "cpu")
    return report.results


def test_what_is_reported(monkeypatch):
    name, e = next(iter(EXCHANGES.items()))
    launch = {"status": "ok", "device_us": 2.0, "call_us": 4.0}
    cycles = {"status": "ok", "blocks": 2, "pieces": e.pieces, "cycles": 40}
    assert measured(monkeypatch, (9, 0)) == {"launch": launch, name: cycles}
    assert measured(monkeypatch, (9, 0), known=["launch"]) == {name: cycles}
    older = {"status": "cannot run", "note": "expected compute capability 9.0 or later, got 8.9"}
    assert measured(monkeypatch, (8, 9)) == {"launch": launch, name: older}
    monkeypatch.setattr(FakeGpu, "lost", 1)
    lost = {"status": "failed", "note": "RuntimeError: expected 512 threads with all pieces, got 511"}
    assert measured(monkeypatch, (9, 0)) == {"launch": launch, name: lost}


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
        assert found == {"blocks": e.blocks, "pieces": few.pieces, "cycles": 0}
    with pytest.raises(RuntimeError, match="^cuModuleGetFunction: "):
        gpu.launch(few._replace(blocks=16), 3)
