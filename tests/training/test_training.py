import errno
import json
import math
import os
import signal
import zlib
from pathlib import Path
from unittest.mock import Mock

import pytest
import safetensors.torch
import torch

from helpers.tiny import (
    SINGLE_PROCESS,
    assert_same,
    assert_same_checkpoints,
    resumed_training,
    stop_before,
    tiny_data,
    tiny_training,
)
from pixelrnn_ext.training import checkpoint, gallery, interrupt, journal, optimiser
from pixelrnn_ext.training.batches import shifted, training_batch
from pixelrnn_ext.training.builder import build, count_parameters
from pixelrnn_ext.training.distributed import World
from pixelrnn_ext.training.evaluation import nats_per_image
from pixelrnn_ext.training.interrupt import Interrupt
from pixelrnn_ext.training.settings import Settings

ALL = dict(schedule="cosine", warmup=2, clip=0.1, ema=0.9, flip=True, shift=1, weight_decay=0.1)


@pytest.mark.covering(1)
@pytest.mark.parametrize("stop", [0, 3, 5, 8], ids="after-{}-steps".format)
@pytest.mark.parametrize(
    "settings",
    [dict(optimiser="rmsprop"), dict(optimiser="adamw", **ALL), dict(optimiser="rmsprop", bf16=True, **ALL)],
    ids=["rmsprop", "adamw-all", "rmsprop-all-bf16"],
)
def test_a_resumed_training_is_the_same_to_the_bit(tmp_path, settings, stop):
    options = dict(conditional=True, steps=11, **settings)
    straight = tiny_training(tmp_path / "straight", **options)
    assert straight.run()

    first = tiny_training(tmp_path / "resumed", **options)
    assert not first.run(stop_before(stop, first)) and first.progress.step == stop
    torch.manual_seed(99)  # a training must not use torch's global random generator
    second = resumed_training(tmp_path / "resumed", **options)
    assert second.progress.step == stop and second.run()

    assert straight.progress == second.progress
    assert_same_checkpoints(straight.out, second.out)
    log, again = (
        [entry for entry in journal.read(out) if entry["event"] == "validation"] for out in (straight.out, second.out)
    )
    assert log == again and [entry["step"] for entry in log] == [5, 10, 11]


def test_the_log_goes_on_where_the_checkpoint_is(tmp_path):
    """When a training is resumed, it removes the log's lines of steps after the checkpoint.

    It also removes an incomplete last line. A crash may have left both.
    """
    assert tiny_training(tmp_path, steps=4).run()
    with (tmp_path / journal.LOG).open("a") as file:
        file.write('{"event": "train", "step": 9, "score": 1.0}\n{"event": "tra')
    assert resumed_training(tmp_path, steps=6).run()
    entries = journal.read(tmp_path)
    expected = [(event, step) for step in (4, 5, 6) for event in ("train", "validation")]
    assert [(entry["event"], entry["step"]) for entry in entries] == expected
    assert all(entry["data"] == "tiny (made for a test)" and entry["unit"] == "nats" for entry in entries)


def validate(training, model=None):
    return nats_per_image(model or training.model, training.data, "validation", SINGLE_PROCESS)


@pytest.mark.parametrize("model", ["row", "diagonal", "pixelcnn"])
def test_training_learns(tmp_path, model):
    said = []
    training = tiny_training(tmp_path, model=model, conditional=True, log=said, epochs=6, learning_rate=0.03, ema=0.5)
    before = validate(training)
    assert training.run()
    assert training.progress.best < before - 1 and training.progress.step == 30
    after = validate(training, training.scored_model)
    assert f"validation {after:.4f} nats" in said[-1]
    assert all(line.endswith("tiny (made for a test)") for line in said) and len(said) == 6


