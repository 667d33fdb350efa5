"""Tests the error bounds for tf32 with a float64 Row LSTM that rounds the operands of its products to tf32."""

import torch

from helpers.gpu import REDUCED, strict_products

from ..bounds import REAL_GPU, REAL_GPU_GRADIENTS

CUT_BITS = 13  # mantissa bits of float32 that tf32 lacks


def exact(t):
    return t


def truncated(t):
    return (t.float().view(torch.int32) & -(1 << CUT_BITS)).view(torch.float32).double()


def rounded(t):
    bits = t.float().contiguous().view(torch.int32) + (1 << CUT_BITS - 1)
    return (bits & -(1 << CUT_BITS)).view(torch.float32).double()


class Product(torch.autograd.Function):
    """Computes a @ b. ``cut`` has functions that round the operands of a @ b, of a's gradient, and of b's gradient."""

    @staticmethod
    def forward(ctx, a, b, cut):
        ctx.save_for_backward(a, b)
        ctx.cut = cut
        return cut[0](a) @ cut[0](b)

    @staticmethod
    def backward(ctx, grad):
        (a, b), (_, cut_a, cut_b) = ctx.saved_tensors, ctx.cut
        return cut_a(grad) @ cut_a(b).mT, cut_b(a).mT @ cut_b(grad), None


def row_lstm(x, weight_ih, weight_hh, bias, input_cut, state_cut):
    """Returns the hidden states. ``x`` is [N, H, W, C], and ``weight_hh`` [3, h, 4 h] for h hidden units.

    ``input_cut`` and ``state_cut`` round the operands of the products with weight_ih and weight_hh.
    """
    n, height, width, channels = x.shape
    hidden = weight_hh.shape[1]
    gates = (Product.apply(x.reshape(-1, channels), weight_ih, input_cut) + bias).view(n, height, width, -1)
    h = c = x.new_zeros(n, width, hidden)
    rows = []
    for row in range(height):
        padded = torch.nn.functional.pad(h, (0, 0, 1, 1))
        neighbours = torch.cat([padded[:, k : k + width] for k in range(3)], -1).reshape(n * width, -1)
        product = Product.apply(neighbours, weight_hh.reshape(3 * hidden, -1), state_cut)
        i, f, g, o = (gates[:, row] + product.view(n, width, -1)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        rows.append(h)
    return torch.stack(rows, 1)


def errors(products, hidden, channels):
    """Returns the relative error of the hidden states, and the largest relative error of a gradient.

    A relative error is the norm of the error divided by the norm of the exact values. The function ``products`` rounds
    the operands of those matrix products that cuBLAS computes on a GPU.
    """
    uniform = [torch.rand(size) * 2 - 1 for size in ((channels, 4 * hidden), (3, hidden, 4 * hidden), (4 * hidden,))]
    scale = channels**-0.5, hidden**-0.5, hidden**-0.5
    leaves = [torch.randn(2, 6, 7, channels), *(u * s for u, s in zip(uniform, scale))]
    leaves = [leaf.double().requires_grad_() for leaf in leaves]
    cotangent = torch.randn(2, 6, 7, hidden, dtype=torch.float64)

    def run(input_cut, state_cut):
        h = row_lstm(*leaves, input_cut, state_cut)
        return h.detach(), *torch.autograd.grad(h, leaves, cotangent)

    # In the recurrence, cuBLAS computes only the gradient of weight_hh, and csrc/cuda the other products.
    pairs = zip(run((exact,) * 3, (exact,) * 3), run((products,) * 3, (rounded, rounded, products)))
    h, *gradients = [((a - b).norm() / a.norm()).item() for a, b in pairs]
    return h, max(gradients)


def test_the_bounds_hold_for_truncated_operands():
    h, gradient = errors(truncated, 16, 3)
    assert h < REAL_GPU["tf32"] and gradient < REAL_GPU_GRADIENTS["tf32"]
    assert h > REAL_GPU["tf32"] / 2 and gradient > REAL_GPU_GRADIENTS["tf32"] / 2
    h, gradient = errors(rounded, 16, 3)
    assert h < REAL_GPU["tf32"] / 2 and gradient < REAL_GPU_GRADIENTS["tf32"] / 2


def test_the_sums_of_halves_are_float32_where_the_bounds_are_asked_for():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    precise = matmul, cudnn.rnn, cudnn.conv
    before = [getattr(matmul, name) for name in REDUCED] + [settings.fp32_precision for settings in precise]
    with strict_products():
        assert not any(getattr(matmul, name) for name in REDUCED)
        assert all(settings.fp32_precision == "ieee" for settings in precise)
    assert [getattr(matmul, name) for name in REDUCED] + [settings.fp32_precision for settings in precise] == before
