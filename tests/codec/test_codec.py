import math
import weakref
import zlib

import pytest
import torch

import pixelrnn_ext as px
from helpers.checks import native
from pixelrnn_ext.codec import Codec

from .examples import ideal_bytes, images_of, model_of, round_trip

LAYERS = ["row", "diagonal", "pixelcnn"]
SIZES = [(1, 1, 1), (7, 1, 9), (3, 8, 1), (0, 4, 3), (5, 6, 7)]  # (N, H, W) of the images
MODEL_OPTIONS = {
    "plain": {},
    "skip": dict(skip=True),
    "no residual": dict(residual=False),
    "wider kernel": dict(kernel_size=5),
}


@pytest.mark.covering(2)
@pytest.mark.parametrize("options", MODEL_OPTIONS)
@pytest.mark.parametrize("size", SIZES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("levels", [2, 5, 17, 256], ids="{} levels".format)
@pytest.mark.parametrize("colours", [1, 3], ids=["gray", "RGB"])
@pytest.mark.parametrize("layer", LAYERS)
def test_round_trip(layer, colours, levels, size, options):
    model = model_of(layer, colours, levels, **MODEL_OPTIONS[options])
    images = images_of(model, *size)
    assert len(round_trip(model, images)) <= ideal_bytes(model, images) * 1.001 + 29


@pytest.mark.parametrize("layer", ["row", "diagonal"])
@pytest.mark.parametrize("state", ["learned", "zero"])
def test_states_outside_the_image(layer, state):
    model = model_of(layer, initial_state=state)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2][:2] in ("h0", "c0"):
                # The codec clamps states to -256 to 256, so some of these initial states are out of range.
                parameter.uniform_(-300, 300)
    round_trip(model, images_of(model))


@pytest.mark.parametrize(
    ("dtype", "integers"),
    [(torch.float16, torch.uint8), (torch.bfloat16, torch.int16), (torch.float64, torch.int32)],
    ids=str,
)
def test_dtypes_of_the_model_and_of_the_images(dtype, integers):
    model = model_of().to(dtype)
    images = images_of(model)
    assert round_trip(model, images) == model.compress(images.to(integers))


@native
@pytest.mark.covering(2)
@pytest.mark.parametrize("threads", [1, 2, 4], indirect=True)
@pytest.mark.parametrize("scale", [1, 30], ids=["as made", "weights x 30"])
@pytest.mark.parametrize("layer,colours,levels", [("diagonal", 1, 2), ("row", 3, 256), ("pixelcnn", 3, 5)], ids=str)
def test_same_bytes_whatever_computes_them(layer, colours, levels, scale, instruction_set, threads, monkeypatch):
    model = model_of(layer, colours, levels, scale=scale)
    images = images_of(model, 7, 4, 5)
    codec = Codec(model)
    files = {codec.compress(images, streams=2, batch_size=batch_size) for batch_size in (64, 3)}
    for file in files:
        assert torch.equal(codec.decompress(file, batch_size=1), images)
    model.backend = "reference"
    assert files == {round_trip(model, images, streams=2)}
    model.backend = "auto"
    monkeypatch.setattr("pixelrnn_ext.operators.library.why_no_native", lambda: "none")
    assert files == {round_trip(model, images, streams=2)}


@pytest.mark.parametrize("condition", [None, (3, 2, 40, 1), (1, 2, 40, 4), (3, 2, 1, 1)], ids=str)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("RECURRENT", (px.functional.masked_conv2d,), id="steps"),
        *(pytest.param("_PIXELS_PER_PASS", pixels, id=f"{pixels}") for pixels in (1, 7, 68, 40 * 4, 2 * 40 * 4)),
    ],
)
def test_one_pass_of_a_cnn_gives_the_integers_of_its_steps_and_of_bands(name, value, condition, monkeypatch):
    model = model_of("pixelcnn", 3, 5, scale=20, condition_channels=2 if condition else 0)
    images, told = images_of(model, 3, 40, 4), condition and torch.randn(condition)
    one_pass = Codec(model).compress(images, told)
    monkeypatch.setattr(f"pixelrnn_ext.codec.coding.{name}", value)
    assert Codec(model).compress(images, told) == one_pass