@pytest.mark.parametrize(
    ("broken", "name"), [("write_learning_curve", "learning-curve.png"), ("write_grid", "samples-0000001.png")]
)
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (RuntimeError("why\nwhere"), "why"),
    ],
)
def test_a_picture_that_cannot_be_written_ends_no_training(tmp_path, monkeypatch, broken, name, error, why):
    monkeypatch.setattr(gallery, broken, Mock(side_effect=error))
    said = []
    assert tiny_training(tmp_path, steps=1, samples=1, log=said).run()
    assert said[1:] == [f"training goes on without {tmp_path / name}: {why}"]
    assert not (tmp_path / name).exists() and len(list(tmp_path.glob("*.png"))) == 1


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_evaluation_is_the_mean_over_all_images(batch_size):
    images = tiny_data()
    model = build("row", images, hidden_channels=3, num_layers=1, head_channels=4).double()
    got = nats_per_image(model, images, "validation", SINGLE_PROCESS, batch_size=batch_size)
    expected = -model.log_prob(images.splits["validation"].images).mean().item()
    assert got == pytest.approx(expected, rel=1e-12)


def test_no_batch_is_checked_again(tmp_path, monkeypatch):
    """Neither a training step nor the validation may check the values of a batch.

    Each check would have to wait for the GPU.
    """
    training = tiny_training(tmp_path)
    monkeypatch.setattr(torch.Tensor, "aminmax", Mock(side_effect=AssertionError("a batch was checked")))
    assert training._step(0).isfinite()
    assert validate(training) > 0
    training.model.levels = 17
    with pytest.raises(ValueError, match="1 channels and 17 levels, as the model has, got 1 and 2 of tiny"):
        validate(training)


def test_learning_rates():
    def rates(schedule, warmup):
        return [optimiser.learning_rate(2.0, schedule, step, 8, warmup) for step in range(8)]

    assert rates("constant", 0) == [2.0] * 8
    assert rates("constant", 4) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert rates("linear", 0) == [2 - step / 4 for step in range(8)]
    assert rates("cosine", 4) == pytest.approx([0.5, 1, 1.5, 2, 2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5])


def test_the_schedule_and_the_clip_reach_the_optimiser(tmp_path):
    training = tiny_training(tmp_path, steps=4, schedule="linear", learning_rate=0.1, clip=1e-3)
    assert training.run()
    assert training.optimiser.param_groups[0]["lr"] == pytest.approx(0.1 / 4)
    norm = torch.stack([parameter.grad.norm() for parameter in training.model.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-2)


def test_a_loss_that_is_not_finite_ends_the_training_and_no_checkpoint(tmp_path):
    training = tiny_training(tmp_path, epochs=3)
    assert not training.run(stop_before(4, training))
    before = (tmp_path / checkpoint.LAST).read_bytes()
    again = resumed_training(tmp_path, epochs=3)
    again.model.head[-1].weight.data.fill_(math.nan)
    expected = "the loss is nan around step 5; the last checkpoint is of an earlier step"
    with pytest.raises(FloatingPointError, match=expected):
        again.run()
    assert (tmp_path / checkpoint.LAST).read_bytes() == before


@pytest.mark.parametrize("ema", [0, 0.5])
def test_parameters_that_a_last_step_broke_are_not_saved(tmp_path, ema):
    """The loss of the last step is finite, since the step breaks the parameters only afterwards."""
    training = tiny_training(tmp_path / "new", steps=1, learning_rate=1e30, optimiser="adamw", ema=ema)
    expected = "the validation loss is .* around step 1; there is no checkpoint yet; try a lower learning rate or clip"
    with pytest.raises(FloatingPointError, match=expected):
        training.run()
    training.parameters[0].data[0] = math.nan
    with pytest.raises(FloatingPointError, match="the norm of the parameters is nan around step 1"):
        training.save()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (dict(steps=0), ValueError, "steps >= 1, got 0"),
        (dict(steps=1, epochs=1), ValueError, "steps or epochs, got both"),
        (dict(optimiser="sgd"), ValueError, "optimiser to be one of rmsprop, adamw, got 'sgd'"),
        (dict(schedule="step"), ValueError, "schedule to be one of constant, linear, cosine, got 'step'"),
        (dict(compile="yes"), ValueError, "compile to be one of on, off, got 'yes'"),
        (dict(learning_rate=0.0), ValueError, "learning_rate > 0 and <= 1e30, got 0.0"),
        (dict(learning_rate=math.inf), ValueError, "learning_rate > 0 and <= 1e30, got inf"),
        (dict(seed=2**64), ValueError, r"seed in \[0, 2\*\*63\), got 18446744073709551616"),
        (dict(ema=1.0), ValueError, r"ema in \[0, 1\), got 1.0"),
        (dict(clip=-1.0), ValueError, "clip >= 0 and <= 1e30, got -1.0"),
        (dict(ema=math.nan), ValueError, r"ema in \[0, 1\), got nan"),
        (dict(learning_rate=math.nan), ValueError, "learning_rate > 0 and <= 1e30, got nan"),
        (dict(shift=-1), ValueError, "shift >= 0 and <= 1e30, got -1"),
        (dict(weight_decay=math.inf), ValueError, "weight_decay >= 0 and <= 1e30, got inf"),
        (dict(steps="5"), TypeError, r"steps to be int \| None, got str"),
        (dict(seed=True), TypeError, "seed to be int, got bool"),
        (dict(bf16=1), TypeError, "bf16 to be bool, got int"),
        (dict(shift=1.0), TypeError, "shift to be int, got float"),
        (dict(optimiser=None), TypeError, "optimiser to be str, got NoneType"),
    ],
    ids=str,
)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=f"^expected {message}$"):
        Settings(**settings)


