"""The command line of the benchmarks of whole models."""

import argparse

import torch

import pixelrnn_ext as px

SIDES = {"mnist": 28, "cifar10": 32, "imagenet32": 32, "imagenet64": 64}


def parse(
    argv: list[str], description: str, count: str, default: int, **flags: str
) -> tuple[argparse.Namespace, int, dict]:
    """The options, of which ``count`` is the one for the number of images; the images' side, and arguments of the
    model. ``flags`` are further ones with their help."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--model", default="mnist-diagonal", choices=px.models.CONFIGURATIONS, help="default: %(default)s"
    )
    parser.add_argument(count, type=int, default=default, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), metavar="N", help="default: %(default)s"
    )
    extents = parser.add_mutually_exclusive_group()
    extents.add_argument(
        "--check", action="store_true", help="a tiny model and image: whether everything runs, in seconds"
    )
    extents.add_argument("--verdict", action="store_true", help="what is required, too, beside what is measured")
    for name, what in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=what)
    options = parser.parse_args(argv)
    for name in (count, "--threads"):
        value = getattr(options, name.strip("-").replace("-", "_"))
        if value < 1:
            parser.error(f"argument {name}: expected at least 1, got {value}")
    torch.set_num_threads(options.threads)
    if options.check:
        return options, 6, {"hidden_channels": 8, "num_layers": 2, "head_channels": 8}
    return options, SIDES[options.model.partition("-")[0]], {}