@pytest.mark.parametrize("shape", [(3, 2, 5, 4), (3, 2, 1, 1), (1, 2, 1, 1), (1, 2, 1, 4)], ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_conditional(layer, shape):
    model = model_of(layer, 3, 5, condition_channels=2)
    images, condition = images_of(model), 5 * torch.randn(shape)
    codec = Codec(model)
    file = codec.compress(images, condition, batch_size=2)
    assert torch.equal(codec.decompress(file, condition, batch_size=1), images)
    assert len(file) <= ideal_bytes(model, images, condition) * 1.001 + 29
    with pytest.raises(ValueError, match="expected a finite condition"):
        codec.compress(images, condition * math.inf)
    for wrong, error, message in (
        (-condition, ValueError, "the condition is not the file's"),
        (None, ValueError, "expected a condition"),
        (condition.to("meta"), ValueError, "expected a condition with values, got a meta tensor, which has none"),
        (condition.to_sparse(), TypeError, "expected condition as a dense Tensor, got torch.sparse_coo"),
    ):
        with pytest.raises(error, match=message):
            codec.decompress(file, wrong)


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(colours=3, levels=256),
        dict(factor=3, small=dict(layer="diagonal")),
        dict(condition_channels=2),
        dict(levels=2, factor=4),
    ],
    ids=["gray", "RGB", "factor 3", "conditional", "binary"],
)
def test_multi_scale(options):
    model = model_of("multiscale-row", **dict(levels=5) | options)
    images = images_of(model, 5, 2 * model.factor, 3 * model.factor)
    condition = torch.randn(5, 2, 1, 1) if model.condition_channels else None
    file = round_trip(model, images, condition, batch_size=2, streams=2)
    assert len(file) <= ideal_bytes(model, images, condition) * 1.001 + 31
    model.small_model.backend = model.large_model.backend = "reference"
    assert Codec(model).compress(images, condition, streams=2) == file


def test_images_of_several_sizes():
    model = model_of("row", 3, 17)
    groups = [images_of(model, n, h, w) for n, h, w in [(2, 5, 4), (1, 3, 9), (4, 5, 4)]]
    codec = Codec(model)
    file = codec.compress(groups)
    assert all(map(torch.equal, codec.decompress_groups(file), groups))
    assert len(file) <= sum(ideal_bytes(model, images) for images in groups) * 1.001 + 27 + 2 * 3 + 6 * 2
    with pytest.raises(ValueError, match="expected a file with images of one size, got 2 sizes"):
        codec.decompress(file)
    assert codec.decompress_groups(codec.compress([])) == []


@pytest.mark.parametrize("shape", [(6, 2, 5, 4), (6, 2, 1, 1), (1, 2, 5, 1)], ids=str)
def test_several_groups_of_images_of_one_size(shape):
    model, condition = model_of("row", condition_channels=2), torch.randn(shape)
    images = images_of(model, 6)
    codec, counts = Codec(model), [1, 4, 0, 1]
    file = codec.compress(images.split(counts), condition.expand(6, -1, -1, -1).split(counts))
    assert torch.equal(codec.decompress(file, condition), images)
    with pytest.raises(ValueError, match="expected a condition broadcastable to"):
        codec.decompress(file, condition.expand(6, -1, -1, -1)[:5])


def test_the_memory_limit_counts_the_copies_of_the_images():
    model = model_of()
    images, codec = images_of(model, 6), Codec(model)

    def needed(decode, *counts):
        with pytest.raises(ValueError, match="within max_bytes 1, got one of ") as raised:
            list(decode(codec.compress(images.split(counts)), max_bytes=1))
        return int(str(raised.value).split()[-1]) / images.long().nbytes

    alone = needed(codec.decompress_groups, 6)
    assert needed(codec.decompress, 6) == needed(codec.iterate_groups, 6) == alone
    divided = needed(codec.decompress_groups, 1, 4, 1)
    assert needed(codec.decompress, 1, 4, 1) == divided + 1
    assert needed(codec.iterate_groups, 1, 4, 1) == pytest.approx(divided + 2 * 4 / 6 - 1)


