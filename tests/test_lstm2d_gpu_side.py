"""What surrounds the recurrence of LSTM2d on a GPU (operators/lstm2d/gpu.py), with a recurrence in Python: products,
borders and sums, on any machine. tests/test_emulated_lstm2d.py has the kernels in its place."""

import pytest
import torch

from checks import assert_close
from lstm2d import VARIANTS
from pixelrnn_ext.operators.lstm2d import eager, gpu
from pixelrnn_ext.operators.lstm2d.rules import _gradients_fake
from test_lstm2d_operators import GRADIENTS, arguments

SIZES = torch.tensor([(4, 5), (0, 3), (9, 1)])  # full, empty, and of one column, beyond its map


class PythonRecurrence:
    """recurrence2d as the operator's decomposition, whose input is x itself."""

    def recurrence2d(self, x, *rest):
        *operands, self.corners, self.cell, _, _ = rest
        self.x, self.operands = x, operands
        h, c, gates = self.scan(x, *operands)
        # Nobody may read what is outside of the images.
        inside = (gates != 0).any(-1, keepdim=True)
        return h, torch.where(inside, c, torch.nan), torch.where(inside, gates, torch.nan)

    def scan(self, x, weight, h0, c0, peepholes, sizes):
        directions, _, hidden, gates, _ = weight.shape
        identity = torch.eye(directions * gates * hidden, dtype=x.dtype).unflatten(0, (directions, -1))
        weight_ih = gpu._unrows(identity, hidden).unsqueeze(1)
        x = x.permute(1, 2, 3, 0, 4).flatten(3)
        return eager.lstm2d_scan(x, weight_ih, weight, None, h0, c0, peepholes, sizes, self.corners, self.cell)

    def recurrence2d_backward(self, dh, *_):
        """The gradient of every border's c comes before the first row of the first image."""
        weight, h0, c0, peepholes, sizes = self.operands
        border = torch.zeros(weight.shape[0], weight.shape[2], dtype=dh.dtype) if c0 is None else c0

        def of_x_and_border(x, border):
            return self.scan(x, weight, h0, border, peepholes, sizes)[0]

        dx, dc0 = torch.func.vjp(of_x_and_border, self.x.detach(), border.detach())[1](dh)
        dc_left = dh.new_zeros(dh.shape[3], *dh.shape[:2], dh.shape[4])
        dc_left[:, 0, 0] = dc0
        return dx, dc_left, dh.new_zeros(dh.shape[3], dh.shape[0] if weight.shape[3] == 5 else 0, dh.shape[4])


@pytest.mark.covering(2)
@pytest.mark.parametrize("states", [False, True], ids=["zero", "learned"])
@pytest.mark.parametrize("sizes", [None, SIZES], ids=["full", "ragged"])
@pytest.mark.parametrize("directions", [1, 2, 4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gpus_side_is_the_decomposition(variant, directions, sizes, states):
    scan = arguments(variant, directions, sizes=False, states=states, bias=states)
    scan[7] = sizes
    with torch.no_grad():
        if sizes is not None:
            scan[0][1], scan[0][2, :, 1:] = torch.nan, torch.nan
        ops = PythonRecurrence()
        h, c, gates = gpu.lstm2d_scan(ops, *scan)
        assert_close("h", eager.lstm2d_scan(*scan)[0], h, 1e-13)
        *operands, sizes, corners, cell = scan
        dh = torch.randn_like(h)
        backward = dh, *operands, sizes, h, c, gates, corners, cell, True, True, True
        got, expected, fake = (
            gpu.lstm2d_gradients(ops, *backward),
            eager.lstm2d_gradients(*backward),
            _gradients_fake(*backward),
        )
        for name, g, e, f in zip(GRADIENTS, got, expected, fake, strict=True):
            assert (g.shape, g.dtype) == (f.shape, f.dtype) and (not g.numel() or g.stride() == f.stride()), name
            assert_close(name, e, g, 1e-12)