def test_settings_that_do_not_fit_the_training_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a shift smaller than the images' 4 pixels, got 4"):
        tiny_training(tmp_path, shift=4)
    with pytest.raises(ValueError, match="expected a batch size divisible by 2 processes, got 9"):
        tiny_training(tmp_path, batch_size=9, world=World(0, 2, SINGLE_PROCESS.device))
    with pytest.raises(ValueError, match="expected the 3 images of a process in equal parts, got accumulate 2"):
        tiny_training(tmp_path, batch_size=6, accumulate=2, world=World(0, 2, SINGLE_PROCESS.device))


@pytest.mark.parametrize("conditional", [False, True], ids=["alone", "conditional"])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(tmp_path, conditional):
    whole, parts = (
        tiny_training(tmp_path, conditional=conditional, batch_size=6, accumulate=parts) for parts in (1, 3)
    )
    for step in range(3):
        losses = [training._step(step) for training in (whole, parts)]
        torch.testing.assert_close(*losses)
        for first, second in zip(whole.parameters, parts.parameters):
            torch.testing.assert_close(first, second)
            torch.testing.assert_close(first.grad, second.grad)


def test_shifted_images_are_moved_alike_in_every_channel_and_zeros_come_in():
    images = torch.randint(1, 9, (200, 3, 5, 4), generator=torch.Generator().manual_seed(0))
    moved = shifted(images, 2, torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    moves = [(down, right) for down in range(5) for right in range(5)]
    seen = []
    for original, got in zip(padded, moved):
        fits = [move for move in moves if torch.equal(original[:, move[0] : move[0] + 5, move[1] : move[1] + 4], got)]
        assert len(fits) == 1
        seen += fits
    assert set(seen) == set(moves), "some moves are never made"


@pytest.mark.parametrize("flip", [False, True])
def test_training_images_are_a_function_of_seed_and_step(flip):
    def batch(step, seed=0, share=slice(None), shift=1):
        options = dict(seed=seed, flip=flip, shift=shift, share=share, device="cpu", conditional=True)
        return training_batch(tiny_data(), torch.arange(8), step, **options)

    images, condition = batch(3)
    assert torch.equal(images, batch(3)[0])
    for rank in range(3):
        share = batch(3, share=slice(rank, None, 3))
        assert torch.equal(share[0], images[rank::3]) and torch.equal(share[1], condition[rank::3])
    assert not any(torch.equal(images, other[0]) for other in (batch(4), batch(3, seed=1), batch(3, shift=0)))


def test_weight_decay_is_decoupled_from_the_gradient():
    """Weight decay moves a parameter even if its gradient is zero."""
    for name, own in (("rmsprop", 0.0), ("adamw", 0.01)):
        for given, decay in ((None, own), (0.0, 0.0), (0.5, 0.5)):
            start = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
            still, plain, decayed = (torch.nn.Parameter(start.clone()) for _ in range(3))
            for parameter, wd, gradient in ((still, given, 0.0), (plain, 0.0, 3.0), (decayed, given, 3.0)):
                parameter.grad = torch.full_like(start, gradient)
                optimiser.make(name, [parameter], 0.1, wd).step()
            torch.testing.assert_close(still.data, start * (1 - 0.1 * decay))
            torch.testing.assert_close(decayed.data - still.data, plain.data - start)


@pytest.mark.parametrize("name", ["row", "diagonal", "pixelcnn", "multiscale"])
@pytest.mark.parametrize("parameters", [3000, 20000])
def test_hidden_channels_for_a_number_of_parameters(name, parameters):
    images = tiny_data()
    model = build(name, images, num_layers=2, head_channels=8, parameters=parameters)
    off = abs(count_parameters(model) - parameters)
    for hidden in (model.hidden_channels - 1, model.hidden_channels + 1):
        other = build(name, images, num_layers=2, head_channels=8, hidden_channels=hidden)
        assert abs(count_parameters(other) - parameters) >= off


# Checkpoints


@pytest.fixture
def saved(tmp_path):
    assert tiny_training(tmp_path, steps=2, ema=0.5).run()
    return tmp_path / checkpoint.LAST


def test_a_checkpoint_rebuilds_the_averaged_model(saved):
    model, facts = checkpoint.load_model(saved)
    tensors, _ = checkpoint.load(saved)
    assert_same(checkpoint.tensors_of(tensors, "average"), model.state_dict())
    assert facts["progress"]["step"] == 2 and facts["data"]["description"] == "tiny (made for a test)"
    # load_model loads the best checkpoint of a folder.
    assert_same(model.state_dict(), checkpoint.load_model(saved.parent)[0].state_dict())


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def edited(change):
    def damage(path):
        tensors, facts = checkpoint.load(path)
        change(tensors, facts)
        checkpoint.save(path, tensors, facts)

    return damage


def foreign(path, facts=None):
    safetensors.torch.save_file({"weight": torch.ones(2)}, path, facts)


HEAD = "average.head.1.weight"
NO_FILE, NO_CHECKPOINT = "damaged or not a safetensors file", "expected a checkpoint of pixelrnn_ext"
DAMAGES = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-7]), NO_FILE),
    "empty": (lambda path: path.write_bytes(b""), NO_FILE),
    "foreign": (foreign, NO_CHECKPOINT),
    "foreign JSON": (lambda path: foreign(path, {checkpoint.KEY: "{"}), NO_FILE),
    "a newer format": (
        lambda path: foreign(path, {checkpoint.KEY: "{}", checkpoint.FORMAT_KEY: "3"}),
        "expected a checkpoint of format 2 or before in .*, got '3': it is damaged, or",
    ),
    "a bit": (flip_a_bit, "is damaged: its content does not have the checksum"),
    "missing": (Path.unlink, "expected a checkpoint, the folder of a training, or .*, got .*last.safetensors"),
    "other keys": (
        edited(lambda tensors, _: tensors.update({"model.extra": tensors.pop(HEAD)})),
        "do not fit the model that it describes",
    ),
    "no shape": (edited(lambda _, facts: facts["data"].pop("shape")), NO_CHECKPOINT),
    "no step": (edited(lambda _, facts: facts["progress"].pop("step")), NO_CHECKPOINT),
    "no model": (edited(lambda _, facts: facts.update(model={"model": "T"})), "expected the configuration of a model"),
    "not finite": (
        edited(lambda tensors, _: tensors[HEAD].view(-1)[1:2].fill_(math.inf)),
        "expected a model of finite parameters, got infinity or NaN in head.1.weight of .*last.safetensors",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_or_foreign_checkpoint_is_refused(saved, kind):
    damage, message = DAMAGES[kind]
    damage(saved)
    with pytest.raises((ValueError, OSError), match=message):
        checkpoint.load_model(saved)


@pytest.mark.parametrize(
    ("group", "name", "value", "message"),
    [
        ("progress", "step", -5, r"progress.step to be an integer in \[0, 2\*\*63\), got -5"),
        ("progress", "step", 10**30, "progress.step to be an integer in .*, got 10{30}"),
        ("progress", "step", True, "progress.step to be an integer in .*, got True"),
        ("progress", "evaluated", 9, "progress.best_step <= evaluated <= step, got 2, 9 and 2"),
        ("progress", "best", math.nan, "progress.best to be a number, got nan"),
        ("model", "num_layers", 10**9, r"num_layers to be at most \d+ in .*last.*, got 1000000000"),
        ("model", "hidden_channels", 10**30, r"hidden_channels to be at most 9\d+ in .*last.*, got 10{30}"),
        ("data", "shape", [1, 0, 5], r"data.shape to be three integers >= 1, got \[1, 0, 5\]"),
        ("data", "classes", [1] * 99, r"data.classes to be a list of names, got \[1, 1, .*\.\.\."),
    ],
)
def test_a_checkpoint_of_impossible_facts_is_refused(saved, group, name, value, message):
    edited(lambda _, facts: facts[group].update({name: value}))(saved)
    end = "" if "last" in message else " in .*last.safetensors"
    with pytest.raises(ValueError, match=f"^expected {message}{end}$"):
        checkpoint.load_model(saved)


def test_no_flipped_bit_of_a_checkpoint_changes_anything(tmp_path):
    path = tmp_path / "x.safetensors"
    progress = {"step": 2, "evaluated": 2, "best": 3.5, "best_step": 2}
    facts = {"model": {"levels": 2}, "data": {"shape": [1, 4, 5], "classes": []}, "progress": progress}
    checkpoint.save(path, {"model.a": torch.arange(4.0).view(2, 2), "model.b": torch.ones(2, 2).half()}, facts)
    content = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(content):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), position)
                with pytest.raises(ValueError):
                    checkpoint.load(path)
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert checkpoint.load(path)[1] == facts


