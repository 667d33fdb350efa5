import torch

from pixelrnn_ext.incremental.row_steps import RowCopy


class OnlySteps:
    """A network of given steps. Its row steps read all buffers, so that the kernel stores these in global memory."""

    def __init__(self, rows, buffers, steps):
        self.rows, self._steps, self.before_row = rows, steps, []
        self.after_row = [RowCopy(torch.zeros_like(rows.within(b)), rows.within(b)) for b in buffers]

    def steps(self, colour):
        return self._steps

    def mirrored_steps(self):
        return []
