"""Training steps of the paper's models: forward, backward and optimiser, native and in PyTorch.
`python benchmarks/bench_training.py --help`"""

import statistics
import sys

import torch

import pixelrnn_ext as px
from harness.environment import environment
from harness.model_options import parse
from harness.tables import grid
from harness.timing import paired, paired_ratio

NATIVE, REFERENCE = "native", "reference"
REQUIRED = {"mnist-diagonal": 120}  # images/s on 2 cores at batch 16


def step(name: str, backend: str, batch: int, side: int, **overrides):
    """A function that takes one step of RMSProp (section 5.2) and returns its loss; the same weights and images for all
    backends."""
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
    options, side, overrides = parse(argv, __doc__, "--batch-size", 16)

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
        lines.append(
            [options.model, backend, f"{1e3 * median:.1f}", f"{options.batch_size / median:.0f}", f"{faster:.1f}"]
        )
    for name, value in environment(__file__, argv, [options.threads]).items():
        print(f"{name}: {value}")
    print()
    print(grid(["model", "backend", "median ms a step", "images/s", f"faster than {REFERENCE}"], lines, markdown=False))
    print()
    print("The first losses agreed to 1e-5. Ratios are medians over rounds that time both in turn.")
    if options.model in REQUIRED and options.batch_size == 16 and not options.check:
        images, required = int(lines[0][3]), REQUIRED[options.model]
        print(
            f"{NATIVE}: {images} images/s, required on 2 cores {required}: {'met' if images >= required else 'missed'}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
