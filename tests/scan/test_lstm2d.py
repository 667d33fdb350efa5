"""LSTM2d against the pixel-by-pixel oracle, and what holds between its cells, corners and the layers that are there."""

import pytest
import torch
import torch.nn.functional as F

import pixelrnn_ext as px
from helpers import reach
from helpers.checks import assert_close
from helpers.scans import BACKENDS, LSTM2D, make_layer, ragged_sizes, results
from pixelrnn_ext import cells, reference
from pixelrnn_ext.directions import CORNERS, SUFFIXES

from . import oracle_lstm2d as oracle

MERGES = ["concat", "sum", "mean", None]
# H, W, hidden: one pixel, a row, a column; higher, wider; lines of several tiles of 8 cells.
SIZES = [(1, 1, 3), (1, 6, 1), (1, 6, 24), (5, 1, 8), (7, 5, 3), (5, 9, 24), (12, 4, 8), (9, 17, 1), (9, 17, 8)]


def expected(layer, x, sizes=None):
    names = dict(weight_ih="w_ih", weight_hh="w_hh", bias="bias", h0="h0", c0="c0", peephole="peepholes")
    parameters = {
        corner: {
            theirs: value.detach().numpy().reshape(value.shape[:2] if ours == "weight_ih" else value.shape)
            for ours, theirs in names.items()
            if (value := getattr(layer, ours + SUFFIXES[corner], None)) is not None
        }
        for corner in layer.directions
    }
    sizes = None if sizes is None else sizes.tolist()
    return torch.tensor(oracle.lstm2d(layer.cell, x.numpy(), parameters, sizes, layer.merge))


def assert_equal_to_rounding(got, want):
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.covering(2)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("of_their_own", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
@pytest.mark.parametrize(("height", "width", "hidden"), SIZES, ids=["{}x{}-h{}".format(*size) for size in SIZES])
@pytest.mark.parametrize("variant", LSTM2D)
def test_against_the_oracle(variant, height, width, hidden, initial_state, of_their_own, backend):
    layer = make_layer(variant, 2, hidden, initial_state=initial_state, backend=backend)
    x = torch.randn(3, 2, height, width, dtype=torch.float64)
    sizes = ragged_sizes(3, height, width) if of_their_own else None
    assert_equal_to_rounding(layer(x, sizes), expected(layer, x, sizes))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("directions", [1, 2, 4, ("br",), ("bl", "tr", "tl")], ids=str)
def test_directions_and_merges(directions, merge, backend):
    layer = make_layer("stable", directions=directions, merge=merge, backend=backend)
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64)
    for sizes in (None, ragged_sizes(2, 4, 3)):
        assert_equal_to_rounding(layer(x, sizes), expected(layer, x, sizes))


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_bias(backend):
    layer = make_layer("stable", bias=False, backend=backend)
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64)
    with_zeros = make_layer("stable")
    with_zeros.load_state_dict(with_zeros.state_dict() | layer.state_dict())
    for suffix in SUFFIXES.values():
        torch.nn.init.zeros_(getattr(with_zeros, "bias" + suffix))
    assert_equal_to_rounding(layer(x), expected(with_zeros, x))


def max_of(backend, **biases):
    """One unit of the cell max, whose gates are open but for those of ``biases``, and whose g is the sign of x."""
    layer = make_layer("max", 1, 1, directions=1, backend=backend)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias.copy_(torch.tensor([biases.get(gate, 800.0) for gate in oracle.GATES["max"]]))
        layer.bias[2], layer.weight_ih[2] = 0, 800
    return layer


