"""Training steps of the paper's models: forward, backward and optimiser, native and in PyTorch. `python benchmarks/bench_training.py --help`"""

import argparse
import statistics
import sys

import torch
from harness import environment
from tables import grid
from timing import paired, paired_ratio

import pixelrnn_ext as px

NATIVE, REFERENCE = "native", "reference"
REQUIRED = {"mnist-diagonal": 120}  # images/s on 2 cores at batch 16
SIDES = {"mnist": 28, "cifar10": 32, "imagenet32": 32, "imagenet64": 64}


def step(name: str, backend: str, batch: int, side: int, **overrides):
    """A function that takes one step of RMSProp (section 5.2) and returns its loss; the same weights and images for all backends."""
    torch.manual_seed(0)
    model = px.from_name(name, backend=backend, **overrides)
    optimiser = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    images = torch.randint(model.levels, (batch, model.image_channels, side, side), dtype=torch.uint8)

    def run():
        optimiser.zero_grad(set_to_none=True)
        loss = model.bits_per_dim(images)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return run


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mnist-diagonal", choices=px.models.CONFIGURATIONS, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), metavar="N", help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="a tiny model and image: whether everything runs, in seconds")
    options = parser.parse_args(argv)
    for name, value in (("--batch-size", options.batch_size), ("--threads", options.threads)):
        if value < 1:
            parser.error(f"argument {name}: expected at least 1, got {value}")
    torch.set_num_threads(options.threads)
    side, overrides = SIDES[options.model.partition("-")[0]], {}
    if options.check:
        side, overrides = 6, {"hidden_channels": 8, "num_layers": 2, "head_channels": 8}

    def steps():
        return {b: step(options.model, b, options.batch_size, side, **overrides) for b in (NATIVE, REFERENCE)}

    losses = {backend: float(run()) for backend, run in steps().items()}
    if abs(losses[NATIVE] - losses[REFERENCE]) > 1e-5 * losses[REFERENCE]:
        print(f"MISMATCH: the first losses are {losses}")
        return 1
    times = paired(steps(), seconds=0.1 if options.check else 10, fewest=2 if options.check else 5)
    lines = []
    for backend, seconds in times.items():
        median = statistics.median(t for t in seconds if t is not None)
        faster = paired_ratio(times[REFERENCE], seconds)
        lines.append([options.model, backend, f"{1e3 * median:.1f}", f"{options.batch_size / median:.0f}", f"{faster:.1f}"])
    for name, value in environment(__file__, argv, [options]).items():
        print(f"{name}: {value}")
    print()
    print(grid(["model", "backend", "median ms a step", "images/s", f"faster than {REFERENCE}"], lines, markdown=False))
    print()
    print("The first losses agreed to 1e-5. Ratios are medians over rounds that time both in turn.")
    if options.model in REQUIRED and options.batch_size == 16 and not options.check:
        images, required = int(lines[0][3]), REQUIRED[options.model]
        print(f"{NATIVE}: {images} images/s, required on 2 cores {required}: {'met' if images >= required else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
