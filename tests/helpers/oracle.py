"""The recurrences cell by cell in image coordinates, from the equations and nothing else. Slow, and independent of
pixelrnn_ext: no skewing, no convolution, no masks module."""

import torch


def colour(channel, channels, image_channels):
    groups = torch.tensor_split(torch.arange(channels), image_channels)
    return next(g for g, members in enumerate(groups) if channel in members)


def masked(weight_ih, mask_type, image_channels):
    """weight_ih (4 * hidden, in, 1, k) with zeros where the mask forbids."""
    gates, channels, _, kernel = weight_ih.shape
    if mask_type is None:
        return weight_ih
    alive = torch.zeros_like(weight_ih)
    for out in range(gates):
        for inp in range(channels):
            unit = colour(out % (gates // 4), gates // 4, image_channels)
            source = colour(inp, channels, image_channels)
            alive[out, inp, 0, : kernel // 2] = 1
            alive[out, inp, 0, kernel // 2] = source < unit or (mask_type == "B" and source == unit)
    return weight_ih * alive


def scan(
    input, weight_ih, weight_hh, bias, h0, c0, *, mask_type, image_channels, gate_bias, neighbours, carry, columns
):
    """neighbours: (up, left) of each tap of weight_hh; carry: the one whose c is taken on; columns: in scanning
    order."""
    n, _, height, width = input.shape
    hidden = weight_hh.shape[1]
    weight_ih = masked(weight_ih, mask_type, image_channels)
    kernel = weight_ih.shape[3]
    zeros = input.new_zeros(n, hidden)
    border_h = zeros if h0 is None else zeros + h0
    border_c = zeros if c0 is None else zeros + c0
    h, c = {}, {}
    for r in range(height):
        for col in columns:
            z = zeros.new_zeros(n, 4 * hidden)
            for k in range(kernel):
                source = col + k - kernel // 2
                if 0 <= source < width:
                    z = z + input[:, :, r, source] @ weight_ih[:, :, 0, k].t()
            if bias is not None:
                z = z + bias
            if gate_bias is not None:
                z = z + gate_bias[:, :, r, col]
            for k, (up, left) in enumerate(neighbours):
                z = z + h.get((r - up, col - left), border_h) @ weight_hh[:, :, k].t()
            i, f, g, o = z.chunk(4, 1)
            previous = c.get((r - carry[0], col - carry[1]), border_c)
            c[r, col] = f.sigmoid() * previous + i.sigmoid() * g.tanh()
            h[r, col] = o.sigmoid() * c[r, col].tanh()
    return torch.stack([torch.stack([h[r, col] for col in range(width)], 2) for r in range(height)], 2)


def layer(module, input, gate_bias=None):
    """What a layer of pixelrnn_ext should compute."""
    p = dict(module.named_parameters())
    options = dict(mask_type=module.mask_type, image_channels=module.image_channels)

    def direction(suffix, gate_bias, reverse):
        width = input.shape[3]
        side = -1 if reverse else 1
        tensors = [p.get(name + suffix) for name in ("weight_ih", "weight_hh", "bias", "h0", "c0")]
        if type(module).__name__ == "RowLSTM":
            taps = module.kernel_size
            neighbours, carry = [(1, taps // 2 - k) for k in range(taps)], (1, 0)
        else:
            neighbours, carry = [(1, 0), (0, side)], (0, side)
        columns = range(width)[::side]
        return scan(
            input, *tensors, gate_bias=gate_bias, neighbours=neighbours, carry=carry, columns=columns, **options
        )

    if type(module).__name__ != "DiagonalBiLSTM":
        return direction("", gate_bias, getattr(module, "reverse", False))
    left_bias, right_bias = (None, None) if gate_bias is None else gate_bias.chunk(2, 1)
    left, right = direction("", left_bias, False), direction("_reverse", right_bias, True)
    shifted = torch.zeros_like(right)
    shifted[:, :, 1:] = right[:, :, :-1]
    return left + shifted