@pytest.mark.parametrize("backend", BACKENDS)
def test_max_takes_the_left_state_in_the_first_row_whatever_is_above(backend):
    layer = max_of(backend, f_left=-800.0)
    layer.c0.data.fill_(50)
    rows = layer(torch.ones(1, 1, 3, 2, dtype=torch.float64))[0, 0]
    assert_equal_to_rounding(rows, torch.tensor([1.0, 2, 3], dtype=torch.float64).tanh()[:, None].expand(3, 2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_max_takes_the_left_state_where_the_forget_gates_are_equal(backend):
    rows = max_of(backend)(torch.ones(1, 1, 3, 2, dtype=torch.float64))[0, 0]
    assert_equal_to_rounding(rows, torch.tensor([1.0, 2], dtype=torch.float64).tanh().expand(3, 2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_max_clips_its_state(backend):
    """From 99.5 one up, which is 100, and then 100 down."""
    layer = max_of(backend)
    layer.c0.data.fill_(99.5)
    x = torch.tensor([1.0] + 100 * [-1.0], dtype=torch.float64).view(1, 1, 1, 101)
    assert_equal_to_rounding(layer(x), expected(layer, x))
    assert layer(x)[0, 0, 0, -1] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_grows_beside_a_narrow_image(backend):
    """Where the state of graves would double with every line, to infinity, whose product with a gradient of zero is
    NaN."""
    layer = make_layer("graves", 1, 1, directions=1, initial_state="zero", dtype=torch.float32, backend=backend)
    torch.nn.init.constant_(layer.weight_hh, 20)
    for value in results(layer, torch.randn(1, 1, 150, 1)).values():
        assert value.isfinite().all()


# Equivalences.
@pytest.mark.covering(2)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("directions", [1, 2, 4])
@pytest.mark.parametrize("variant", LSTM2D)
def test_a_gate_bias_is_further_channels_of_the_input(variant, directions, sizes, backend):
    """Which the weights bring to the gates of every direction, in the order of gate_bias."""
    layer = make_layer(variant, directions=directions, backend=backend)
    rows = sum(p.shape[0] for name, p in layer.named_parameters() if name.startswith("weight_ih"))
    mixed, further = torch.randn(rows, 3, 1, 1, dtype=torch.float64), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    wide = make_layer(variant, 5, directions=directions, backend=backend)
    state = layer.state_dict()
    of_input = [key for key in state if key.startswith("weight_ih")]
    wide.load_state_dict(state | {k: torch.cat([state[k], m], 1) for k, m in zip(of_input, mixed.chunk(directions))})
    x, sizes = torch.randn(2, 2, 4, 5, dtype=torch.float64), ragged_sizes(2, 4, 5) if sizes else None
    want = results(wide, torch.cat([x, further], 1), sizes)
    got = results(layer, x, sizes, gate_bias=F.conv2d(further, mixed))
    assert_close("output", want["output"], got["output"], 1e-13)
    assert_close("input", want["input"][:, :2], got["input"], 1e-13)
    assert_close("gate_bias", want["input"][:, 2:], F.conv_transpose2d(got["gate_bias"], mixed), 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gate_bias_is_broadcast(backend):
    layer = make_layer("stable", directions=2, backend=backend)
    x, gate_bias = torch.randn(2, 2, 4, 5, dtype=torch.float64), torch.randn(1, 30, 1, 5, dtype=torch.float64)
    want, got = (results(layer, x, gate_bias=m) for m in (gate_bias.expand(2, -1, 4, -1), gate_bias))
    want["gate_bias"] = want["gate_bias"].sum((0, 2), keepdim=True)
    for name, value in want.items():
        assert_close(name, value, got[name], 1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("variant", LSTM2D)
def test_a_corner_is_the_flipped_image(variant, corner, backend):
    first = make_layer(variant, directions=("tl",), backend=backend)
    other = make_layer(variant, directions=(corner,), backend=backend)
    other.load_state_dict({name + SUFFIXES[corner]: value for name, value in first.state_dict().items()})
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64)
    axes = [axis for axis, letter in ((2, "b"), (3, "r")) if letter in corner]
    got, want = other(x), first(x.flip(axes)).flip(axes)
    assert_equal_to_rounding(got, want)  # where a pixel lies may decide how torch's convolution rounds it
    assert backend == "reference" or torch.equal(got, want)


def with_fifth_gate(layer, variant, value):
    """A five-gate layer with the parameters of a pixelrnn one, and a fifth gate that is always ``sigmoid(value)``."""
    five = make_layer(variant, directions=layer.directions, backend=layer.backend)
    hidden = layer.hidden_channels
    state = {}
    for name, rows in layer.state_dict().items():
        fill = value if name.startswith("bias") else 0.0
        fifth = [rows.new_full((hidden, *rows.shape[1:]), fill)] if name.startswith(("weight", "bias")) else []
        state[name] = torch.cat([rows, *fifth])
    five.load_state_dict(state)
    return five


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variant", ["graves", "stable", "max"])
def test_a_shut_fifth_gate_leaves_the_cell_of_pixelrnn(variant, backend):
    layer = make_layer("pixelrnn", backend=backend)
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64)
    assert_equal_to_rounding(with_fifth_gate(layer, variant, -800)(x), layer(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_lambda_of_one_is_pixelrnn_of_the_transposed_image(backend):
    layer = make_layer("pixelrnn", directions=1, backend=backend)
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64)
    up = with_fifth_gate(layer, "stable", 800)
    up.weight_hh = torch.nn.Parameter(up.weight_hh.flip(2))
    assert_equal_to_rounding(up(x.transpose(2, 3)).transpose(2, 3), layer(x))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", ["graves", "halved"])
def test_peepholes_of_zero_are_none(cell, backend):
    layer, without = make_layer(f"{cell}-peepholes", backend=backend), make_layer(cell, backend=backend)
    without.load_state_dict({name: p for name, p in layer.state_dict().items() if not name.startswith("peephole")})
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64)
    assert not torch.equal(layer(x), without(x))
    for suffix in SUFFIXES.values():
        torch.nn.init.zeros_(getattr(layer, "peephole" + suffix))
    assert_equal_to_rounding(layer(x), without(x))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True], ids=["tl", "tr"])
def test_diagonal_lstm_is_one_corner_of_the_cell_pixelrnn(reverse, backend):
    diagonal = px.DiagonalLSTM(2, 3, reverse=reverse, mask_type=None, initial_state="learned", dtype=torch.float64)
    for state in (diagonal.h0, diagonal.c0):
        torch.nn.init.normal_(state)
    layer = make_layer("pixelrnn", directions=("tr",) if reverse else 1, backend=backend)
    suffix = "_reverse" if reverse else ""
    layer.load_state_dict({name + suffix: p for name, p in diagonal.state_dict().items()})
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64)
    assert_equal_to_rounding(layer(x), diagonal(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_diagonal_bilstm_is_two_corners_and_its_own_shift(backend):
    both = px.DiagonalBiLSTM(2, 3, mask_type=None, initial_state="learned", dtype=torch.float64)
    layer = make_layer("pixelrnn", directions=("tl", "tr"), merge=None, backend=backend)
    layer.load_state_dict(both.state_dict())
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64)
    left, right = layer(x).unbind(1)
    assert_equal_to_rounding(left + F.pad(right[:, :, :-1], (0, 0, 1, 0)), both(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_row_of_pixelrnn_is_nn_lstm(backend):
    lstm = torch.nn.LSTM(2, 3, dtype=torch.float64)
    layer = make_layer("pixelrnn", directions=1, initial_state="zero", backend=backend)
    with torch.no_grad():
        layer.weight_ih.copy_(lstm.weight_ih_l0[:, :, None, None])
        layer.weight_hh[:, :, 1] = lstm.weight_hh_l0
        layer.bias.copy_(lstm.bias_ih_l0 + lstm.bias_hh_l0)
    x = torch.randn(4, 2, 1, 7, dtype=torch.float64)
    columns = x[:, :, 0].permute(2, 0, 1)  # (W, N, C)
    assert_equal_to_rounding(layer(x)[:, :, 0], lstm(columns)[0].permute(1, 2, 0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_row_of_leaky_is_the_one_dimensional_unit(backend):
    """Whose state has one neighbour: lambda is shut."""
    layer = make_layer("leaky", directions=1, initial_state="zero", backend=backend)
    with torch.no_grad():
        layer.weight_ih[12:], layer.weight_hh[12:], layer.bias[12:] = 0, 0, -800
    x = torch.randn(4, 2, 1, 7, dtype=torch.float64)
    h = c = x.new_zeros(4, 3)
    columns = []
    for pixels in x[:, :, 0].unbind(2):
        z = pixels @ layer.weight_ih[:12, :, 0, 0].t() + h @ layer.weight_hh[:12, :, 1].t() + layer.bias[:12]
        phi, o_prev, g, o = z.chunk(4, 1)
        before, phi = c, phi.sigmoid()
        c = phi * g.tanh() + (1 - phi) * before
        h = (o_prev.sigmoid() * before + o.sigmoid() * c).tanh()
        columns.append(h)
    assert_equal_to_rounding(layer(x)[:, :, 0], torch.stack(columns, 2))


# Influence.
def quadrant(r, c, corner, height, width):
    """The pixels between one and the corner of its image."""
    rows = range(r, height) if "b" in corner else range(r + 1)
    columns = range(c, width) if "r" in corner else range(c + 1)
    return {(rr, cc, 0) for rr in rows for cc in columns}


def influence(layer, height, width, sizes=None):
    def run(copies):
        return layer(copies, None if sizes is None else torch.tensor([sizes]).expand(len(copies), 2))

    return reach.measured(run, torch.randn(1, 2, height, width, dtype=torch.float64), 1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variant", LSTM2D)
@pytest.mark.parametrize("corner", CORNERS)
def test_a_pixel_sees_the_quadrant_of_its_corner_within_its_image(corner, variant, backend):
    layer = make_layer(variant, directions=(corner,), backend=backend)
    for (r, c, _), seen in influence(layer, 3, 4).items():
        assert seen == quadrant(r, c, corner, 3, 4)
    for (r, c, _), seen in influence(layer, 3, 4, (2, 3)).items():
        assert seen == (quadrant(r, c, corner, 2, 3) if r < 2 and c < 3 else set())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("merge", ["concat", "sum", "mean"])
def test_from_four_corners_a_pixel_sees_its_image_and_no_more(merge, backend):
    layer = make_layer("stable", merge=merge, backend=backend)
    for sizes, (height, width) in ((None, (3, 4)), ((2, 3), (2, 3))):
        everything = {(r, c, 0) for r in range(height) for c in range(width)}
        for (r, c, _), seen in influence(layer, 3, 4, sizes).items():
            assert seen == (everything if r < height and c < width else set())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("zeroed", [(), (0,), (1,), (0, 1)], ids=["both-taps", "no-up", "no-left", "no-tap"])
@pytest.mark.parametrize("variant", ["pixelrnn", "stable", "graves", "halved", "leaky"])
def test_c_reaches_where_h_does_not(variant, zeroed, backend):
    """Without a tap that neighbour's c still arrives, but the upper one's of pixelrnn, which takes on none."""
    layer = make_layer(variant, directions=1, backend=backend)
    with torch.no_grad():
        layer.weight_hh[:, :, zeroed] = 0
    for (r, c, _), seen in influence(layer, 3, 4).items():
        only_left = variant == "pixelrnn" and 0 in zeroed
        assert seen == ({(r, cc, 0) for cc in range(c + 1)} if only_left else quadrant(r, c, "tl", 3, 4))


@pytest.mark.sweep
@pytest.mark.parametrize("variant", LSTM2D)
def test_the_state_stays_small_at_first(variant, monkeypatch):
    """As a layer is initialised, on a map where graves of forget gates that start open would reach 1e26."""
    largest = []

    def watched(*arguments):
        h, c, gates = cells.update(*arguments)
        largest.append(c.detach().abs().max().item())
        return h, c, gates

    monkeypatch.setattr(reference, "update", watched)
    cell, peepholes = LSTM2D[variant]
    px.LSTM2d(8, 16, cell=cell, peepholes=peepholes, backend="reference")(torch.randn(1, 8, 128, 128))
    assert len(largest) == 4 * 255 and max(largest) < 100
