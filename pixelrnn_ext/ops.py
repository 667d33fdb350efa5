"""The operators under the layers: fake kernels, autograd and autocast rules.

``torch.ops.pixelrnn_ext.line_scan`` is the recurrence alone; csrc/ops.cpp has its schema and the shapes. Its backward is an
operator too, so that compiled graphs keep it; derivatives of the backward go through :mod:`pixelrnn_ext._eager_backward`.
"""

import torch
from torch import Tensor

from . import _eager_backward as eager

_NAME = "pixelrnn_ext::"
_ops = torch.ops.pixelrnn_ext


def register():
    """Once, after the library has defined the schemas."""
    torch.library.register_fake(_NAME + "line_scan", _scan_fake)
    torch.library.register_fake(_NAME + "line_scan_backward", _backward_fake)
    torch.library.register_fake(_NAME + "line_scan_weight_grad", _weight_grad_fake)
    torch.library.register_autograd(_NAME + "line_scan", _scan_backward, setup_context=_scan_setup)
    torch.library.register_autograd(_NAME + "line_scan_backward", _backward_backward, setup_context=_save_inputs)
    torch.library.register_autograd(_NAME + "line_scan_weight_grad", _weight_grad_backward, setup_context=_save_inputs)
    for device in ("cpu", "cuda"):
        # The state is float32 whatever the autocast dtype is: a half would lose it over hundreds of steps.
        torch.library.register_autocast(_NAME + "line_scan", device, torch.float32)


def _scan_fake(x, weight, h0, c0, input, weight_ih, bias, input_kernel, diagonal, reverse):
    directions, _, hidden, _, _ = weight.shape
    images, height, width = x.shape[1:4] if x is not None else input.shape[:3]
    size = (directions, images, height, width, hidden)
    return weight.new_empty(size), weight.new_empty(size), weight.new_empty(*size, 4)


def _backward_fake(dh, weight, h0, c0, c, gates, diagonal, reverse):
    directions, hidden = gates.shape[0], gates.shape[4]
    states = [gates.new_empty(0 if state is None else directions, hidden) for state in (h0, c0)]
    return gates.new_empty(gates.shape), *states


def _weight_grad_fake(dx, h, h0, input, taps, input_taps, input_kernel, bias, diagonal, reverse):
    directions, hidden = dx.shape[0], dx.shape[4]
    channels = 0 if input is None else input.shape[3]
    return (
        dx.new_empty(0 if h is None else directions, taps, hidden, 4, hidden),
        dx.new_empty(0 if input is None else directions, input_taps, hidden, 4, channels),
        dx.new_empty(directions if bias else 0, hidden, 4),
    )


def _scan_setup(ctx, inputs, output):
    _, weight, h0, c0, input, weight_ih, bias, *ctx.geometry = inputs
    ctx.set_materialize_grads(False)
    ctx.has_bias = bias is not None
    ctx.save_for_backward(weight, h0, c0, input, weight_ih, *output)


def _scan_backward(ctx, dh, dc, dgates):
    weight, h0, c0, input, weight_ih, h, c, gates = ctx.saved_tensors
    input_kernel, *scan = ctx.geometry
    need_x, need_weight, need_h0, need_c0, need_input, need_weight_ih, need_bias = ctx.needs_input_grad[:7]
    if dc is None and dgates is None:
        if dh is None:
            return (None,) * 10
        dx, dh0, dc0 = _ops.line_scan_backward(dh, weight, h0, c0, c, gates, *scan)
    else:  # from a second derivative
        dx, dh0, dc0 = eager.line_scan_backward(dh, dc, dgates, weight, h0, c0, c, gates, *scan)
    dweight = dweight_ih = dbias = None
    if need_weight or need_weight_ih or need_bias:
        dweight, dweight_ih, dbias = _ops.line_scan_weight_grad(
            dx,
            h if need_weight else None,
            h0,
            input if need_weight_ih else None,
            weight.shape[1],
            0 if weight_ih is None else weight_ih.shape[1],
            input_kernel,
            need_bias,
            *scan,
        )
    return (
        dx if need_x else None,
        dweight if need_weight else None,
        dh0 if need_h0 else None,
        dc0 if need_c0 else None,
        _input_grad(dx, weight_ih, input_kernel, scan[1]) if need_input else None,
        dweight_ih if need_weight_ih else None,
        dbias if need_bias else None,
        None,
        None,
        None,
    )


def _input_grad(dx: Tensor, weight_ih: Tensor, kernel: int, reverse: bool) -> Tensor:
    """Gradient of the layer's input: the transposed input-to-state convolution of dx, summed over directions."""
    directions, images, height, width, hidden, _ = dx.shape
    taps, channels = weight_ih.shape[1], weight_ih.shape[4]
    total = None
    for d in range(directions):
        columns = weight_ih[d].permute(1, 2, 0, 3).reshape(4 * hidden, taps * channels)
        pixels = dx[d].reshape(-1, 4 * hidden)
        if taps == 1 and kernel == 1:
            total = pixels @ columns if total is None else torch.addmm(total, pixels, columns)
            continue
        products = (pixels @ columns).view(images, height, width, taps, channels)
        for k in range(taps):
            moved = eager.displaced(products[:, :, :, k], 0, k - kernel // 2, reverse != (d == 1)).reshape(-1, channels)
            total = moved if total is None else total + moved
    return total.view(images, height, width, channels)


def _save_inputs(ctx, inputs, output):
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*(t if isinstance(t, Tensor) else None for t in inputs))
    ctx.rest = [None if isinstance(t, Tensor) else t for t in inputs]


def _backward_backward(ctx, *grads):
    def backward(dh, *args):
        return eager.line_scan_backward(dh, None, None, *args)

    return _vjp(backward, ctx, grads)


def _weight_grad_backward(ctx, *grads):
    return _vjp(eager.line_scan_weight_grad, ctx, grads)


def _vjp(function, ctx, grads):
    """Gradients of ``function``, which computes in differentiable PyTorch what the operator of ``ctx`` does."""
    higher = torch.is_grad_enabled()
    with torch.enable_grad():
        # A view of each input, so that the graph that is differentiated ends here, and yet goes on in a higher derivative.
        args = [rest if t is None else t.view_as(t) for t, rest in zip(ctx.saved_tensors, ctx.rest)]
        needed = [i for i, need in enumerate(ctx.needs_input_grad) if need]
        outputs = function(*args)
        used = [(out, grad) for out, grad in zip(outputs, grads) if grad is not None and out.requires_grad]
        result = [None] * len(args)
        if used and needed:
            found = torch.autograd.grad(
                [out for out, _ in used], [args[i] for i in needed], [grad for _, grad in used], create_graph=higher, allow_unused=True
            )
            for i, grad in zip(needed, found):
                result[i] = grad
    return tuple(result)
