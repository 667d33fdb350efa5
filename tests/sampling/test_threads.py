import faulthandler
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import pixelrnn_ext as px
from helpers.models import generator, make_model
from pixelrnn_ext.codec import Codec

SECONDS = 60


def shared_models():
    small = dict(dtype=torch.float32, levels=3, num_layers=1)
    models = [px.pretrained("mnist5k-row"), make_model("pixelcnn", condition_channels=2, **small)]
    models += [make_model(name, **small) for name in ("multiscale-diagonal", "diagonal")]
    nn.utils.parametrizations.weight_norm(models[3].head[-1])
    return [model.eval() for model in models]


def operations(model):
    size = (1, 6, 4)
    condition = torch.ones(1, 2, 1, 1) if model.condition_channels else None
    images = torch.randint(model.levels, (2, *size), generator=generator(1))
    codec = Codec(model)
    file = codec.compress(images, condition)

    def sample(**options):
        return model.sample(2, size, generator=generator(), condition=condition, **options)

    def score():
        with torch.no_grad():
            return model.log_prob(images, condition)

    return {
        "sample": sample,
        "complete": lambda: sample(given=images, known=torch.arange(6).view(6, 1) < 3),
        "compress": lambda: model.compress(images, condition),
        "compress again": lambda: codec.compress(images, condition),
        "decompress": lambda: codec.decompress(file, condition),
        "score": score,
    }


def initialise(module, rng):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.3, 0.3, generator=rng)
    return module


def train():
    rng = generator(2)
    model = px.PixelRNN("row", image_channels=1, levels=2, hidden_channels=3, num_layers=1, head_channels=4)
    optimiser = torch.optim.SGD(initialise(model, rng).parameters(), 0.1)
    images = torch.randint(2, (4, 1, 6, 5), generator=rng)
    for _ in range(6):
        optimiser.zero_grad()
        loss = model.bits_per_dim(images)
        loss.backward()
        optimiser.step()
    return loss.detach()


def use_unrelated_modules():
    rng = generator(3)
    module = initialise(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), rng)
    module.register_buffer("more", torch.ones(4))
    module.name = "a module"
    return module(torch.rand(2, 4, generator=rng)).detach() + module.more


@pytest.mark.sweep
@pytest.mark.parametrize("threads", [1], indirect=True)
def test_models_in_threads_beside_unrelated_modules(threads):
    """faulthandler ends a process whose threads deadlock."""
    faulthandler.dump_traceback_later(SECONDS + 150, exit=True)
    work = [operations(model) for model in shared_models()]
    work += 2 * [{"train": train}] + 2 * [{"unrelated": use_unrelated_modules}]
    expected = [{name: use() for name, use in part.items()} for part in work]
    wrong, counts, end = [], [0] * (2 * len(work)), time.monotonic() + SECONDS

    def check(part, name):
        got, right = work[part][name](), expected[part][name]
        if not (got == right if isinstance(got, bytes) else torch.equal(got, right)):
            wrong.append(f"{name} gives another result than alone")

    def run(thread):
        part = thread % len(work)
        names = sorted(work[part], key=lambda name: hash((name, thread)))
        while time.monotonic() < end and not wrong:
            for name in names:
                try:
                    check(part, name)
                except BaseException:
                    wrong.append(f"{name}\n{traceback.format_exc()}")
                counts[thread] += 1

    with ThreadPoolExecutor(len(counts)) as executor:
        list(executor.map(run, range(len(counts))))
    for part, functions in enumerate(work):
        for name in functions.keys() & {"train", "unrelated", "score"}:
            check(part, name)
    faulthandler.cancel_dump_traceback_later()
    assert not wrong and min(counts), wrong[:3]
