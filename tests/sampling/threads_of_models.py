"""Threads that use models beside others that train and beside modules that have nothing to do with either.

    python threads_of_models.py SECONDS

Every thread compares each of its results with that of a single thread. Errors and differences are printed, and the exit
status is 1 where there is any.
"""

import faulthandler
import sys
import threading
import time
import traceback

import torch
from torch import nn

import pixelrnn_ext as px
from pixelrnn_ext.codec import Codec

SIZE = 1, 6, 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def shared_models():
    """A pretrained one, a conditional one, a multi-scale one, and one whose weight a pre-hook makes."""
    torch.manual_seed(0)
    small = dict(image_channels=1, levels=3, hidden_channels=4, num_layers=1, head_channels=5)
    models = [px.pretrained("mnist5k-row"), px.PixelCNN(**small, condition_channels=2)]
    models += [px.MultiScalePixelRNN("diagonal", **small), px.PixelRNN("diagonal", **small)]
    nn.utils.parametrizations.weight_norm(models[3].head[-1])
    return [model.eval() for model in models]


def uses(model):
    """Returns what a server does with a model, each as a function without arguments."""
    size = (1, 6, 4)
    condition = torch.ones(1, 2, 1, 1) if model.condition_channels else None
    images = torch.randint(model.levels, (2, *size), generator=generator(1))
    half = dict(given=images, known=torch.arange(6).view(6, 1) < 3)
    codec = Codec(model)
    file = codec.compress(images, condition)

    def score():
        with torch.no_grad():
            return model.log_prob(images, condition)

    return {
        "sample": lambda: model.sample(2, size, generator=generator(), condition=condition),
        "complete": lambda: model.sample(2, size, generator=generator(), condition=condition, **half),
        "compress": lambda: model.compress(images, condition),
        "compress again": lambda: codec.compress(images, condition),
        "decompress": lambda: codec.decompress(file, condition),
        "score": score,
    }


def training():
    """Six steps of a model of one's own, from the beginning each time."""
    with torch.random.fork_rng(devices=[], enabled=False):
        model = px.PixelRNN("row", image_channels=1, levels=2, hidden_channels=3, num_layers=1, head_channels=4)
    own = generator(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.3, 0.3, generator=own)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    images = torch.randint(2, (4, *SIZE), generator=own)
    for _ in range(6):
        optimiser.zero_grad()
        loss = model.bits_per_dim(images)
        loss.backward()
        optimiser.step()
    return loss.detach()


def unrelated():
    """Modules made, called and changed, as any program does."""
    own, module = generator(3), nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-1, 1, generator=own)
    module.register_buffer("more", torch.ones(4))
    module.name = "a module"
    return module(torch.rand(2, 4, generator=own)).detach() + module.more


def main(seconds):
    faulthandler.dump_traceback_later(seconds + 150, exit=True)
    torch.set_num_threads(1)
    work = [uses(model) for model in shared_models()]
    work += [{"train": training}, {"train": training}, {"unrelated": unrelated}, {"unrelated": unrelated}]
    expected = [{name: use() for name, use in part.items()} for part in work]
    wrong, counts, end = [], [0] * (2 * len(work)), time.monotonic() + seconds

    def run(thread):
        part, right = work[thread % len(work)], expected[thread % len(work)]
        names = sorted(part, key=lambda name: hash((name, thread)))
        while time.monotonic() < end and not wrong:
            for name in names:
                try:
                    got = part[name]()
                    same = got == right[name] if isinstance(got, bytes) else torch.equal(got, right[name])
                    if not same:
                        wrong.append(f"thread {thread}: {name} gives another result than alone")
                except BaseException:
                    wrong.append(f"thread {thread}: {name}\n{traceback.format_exc()}")
                counts[thread] += 1

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong += [f"afterwards: {name} gives another result" for part, right in zip(work, expected) for name in part
              if name in ("train", "unrelated", "score") and not torch.equal(part[name](), right[name])]  # fmt: skip
    print(*wrong[:3], f"{sum(counts)} results of {len(threads)} threads, {min(counts)} of the slowest", sep="\n")
    return 1 if wrong or not min(counts) else 0


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1])))