def test_groups_are_decoded_one_by_one():
    model = model_of()
    codec, groups = Codec(model), [images_of(model), images_of(model, 2, 3, 3)]
    file = bytearray(codec.compress(groups))
    file[13] ^= 1  # in the checksum of the images
    file[17:21] = zlib.crc32(file[21:], zlib.crc32(file[:17])).to_bytes(4, "little")
    decoded = codec.iterate_groups(file)
    with torch.device("meta"):  # must not reach the codec
        first = next(decoded)
    assert torch.equal(first, groups[0])
    assert torch._C._is_torch_function_enabled()  # the caller's, between two groups
    assert torch.equal(next(decoded), groups[1])
    with pytest.raises(ValueError, match="the images do not have the checksum"):
        next(decoded)


def test_the_intervals_of_only_one_group_are_in_memory(monkeypatch):
    model, group, values = model_of(), Codec._group, []

    def watched(self, images, parts, streams):
        assert not any(value() is not None for value in values)
        values.extend(weakref.ref(part.values) for part in parts)
        return group(self, images, parts, streams)

    monkeypatch.setattr(Codec, "_group", watched)
    model.compress([images_of(model)] * 3)
    assert len(values) == 3


def test_conditions_of_several_sizes():
    model = model_of("pixelcnn", condition_channels=2)
    groups = [images_of(model, 2, 5, 4), images_of(model, 1, 3, 9)]
    conditions = [torch.randn(2, 2, 5, 4), torch.randn(1, 2, 1, 1)]
    file = model.compress(groups, conditions)
    assert all(map(torch.equal, Codec(model).decompress_groups(file, conditions), groups))
    with pytest.raises(ValueError, match="expected a condition for each of 2 groups, got 3"):
        model.compress(groups, [conditions[0]] * 3)


@pytest.mark.covering(2)
@pytest.mark.parametrize("threads", [1, 3], indirect=True)
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize(
    ("n", "streams"), [(7, 1), (7, 3), (7, 7), (7, 50), (64, 1), (65, 1), (129, 1), (200, 3), (66, 2), (150, 40)]
)
def test_streams_and_blocks_of_images(n, streams, backend, threads):
    model = model_of("pixelcnn", 3, 5, backend=backend)
    images = images_of(model, n, 2, 3)
    codec = Codec(model)
    file = codec.compress(images, streams=streams, batch_size=50)
    assert torch.equal(codec.decompress(file, batch_size={7: 3, 150: 150}.get(n, 64)), images)
    assert len(file) <= ideal_bytes(model, images) * 1.001 + 27 + 2 * min(streams, n)


def test_a_stream_of_about_8_kib_each():
    model = model_of("pixelcnn", 3, 256, hidden_channels=3, num_layers=1, head_channels=3)
    images = images_of(model, 22, 24, 24)
    codec = Codec(model)
    file = codec.compress(images)
    assert 4 * 8192 < len(file) < 5 * 8192
    assert file == codec.compress(images, streams=4)


def test_a_stream_takes_less_than_so_much_memory(monkeypatch):
    model = model_of()
    images, codec = images_of(model, 20), Codec(model)
    image = codec._bytes_of_image(5, 4)
    monkeypatch.setattr("pixelrnn_ext.codec.codec.MEMORY_AT_ONCE", 3 * image)
    assert codec.compress(images) == codec.compress(images, streams=7) != codec.compress(images, streams=1)


@pytest.mark.parametrize("layer", LAYERS)
def test_bits_are_the_likelihood(layer):
    model = model_of(layer, 3, 17)
    images = images_of(model, 5)
    bits = Codec(model).bits(images, batch_size=2)
    with torch.no_grad():
        expected = -model.double().log_prob(images) / math.log(2)
    assert bits.shape == (5,)
    torch.testing.assert_close(bits, expected, rtol=1e-4, atol=0)