def test_a_checkpoint_of_the_first_format_says_that_its_facts_are_unchecked(saved):
    tensors, facts = checkpoint.load(saved)
    checksum = 0
    for name in sorted(tensors):
        checksum = zlib.crc32(tensors[name].numpy().tobytes(), checksum)
    safetensors.torch.save_file(tensors, saved, {checkpoint.KEY: json.dumps(facts | {"checksum": checksum})})
    with pytest.warns(UserWarning, match="last.safetensors is of the first format, whose checksum .* are unchecked"):
        again, same = checkpoint.load(saved)
    assert_same(tensors, again)
    assert same == facts
    with pytest.warns(UserWarning, match="first format"):
        resumed_training(saved.parent, steps=2, ema=0.5)
    flip_a_bit(saved)
    with pytest.raises(ValueError, match="its tensors do not have the checksum that was written with them"):
        checkpoint.load(saved)


@pytest.mark.parametrize("name", ["rmsprop", "adamw"])
@pytest.mark.parametrize("lost", ["all", "one", "shape"])
def test_a_training_is_not_resumed_without_the_state_of_its_optimiser(tmp_path, name, lost):
    settings = dict(steps=2, optimiser=name)
    path = tmp_path / checkpoint.LAST
    training = tiny_training(tmp_path, **settings)
    assert not training.run(stop_before(1, training))
    tensors, facts = checkpoint.load(path)
    state = [key for key in tensors if key.startswith("optimiser.")]
    for key in state if lost == "all" else state[-1:]:
        tensors[key] = torch.zeros(2)
        if lost != "shape":
            del tensors[key]
    checkpoint.save(path, tensors, facts)
    expected = r"last.safetensors cannot be resumed: expected the state of \w+ for every param"
    with pytest.raises(ValueError, match=expected):
        resumed_training(tmp_path, **settings)


def test_a_read_only_file_system_says_so(saved, monkeypatch):
    read_only = Mock(side_effect=OSError(errno.EROFS, os.strerror(errno.EROFS)))
    monkeypatch.setattr("builtins.open", read_only)
    monkeypatch.setattr("pathlib.Path.unlink", read_only)
    with pytest.raises(OSError, match=r"last.safetensors could not be written \(Read-only file system\); the one"):
        checkpoint.save(saved, {"model.weight": torch.zeros(9)}, {})


def test_a_second_interrupt_ends_at_once(monkeypatch):
    with Interrupt() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        # Ctrl-C arrives twice under torchrun, so a second signal right after the first is ignored.
        signal.raise_signal(signal.SIGINT)
        assert stop()
        monkeypatch.setattr(interrupt, "REPEAT_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
