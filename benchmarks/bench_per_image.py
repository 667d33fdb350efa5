"""Parameter gradients of every image, by torch.func.vmap(grad), over one backward of the batch. `python benchmarks/bench_per_image.py --help`"""

import argparse
import statistics
import sys

import torch
from bench_training import SIDES
from harness import environment
from tables import grid
from timing import paired, paired_ratio
from torch.func import functional_call, grad, vmap

import pixelrnn_ext as px

BATCH, APART = "one backward of the batch", "gradients of every image"
REQUIRED = {"mnist-diagonal": 6}  # times as long, at most, for 64 images


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mnist-diagonal", choices=px.models.CONFIGURATIONS, help="default: %(default)s")
    parser.add_argument("--images", type=int, default=64, metavar="N", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), metavar="N", help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="a tiny model and image: whether everything runs, in seconds")
    options = parser.parse_args(argv)
    for name, value in (("--images", options.images), ("--threads", options.threads)):
        if value < 1:
            parser.error(f"argument {name}: expected at least 1, got {value}")
    torch.set_num_threads(options.threads)
    side, overrides = SIDES[options.model.partition("-")[0]], {}
    if options.check:
        side, overrides = 6, {"hidden_channels": 8, "num_layers": 2, "head_channels": 8}
    torch.manual_seed(0)
    model = px.from_name(options.model, **overrides)
    leaves = dict(model.named_parameters())
    parameters = {name: leaf.detach() for name, leaf in leaves.items()}
    images = torch.randint(model.levels, (options.images, model.image_channels, side, side), dtype=torch.uint8)

    def batch():
        return dict(zip(leaves, torch.autograd.grad(model.log_prob(images).sum(), list(leaves.values()))))

    def log_prob(parameters, image):
        return px.likelihood.log_prob(functional_call(model, parameters, (image[None],)), image[None]).sum()

    def apart():
        return vmap(grad(log_prob), (None, 0))(parameters, images)

    summed = {name: gradient.sum(0) for name, gradient in apart().items()}
    for name, expected in batch().items():
        error = (summed[name] - expected).norm() / expected.norm()
        if not error <= 1e-4:
            print(f"MISMATCH: the gradients of {name} add up to that of the batch with an error of {error:.1e}")
            return 1
    times = paired({BATCH: batch, APART: apart}, seconds=0.1 if options.check else 20, fewest=2 if options.check else 5)
    ratio = paired_ratio(times[APART], times[BATCH])
    for name, value in environment(__file__, argv, [options]).items():
        print(f"{name}: {value}")
    print()
    rows = [[name, f"{1e3 * statistics.median(t for t in seconds if t is not None):.0f}"] for name, seconds in times.items()]
    print(grid([f"{options.model}, {options.images} images", "median ms"], rows, markdown=False))
    print(f"\n{APART} take {ratio:.2f} x as long: the median over rounds that time both in turn. They add up to the batch's to 1e-4.")
    if options.model in REQUIRED and options.images == 64 and not options.check:
        required = REQUIRED[options.model]
        print(f"required at most {required} x: {'met' if ratio <= required else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
