"""Makes the sampler use an emulated GPU for tensors on the CPU."""

from pixelrnn_ext.incremental import block, gpu
from pixelrnn_ext.operators import columns, library

from .library import load


class Replay:
    """Replaces a CUDA graph: each replay calls the captured function."""

    def __init__(self, device, run):
        self.replay = run


def use_emulated_gpu(monkeypatch, arch="sm_90", schedule="burst", blocks=0):
    """Replaces the CUDA operators and CUDA graphs until the test ends. Returns the emulator's controls.

    ``blocks`` is the number of blocks that draw an image, or 0 for any number. If it is None, the sampler never draws
    whole images in one launch.
    """
    emulated = load(arch)
    emulated.emulator.set_schedule(schedule)
    emulated.emulator.clear_mutations()

    def run(tensors, code, margin, temperature, on_grid, *streams):
        emulated.ops.run_columns(tensors, code, margin, temperature, on_grid, *streams)

    def plan_rows(tensors, programs, height, capability, wanted=0):
        if blocks is None:
            raise columns.CannotRun("expected no image in one launch")
        team = columns._plan(emulated.ops.plan_rows, tensors, *programs, height, blocks or wanted, capability)
        return columns.Team(*team)

    def upload_rows(tensors, programs, height, blocks):
        return emulated.ops.upload_rows(tensors, *programs, height, blocks)

    def draw_rows(tensors, plan, maps, *rows):
        emulated.ops.draw_rows(tensors, plan, *maps, *rows)

    monkeypatch.setattr(columns, "is_gpu", lambda device: True)
    monkeypatch.setattr(columns, "run", run)
    monkeypatch.setattr(columns, "plan_rows", plan_rows)
    monkeypatch.setattr(columns, "upload_rows", upload_rows)
    monkeypatch.setattr(columns, "draw_rows", draw_rows)
    monkeypatch.setattr(library, "why_no_cuda", lambda: None)
    monkeypatch.setattr(gpu, "capture", Replay)
    monkeypatch.setattr(block, "wait", lambda device: None)
    return emulated.emulator
