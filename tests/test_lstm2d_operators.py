"""The operators under LSTM2d: they are what torch expects of operators, and equal their decompositions."""

import pytest
import torch

from checks import assert_close
from lstm2d import VARIANTS, ragged
from pixelrnn_ext.cells import CELLS
from pixelrnn_ext.operators.lstm2d import eager

OPS = torch.ops.pixelrnn_ext
CORNERS = {1: [3], 2: [0, 3], 4: [0, 1, 2, 3]}
OUTPUTS = "h", "c", "gates"
GRADIENTS = "input", "weight_ih", "weight", "bias", "h0", "c0", "peepholes"


def arguments(
    variant, directions=2, *, maps=(3, 4, 5), sizes=True, states=True, bias=True, hidden=3, dtype=torch.float64
):
    """Of the scan. Weights lie as a layer's parameters do."""
    (cell, has_peepholes), (n, height, width), channels = VARIANTS[variant], maps, 2
    gates = len(CELLS[cell].gates)

    def tensor(*size):
        return (torch.randn(size, dtype=dtype) / 2).requires_grad_()

    def weight(channels, taps):
        parameter = torch.randn(directions, gates, hidden, channels, taps, dtype=dtype) / 2
        return parameter.permute(0, 4, 2, 1, 3).requires_grad_()

    return [
        tensor(n, height, width, channels),
        weight(channels, 1),
        weight(hidden, 2),
        tensor(directions, hidden, gates) if bias else None,
        tensor(directions, hidden) if states else None,
        tensor(directions, hidden) if states else None,
        tensor(directions, 4, hidden) if has_peepholes else None,
        ragged(n, height, width) if sizes else None,
        CORNERS[directions],
        cell,
    ]


def of_gradients(scan, *wanted):
    """Arguments of the backward."""
    *operands, sizes, corners, cell = scan
    h, c, gates = (t.detach() for t in OPS.lstm2d_scan(*scan))
    return [torch.randn_like(h), *operands, sizes, h, c, gates, corners, cell, *wanted]


