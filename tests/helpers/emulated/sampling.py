"""Makes the sampler use an emulated GPU for tensors on the CPU."""

from pixelrnn_ext.incremental import block, gpu
from pixelrnn_ext.operators import columns, library

from .library import load

PLAN_ROWS = columns.plan_rows


class Replay:
    """Stands for a captured CUDA graph: each replay calls the function that the graph captured."""

    def __init__(self, device, run):
        self.replay = run


def use_emulated_gpu(monkeypatch, arch="sm_90", schedule="burst", whole_images=True):
    """Replaces the CUDA operators and CUDA graphs until the test ends. Returns the emulator's controls.

    If not ``whole_images``, the sampler never draws whole images in one launch.
    """
    emulated = load(arch)
    emulated.emulator.set_schedule(schedule)
    emulated.emulator.clear_mutations()

    def run(tensors, code, margin, temperature, on_grid, *streams):
        emulated.ops.run_columns(tensors, code, margin, temperature, on_grid, *streams)

    def plan_rows(*programs):
        if not whole_images:
            raise columns.CannotRun("expected no image in one launch")
        return PLAN_ROWS(*programs, int(arch.removeprefix("sm_")))

    def draw_rows(tensors, programs, margin, maps, *rows):
        emulated.ops.draw_rows(tensors, *programs, margin, *maps, *rows)

    monkeypatch.setattr(columns, "is_gpu", lambda device: True)
    monkeypatch.setattr(columns, "run", run)
    monkeypatch.setattr(columns, "plan_rows", plan_rows)
    monkeypatch.setattr(columns, "draw_rows", draw_rows)
    monkeypatch.setattr(library, "why_no_cuda", lambda: None)
    monkeypatch.setattr(gpu, "capture", Replay)
    monkeypatch.setattr(block, "wait", lambda device: None)
    return emulated.emulator