def test_images_that_are_impossible():
    model = model_of("pixelcnn", 1, 5)
    with torch.no_grad():
        model.head[-1].weight.zero_()
        model.head[-1].bias.copy_(torch.tensor([200.0, -200, -200, -200, -200]))
    images = torch.full((2, 1, 4, 4), 3)
    assert Codec(model).bits(images).tolist() == [16 * 24.0] * 2
    round_trip(model, images)


def test_a_codec_is_of_the_model_as_it_was():
    model = model_of()
    images = images_of(model)
    codec = Codec(model)
    file = codec.compress(images)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert torch.equal(codec.decompress(file), images)
    with pytest.raises(ValueError, match=r"written with this model, [0-9a-f]{16}, got one of [0-9a-f]{16}"):
        model.decompress(file)


def test_inside_autocast_and_grad():
    model = model_of("pixelcnn")
    with torch.autocast("cpu"):
        round_trip(model, images_of(model))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def progress_of(call, *arguments, **options):
    seen = []
    call(*arguments, progress=lambda *at: seen.append(at), **options)
    return seen


def test_many_images_may_take_more_memory_than_there_is(monkeypatch):
    """The codec computes them in batches."""
    model = model_of()
    images = images_of(model, 6)
    monkeypatch.setattr("pixelrnn_ext.operators.operands.machine_memory", lambda: 2 * 3 * 8 * images.numel() - 1)
    with pytest.raises(ValueError, match="images that fit into this machine's"):
        model.double()._check_images(images)
    round_trip(model, images)


def test_progress():
    model = model_of()
    images, codec = images_of(model, 5), Codec(model)
    rows = [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 21, 22, 23, 24, 25]
    assert progress_of(codec.compress, images, batch_size=2) == [(n, 25) for n in rows]
    assert progress_of(codec.decompress, codec.compress(images)) == [(n, 25) for n in (5, 10, 15, 20, 25)]


def test_progress_over_the_networks_of_a_model():
    """A multi-scale model has two networks, here one for images of 2 rows and one for images of 4 rows.

    The total of 12 rows counts only the 3 images at full size, which have 4 rows each. The networks compute 2 + 4 rows
    of each image, so each of the 6 reports adds 2 rows to the progress.
    """
    model = model_of("multiscale-row")
    assert progress_of(model.compress, images_of(model, 3, 4, 2)) == [(n, 12) for n in (2, 4, 6, 8, 10, 12)]


@pytest.mark.parametrize("layer", ["diagonal", "pixelcnn", "multiscale-row"])
def test_images_of_one_size_are_none(layer):
    model = model_of(layer)
    groups = [images_of(model, n, 2, 2) for n in (0, 3)]
    seen = progress_of(model.compress, groups)
    assert seen[-1] == (6, 6) and all(rows == 6 for _, rows in seen)
    assert all(map(torch.equal, Codec(model).decompress_groups(model.compress(groups)), groups))


def test_progress_may_stop_it():
    def stop(done, rows):
        raise KeyboardInterrupt

    model = model_of()
    with pytest.raises(KeyboardInterrupt):
        model.compress(images_of(model), progress=stop)


GRAY = torch.zeros(1, 1, 4, 4, dtype=torch.int64)


