"""The operators that merge the directions of a BiLSTM, against their definition and under PyTorch's transforms."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.library import opcheck

import pixelrnn_ext as px
from pixelrnn_ext.operators.library import why_no_native
from pixelrnn_ext.operators.recurrence import directions

pytestmark = pytest.mark.skipif(why_no_native() is not None, reason=f"no CPU kernels: {why_no_native()}")

OPS = torch.ops.pixelrnn_ext
# B, H, W, h: one row, one column, one value, no image, no tile's multiple, and enough for memory that is kept.
SIZES = [(2, 3, 4, 5), (3, 1, 7, 2), (1, 6, 1, 3), (1, 1, 1, 1), (0, 3, 4, 5), (4, 28, 28, 40)]
each_size = pytest.mark.parametrize("size", SIZES, ids="B{0[0]}-{0[1]}x{0[2]}-h{0[3]}".format)


def maps(size, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(2, *size, dtype=dtype, generator=generator)
    return h, torch.randn(size, dtype=dtype, generator=generator)


@each_size
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values(size, dtype):
    h, dy = maps(size, dtype)
    y = h[0].clone()
    y[:, 1:] += h[1, :, :-1]
    dh = torch.zeros_like(h)
    dh[0] = dy
    dh[1, :, :-1] = dy[:, 1:]
    assert torch.equal(OPS.merge_directions(h), y) and torch.equal(directions.merge_directions(h), y)
    assert torch.equal(OPS.split_directions(dy), dh) and torch.equal(directions.split_directions(dy), dh)


@each_size
def test_of_any_strides_and_threads(size):
    h, dy = maps(size)
    expected = OPS.merge_directions(h), OPS.split_directions(dy)
    threads = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            got = (
                OPS.merge_directions(h.permute(0, 1, 4, 2, 3).contiguous().permute(0, 1, 3, 4, 2)),
                OPS.split_directions(dy.transpose(1, 2).contiguous().transpose(1, 2)),
            )
        finally:
            torch.set_num_threads(threads)
        assert all(map(torch.equal, expected, got))


@pytest.mark.parametrize("operator", [0, 1], ids=["merge", "split"])
def test_opcheck_and_fake_strides(operator):
    op, x = (OPS.merge_directions.default, OPS.split_directions.default)[operator], maps((2, 3, 4, 5))[operator]
    eager = (directions.merge_directions, directions.split_directions)[operator]  # the kernels of a GPU
    opcheck(op, (x.requires_grad_(),))
    x = x.detach()
    for strided in (x, x.transpose(-2, -3).contiguous().transpose(-2, -3)):
        with FakeTensorMode() as mode:
            fake = op(mode.from_tensor(strided))
        for real in (op(strided), eager(strided)):
            assert (real.shape, real.stride(), real.dtype) == (fake.shape, fake.stride(), fake.dtype)


@pytest.mark.parametrize("operator", [0, 1], ids=["merge", "split"])
def test_derivatives_of_any_mode_and_order(operator):
    op, eager = [
        (OPS.merge_directions, directions.merge_directions),
        (OPS.split_directions, directions.split_directions),
    ][operator]
    x, tangent = (maps((2, 3, 4, 5))[operator] + n for n in range(2))

    def cubed(f):
        return lambda t: (f(t**3) ** 2).sum()

    assert torch.autograd.gradcheck(op, (x.requires_grad_(),), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda t: op(t) ** 2, (x,))
    x = x.detach()
    for transform in (torch.func.grad, torch.func.hessian, torch.func.jacrev):
        assert torch.allclose(transform(cubed(op))(x), transform(cubed(eager))(x))
    assert torch.equal(torch.func.jvp(op, (x,), (tangent,))[1], eager(tangent))


@pytest.mark.parametrize("operator", [0, 1], ids=["merge", "split"])
def test_vmap_and_compile(operator):
    op = (OPS.merge_directions, OPS.split_directions)[operator]
    x = torch.stack([maps((2, 3, 4, 5))[operator] * n for n in range(3)], 1)
    expected = torch.stack([op(x[:, n]) for n in range(3)], -1)
    assert torch.equal(torch.func.vmap(op, 1, -1)(x), expected)
    assert torch.equal(torch.compile(op, fullgraph=True, backend="aot_eager")(x[:, 0]), expected[..., 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: OPS.merge_directions(torch.zeros(1, 2, 3, 4, 5)), "expected h", id="one direction"),
        pytest.param(lambda: OPS.merge_directions(torch.zeros(2, 3, 4, 5)), "expected h", id="merge, rank"),
        pytest.param(lambda: OPS.split_directions(torch.zeros(2, 3, 4, 5, 6)), "expected dy", id="split, rank"),
        pytest.param(lambda: OPS.split_directions(torch.zeros(2, 3, 4, 5).half()), "float32 or float64", id="dtype"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


def test_a_layer_s_output_can_be_shared_pickled_and_changed_in_place():
    """It may lie in memory that the library keeps (csrc/cpu/pages.h)."""
    layer = px.DiagonalBiLSTM(3, 48).eval()
    x = torch.randn(8, 3, 28, 28)
    with torch.no_grad():
        y, expected = layer(x), layer(x).clone()
    assert torch.equal(torch.from_numpy(y.numpy()), expected)
    y.share_memory_()
    assert torch.equal(y, expected) and y.is_shared()
    with torch.no_grad():
        y = layer(x).add_(1)
        assert torch.equal(y, expected + 1) and torch.equal(layer(x), expected)
