"""Makes a small data set, a training of a small model, and checkpoints of untrained models."""

import json

import torch

from pixelrnn_ext import models
from pixelrnn_ext.training import checkpoint, data
from pixelrnn_ext.training.builder import build
from pixelrnn_ext.training.distributed import World
from pixelrnn_ext.training.files import write_atomically
from pixelrnn_ext.training.loop import Training
from pixelrnn_ext.training.settings import Settings

SINGLE_PROCESS = World(0, 1, torch.device("cpu"))


def tiny_data():
    """Returns a data set of binary images, 4 x 5 pixels, in 3 classes: 23 to train, 7 to validate, 5 to test."""
    generator = torch.Generator().manual_seed(0)
    splits, gray = {}, {}
    for split, count in zip(data.SPLITS, (23, 7, 5)):
        labels = torch.arange(count) % 3
        slope = torch.stack([torch.linspace(0, 255, 5), torch.linspace(255, 0, 5), torch.full((5,), 128.0)])[labels]
        images = slope[:, None, None].expand(count, 1, 4, 5).round().to(torch.uint8)
        gray[split] = images
        splits[split] = data.Split(data.binarise(images, generator), labels)
    classes = "falling", "rising", "even"
    return data.DataSet("tiny", "tiny (made for a test)", 2, splits, classes, gray=gray, dynamic=True)


def tiny_training(out, images=None, model="diagonal", conditional=False, log=None, world=SINGLE_PROCESS, **settings):
    """Returns a training of a small model. The list ``log`` collects its messages."""
    images = images or tiny_data()
    torch.manual_seed(0)
    network = build(model, images, conditional=conditional, hidden_channels=3, num_layers=1, head_channels=4)
    settings = Settings(**dict(batch_size=4, samples=0) | settings)
    return Training(network, images, settings, world, out, say=[].append if log is None else log.append)


def resumed_training(out, **options):
    training = tiny_training(out, **options)
    training.resume(out / checkpoint.LAST)
    return training


def assert_same_checkpoints(expected, got):
    for name in (checkpoint.LAST, checkpoint.BEST):
        assert_same(*(checkpoint.load(folder / name)[0] for folder in (expected, got)))


def assert_same(expected, got):
    assert expected.keys() == got.keys()
    different = [name for name in expected if not torch.equal(expected[name], got[name])]
    assert not different, f"not the same to the bit: {different}"


def write_cheap_curve(path, entries, title, unit):
    write_atomically(path, json.dumps([entry["step"] for entry in entries]).encode())


def stop_before(step, training):
    return lambda: training.progress.step >= step


def tiny_checkpoint(path, levels=2, channels=1, classes=(), **options):
    torch.manual_seed(0)
    sizes = dict(hidden_channels=channels, num_layers=1, head_channels=channels)
    model = models.PixelRNN(
        "row", image_channels=channels, levels=levels, condition_channels=len(classes), **sizes | options
    )
    return save_untrained(path, model, [channels, 4, 5], classes)


def save_untrained(path, model, shape, classes=()):
    facts = {
        "model": models.to_config(model),
        "data": {"shape": shape, "classes": list(classes)},
        "progress": {"step": 0, "evaluated": 0, "best_step": 0, "best": 1.0},
    }
    checkpoint.save(path, {f"model.{name}": tensor for name, tensor in model.state_dict().items()}, facts)
    return path


def tiny_model():
    """Returns a model in float64 whose states outside the image are not zero."""
    torch.manual_seed(0)
    model = models.from_name("mnist-diagonal", hidden_channels=3, num_layers=2, head_channels=5, backend="reference")
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.normal_(std=0.5)
    return model, torch.randint(2, (2, 1, 4, 3), dtype=torch.uint8)
