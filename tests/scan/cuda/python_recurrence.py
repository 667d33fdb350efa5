"""Computes the CUDA operators of a recurrence in PyTorch."""

import torch

from pixelrnn_ext.operators.scan import eager
from pixelrnn_ext.operators.scan.arguments import OPERANDS, Scan
from pixelrnn_ext.operators.scan.sizes import inside_mask

from .borders import border_sums, neighbour_states


class PythonRecurrence:
    """Replaces the CUDA operators by PyTorch. Outside of images, c and the gates are NaN, which must not be used."""

    neighbour_states, border_sums = staticmethod(neighbour_states), staticmethod(border_sums)

    def recurrence(self, *args):
        # x already includes the product of input and weight_ih, and the bias.
        self.s = s = Scan(*args)._replace(input=None, weight_ih=None, bias=None, merge="none")
        _, h, c, gates = eager.scan(s)
        inside = True if s.sizes is None else inside_mask(s.sizes, *c.shape[2:4], c.device)[..., None]
        if s.weight_hh.shape[3] == 4:  # the compiled kernels write the directions first
            h = h.permute(3, 0, 1, 2, 4).contiguous().permute(1, 2, 3, 0, 4)
        return h, *(torch.where(torch.as_tensor(inside), m, torch.nan) for m in (c, gates))

    def recurrence_backward(self, dh, c, gates, *args):
        """Returns the gradients of the recurrence with respect to x and to c0, the cell state outside of the images.

        A CUDA kernel returns the gradient of c0 as partial sums. Here all sums but the first are 0.
        """
        s, (directions, images, height, width, hidden) = self.s, c.shape
        assert Scan(*args)[9:13] == s[9:13] and dh.shape == (images, height, width, directions, hidden)
        wanted = [name in ("x", "c0") for name in OPERANDS]
        found = eager.operand_gradients((None, dh, None, None), s, wanted)
        dc_left = c.new_zeros(directions, images, height if s.diagonal else width, hidden)
        if "c0" in found and dc_left.numel():
            dc_left[:, :, 0] = found["c0"]
        return found["x"], dc_left, c.new_zeros(directions, images if s.weight_hh.shape[3] == 5 else 0, hidden)
