"""Times the parameter gradients of each single image, by torch.func.vmap(grad), against one backward of the batch."""

import sys

import torch
from torch.func import functional_call, grad, vmap

import pixelrnn_ext as px
from harness.options import CHECK, VERDICT, parse_model_options
from harness.report import finish
from harness.requirements import Verdict, verdict_table
from pixelrnn_ext.benchmark.tables import grid
from pixelrnn_ext.benchmark.timing import paired

BATCH, PER_IMAGE = "one backward of the batch", "gradients of every image"
# The largest allowed ratio of PER_IMAGE's time to BATCH's, by (model, number of images).
REQUIRED = {("mnist-diagonal", 64): 6}


def main(argv: list[str]) -> int:
    options, build, images = parse_model_options(argv, __doc__, "--images", 64)
    px.keep_freed_memory()
    model = build()
    leaves = dict(model.named_parameters())
    parameters = {name: leaf.detach() for name, leaf in leaves.items()}

    def batch():
        return dict(zip(leaves, torch.autograd.grad(model.log_prob(images).sum(), list(leaves.values()))))

    def log_prob(parameters, image):
        return px.likelihood.log_prob(functional_call(model, parameters, (image[None],)), image[None]).sum()

    def per_image():
        return vmap(grad(log_prob), (None, 0))(parameters, images)

    summed = {name: gradient.sum(0) for name, gradient in per_image().items()}
    for name, expected in batch().items():
        error = (summed[name] - expected).norm() / expected.norm()
        if not error <= 1e-4:
            print(f"MISMATCH: the gradients of {name} add up to that of the batch with an error of {error:.1e}")
            return 1
    timing = {"seconds": 0.1, "fewest": 2} if options.scope == CHECK else {"seconds": 20}
    times = paired({BATCH: batch, PER_IMAGE: per_image}, **timing)
    ratio, case = times.ratio(PER_IMAGE, BATCH), f"{options.model}, {options.images} images"
    tables = [grid([case, "median ms"], [[name, f"{1e3 * times.median(name):.0f}"] for name in times], markdown=False)]
    if options.scope == VERDICT:
        required = REQUIRED.get((options.model, options.images))
        verdict = Verdict(case, f"{PER_IMAGE} over {BATCH}", required, ratio, at_most=True)
        tables.append(verdict_table([verdict], "any processor"))
    notes = [f"{PER_IMAGE} take {ratio:.2f} x as long: the median over rounds that time both in turn."]
    notes.append("They add up to the batch's to 1e-4.")
    return finish(__file__, argv, [options.threads], tables, notes, [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