@pytest.mark.parametrize("hidden", [1, 8, 19])
@pytest.mark.parametrize("directions", CORNERS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.covering(2)
def test_equals_its_decomposition(variant, directions, hidden):
    scan = arguments(variant, directions, hidden=hidden)
    got, want = OPS.lstm2d_scan(*scan), eager.lstm2d_scan(*scan)
    # Of c and the gates, what lies outside of an image is nobody's.
    inside = (want[2] != 0).any(-1, keepdim=True)
    for name, g, w in zip(OUTPUTS, got, want):
        assert g.is_contiguous() and w.is_contiguous()
        assert_close(name, g if name == "h" else torch.where(inside, g, 0), w, 1e-12)
    backward = of_gradients(scan, True, True, True)
    for name, g, w in zip(GRADIENTS, OPS.lstm2d_gradients(*backward), eager.lstm2d_gradients(*backward)):
        assert g.shape == w.shape
        assert_close(name, g, w, 1e-11)


def test_gradients_of_saved_outputs():
    """Which only a caller of the operator alone has."""
    scan = arguments("graves-peepholes")
    needed = [t for t in scan[:7] if t is not None]
    cotangents = [torch.randn_like(t) for t in OPS.lstm2d_scan(*scan)]
    got = torch.autograd.grad(OPS.lstm2d_scan(*scan), needed, cotangents)
    for g, w in zip(got, torch.autograd.grad(eager.lstm2d_scan(*scan), needed, cotangents)):
        assert_close("gradient", g, w, 1e-11)


@pytest.mark.parametrize("wanted", [(False, True, False), (True, False, False), (False, False, True)], ids=str)
def test_gradients_that_are_not_wanted_have_no_elements(wanted):
    backward = of_gradients(arguments("stable", states=False, bias=False), *wanted)
    alone = OPS.lstm2d_gradients(*backward)
    whole = OPS.lstm2d_gradients(*backward[:-3], True, True, True)
    for name, got, want, is_wanted in zip(GRADIENTS, alone, whole, (*wanted, False, False, False, False)):
        assert got.numel() == 0 if not is_wanted else torch.equal(got, want), name


@pytest.mark.sweep
@pytest.mark.parametrize("sizes", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("variant", ["pixelrnn", "graves-peepholes", "leaky", "max"])
def test_opcheck(variant, sizes):
    """On small maps, since the decompositions are traced line by line."""
    scan = arguments(variant, 1, maps=(2, 2, 3), sizes=sizes)
    torch.library.opcheck(OPS.lstm2d_gradients.default, tuple(of_gradients(scan, True, True, True)))
    if sizes:  # of which nobody could tell what c and the gates hold outside of an image
        scan[7] = torch.tensor([(2, 3)] * 2)
    torch.library.opcheck(OPS.lstm2d_scan.default, tuple(scan))


# n, height, width, hidden: no whole vectors, no whole tiles.
AWKWARD = {"1x1": (1, 1, 1, 1), "1x7": (3, 1, 7, 5), "9x4": (2, 9, 4, 19), "5x13": (4, 5, 13, 8)}


@pytest.mark.parametrize("maps", AWKWARD.values(), ids=AWKWARD)
@pytest.mark.parametrize("corners", [[0], [1], [0, 1], [1, 0]], ids=["tl", "tr", "tl-tr", "tr-tl"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.covering(2)
def test_four_gates_are_the_diagonal_scan_to_the_bit(dtype, corners, maps, instruction_set):
    """What one operator makes of the tiles of four gates, the other does. Not against a table of bits: they are the
    compiler's, which may fuse a product of the cell with the sum that it is in."""
    *size, hidden = maps
    scan = arguments("pixelrnn", len(corners), maps=size, sizes=False, hidden=hidden, dtype=dtype)
    scan[8] = corners
    input, weight_ih, weight, bias, h0, c0, *_ = scan
    scans = weight, h0, c0, input, weight_ih
    how = 1, True, corners[0] == 1  # the width of the input's kernel, diagonal, reverse
    h, c, gates = OPS.lstm2d_scan(*scan)
    expected = OPS.line_scan(None, *scans, bias, *how)
    for name, got, want in zip(OUTPUTS, (h.movedim(3, 0), c, gates), expected):
        assert torch.equal(got, want.view_as(got)), name
    dh = torch.randn_like(h)
    gradients = OPS.lstm2d_gradients(dh, *scan[:8], h, c, gates, corners, "pixelrnn", True, True, True)
    wanted = False, *(True,) * 4  # all but the map of dx
    _, dweight, dh0, dc0, dinput, dweight_ih, dbias = OPS.line_scan_gradients(
        dh.movedim(3, 0).contiguous(), *scans, *expected, *how, *wanted
    )
    of_states = (sum(of_images.unbind(1)) for of_images in (dh0, dc0))
    for name, got, want in zip(GRADIENTS, gradients, (dinput, dweight_ih, dweight, dbias, *of_states)):
        assert torch.equal(got, want), name


def test_sizes_that_nobody_has_checked_are_clamped():
    scan = arguments("stable")
    scan[7] = torch.tensor([(9, 3), (-1, 4), (2, 100)])
    got = OPS.lstm2d_scan(*scan)
    scan[7] = torch.tensor([(4, 3), (0, 4), (2, 5)])
    assert torch.equal(got[0], OPS.lstm2d_scan(*scan)[0])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("images", [1, 5])
def test_bits_do_not_depend_on_the_threads(images, threads):
    """Those of h and of the gradient of the input; the others are sums over images."""
    scan = arguments("stable", 4, dtype=torch.float32)
    scan[0], scan[7] = scan[0].detach()[:1].expand(images, -1, -1, -1), None
    before = torch.get_num_threads()
    results = []
    for number in (1, threads):
        torch.set_num_threads(number)
        try:
            torch.manual_seed(1)
            backward = of_gradients(scan, True, False, False)
            results.append((*OPS.lstm2d_scan(*scan), OPS.lstm2d_gradients(*backward)[0]))
        finally:
            torch.set_num_threads(before)
    for one, other in zip(*results):
        assert torch.equal(one, other)


BAD = {
    "cell": (9, "gru", "no cell is named gru"),
    "corners": (8, [0], "a corner of each"),
    "corner": (8, [0, 4], "corners from 0 to 3"),
    "sizes": (7, torch.zeros(3, 2, dtype=torch.int32), "contiguous int64 sizes"),
    "bias": (3, torch.zeros(2, 3, 4, dtype=torch.float64), "bias has the wrong shape"),
    "peepholes": (6, torch.zeros(2, 4, 3, dtype=torch.float64), "has no peepholes"),
    "weight": (2, torch.zeros(2, 2, 3, 4, 3, dtype=torch.float64), "weight has the wrong shape"),
    "images": (
        0,
        torch.empty(1 << 30, 0, 1, 2, dtype=torch.float64),
        "expected fewer than 2\\^31 images of all directions, got 1073741824 images in 2 directions",
    ),
    "dtype": (1, torch.zeros(2, 1, 3, 5, 2), "weight_ih has another dtype"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    scan = arguments("stable")
    place, value, message = BAD[name]
    scan[place] = value
    with pytest.raises(RuntimeError, match=message):
        OPS.lstm2d_scan(*scan)
