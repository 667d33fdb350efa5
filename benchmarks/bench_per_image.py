"""Parameter gradients of every image, by torch.func.vmap(grad), over one backward of the batch.
`python benchmarks/bench_per_image.py --help`"""

import statistics
import sys

import torch
from torch.func import functional_call, grad, vmap

import pixelrnn_ext as px
from harness.environment import environment
from harness.model_options import parse
from harness.verdict import Verdict, verdict_table
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import paired, paired_ratio

BATCH, APART = "one backward of the batch", "gradients of every image"
REQUIRED = {"mnist-diagonal": 6}  # times as long, at most, for 64 images


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    options, side, overrides = parse(argv, __doc__, "--images", 64)
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
    for name, value in environment(__file__, argv, [options.threads]).items():
        print(f"{name}: {value}")
    print()
    rows = [
        [name, f"{1e3 * statistics.median(t for t in seconds if t is not None):.0f}"] for name, seconds in times.items()
    ]
    print(grid([f"{options.model}, {options.images} images", "median ms"], rows, markdown=False))
    print(
        f"\n{APART} take {ratio:.2f} x as long: the median over rounds that time both in turn. "
        "They add up to the batch's to 1e-4."
    )
    if options.verdict:
        required = REQUIRED.get(options.model) if options.images == 64 else None
        case = f"{options.model}, {options.images} images"
        verdict = Verdict(case, f"{APART} over {BATCH}", required, ratio, at_most=True)
        print(f"\n{verdict_table([verdict], 'any processor')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