@pytest.mark.parametrize(
    "call,arguments,error,message",
    [
        ("compress", dict(images=GRAY + 2), ValueError, r"expected images of integers in \[0, 2\)"),
        ("compress", dict(images=None), TypeError, "expected a Tensor of images or several, got NoneType"),
        ("compress", dict(images=GRAY.to("meta")), ValueError, "images with values, got a meta tensor, which has none"),
        ("compress", dict(condition=GRAY.float()), ValueError, "expected no condition"),
        ("compress", dict(condition=5), ValueError, "expected no condition"),
        ("compress", dict(streams=0), ValueError, "expected streams >= 1, got 0"),
        ("compress", dict(streams=1.5), TypeError, "expected streams to be an int, got float"),
        ("compress", dict(batch_size=0), ValueError, "expected batch_size >= 1, got 0"),
        ("compress", dict(progress="x"), TypeError, "expected progress to be a bool or callable, got str"),
        ("decompress", dict(max_bytes=0), ValueError, "expected max_bytes >= 1, got 0"),
        ("decompress", dict(max_bytes=400), ValueError, "within max_bytes 400, got one of 3 images of 5x4"),
        ("decompress", dict(max_bytes=40_000), ValueError, "within max_bytes 40000, got one of 3 images of 5x4"),
        ("decompress", dict(batch_size="8"), TypeError, "expected batch_size to be an int, got str"),
        ("decompress", dict(condition=GRAY.float()), ValueError, "expected no condition"),
        ("decompress", dict(data="text"), TypeError, "expected bytes, got str"),
    ],
)
def test_wrong_arguments(call, arguments, error, message):
    model = model_of()
    images = images_of(model)
    right = dict(images=images) if call == "compress" else dict(data=model.compress(images))
    with pytest.raises(error, match=message):
        getattr(model, call)(**right | arguments)


MEMORY_CASES = {
    "one size": (model_of, [(7, 5, 4)]),
    "several sizes": (lambda: model_of("row", 3, 17), [(2, 5, 4), (70, 2, 3), (1, 3, 9), (0, 8, 8), (3, 6, 6)]),
    "a pass": (lambda: model_of("pixelcnn", 1, 5), [(5, 6, 7)]),
    "multi-scale": (lambda: model_of("multiscale-row"), [(3, 4, 6), (1, 8, 2)]),
    "conditional": (lambda: model_of(condition_channels=2), [(4, 5, 4)]),
    "no images": (model_of, [(0, 6, 9)]),
}


@pytest.mark.parametrize("kind", MEMORY_CASES)
@pytest.mark.parametrize("streams", [1, 3])
def test_just_the_memory_that_is_needed(kind, streams):
    make, sizes = MEMORY_CASES[kind]
    model = make()
    groups = [images_of(model, *size) for size in sizes]
    condition = torch.ones(1, 2, 1, 1) if model.condition_channels else None
    codec = Codec(model)
    file = codec.compress(groups, condition, streams=streams)
    with pytest.raises(ValueError, match=r"within max_bytes 1, got one of .*, which needs \d+$") as raised:
        codec.decompress_groups(file, condition, max_bytes=1)
    needed = int(str(raised.value).split()[-1])
    got = codec.decompress_groups(file, condition, max_bytes=needed)
    assert all(map(torch.equal, got, groups))
    with pytest.raises(ValueError, match=f"within max_bytes {needed - 1}, got one of .*, which needs {needed}$"):
        codec.decompress_groups(file, condition, max_bytes=needed - 1)


@pytest.mark.parametrize("kind, expected", [("row", 171213), ("diagonal", 209373), ("pixelcnn", 166973)])
def test_the_bytes_of_an_image_never_change(kind, expected):
    """The codec chooses the number of a file's streams by its estimate of an image's memory.

    The test pins the estimate, because a different estimate could change the bytes of the file for the same images.
    """
    assert Codec(model_of(kind))._bytes_of_image(64, 50) == expected


def test_a_file_that_is_too_large_says_of_what():
    model = model_of("pixelcnn")
    one, three = "1 image of 1x1", "1 image of 1x1, 2 images of 1x2, 3 images of 1x3"
    for count, expected in (1, one), (3, three), (4, f"{three} and 1 group more"), (5, f"{three} and 2 groups more"):
        file = model.compress([images_of(model, n, 1, n) for n in range(1, count + 1)])
        with pytest.raises(ValueError, match=f"got one of {expected}, which needs"):
            Codec(model).decompress_groups(file, max_bytes=1)


def test_another_device_is_left_alone():
    """The meta device stands for a GPU. The codec copies a model from it to the CPU."""
    model, copied = model_of().to("meta"), "coding runs on the CPU: the model is copied there from meta"
    with pytest.warns(UserWarning, match=copied), pytest.raises(ValueError, match="got a meta tensor, first.weight"):
        Codec(model)
