import argparse
from collections.abc import Callable
from functools import partial

import torch

import pixelrnn_ext as px
from pixelrnn_ext.benchmark.device import add_option
from pixelrnn_ext.cli.arguments import positive

DEFAULT, FULL, CHECK, VERDICT = "default", "full", "check", "verdict"
SIDES = {"mnist": 28, "cifar10": 32, "imagenet32": 32, "imagenet64": 64}


def make_parser(description: str, full: str = "", **threads) -> argparse.ArgumentParser:
    """Returns a parser with --threads, and the options that select how much a benchmark runs.

    ``full`` is the help text of --full. If it is empty, there is no --full. ``threads`` are the keyword arguments of
    add_argument() for the option --threads.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.set_defaults(scope=DEFAULT)
    scopes = parser.add_mutually_exclusive_group()
    for scope, text in (
        (FULL, full),
        (CHECK, "check in seconds that everything runs, with tiny sizes"),
        (VERDICT, "compare measurements at full size with what is required"),
    ):
        if text:
            scopes.add_argument(f"--{scope}", action="store_const", dest="scope", const=scope, help=text)
    parser.add_argument("--threads", type=positive, metavar="N", **threads)
    return parser


def parse_model_options(
    argv: list[str], description: str, count: str, default: int, has_gpu: bool = False, **flags: str
) -> tuple[argparse.Namespace, Callable[..., px.models.AutoregressiveModel], torch.Tensor]:
    """Returns the options, a function that builds the model, and random images, whose number the option ``count`` sets.

    ``flags`` are options without a value, as name=help text.
    """
    shown = "default: %(default)s"
    parser = make_parser(description, default=torch.get_num_threads(), help=shown)
    parser.add_argument("--model", default="mnist-diagonal", choices=px.models.CONFIGURATIONS, help=shown)
    parser.add_argument(count, dest="images", type=positive, default=default, metavar="N", help=shown)
    if has_gpu:
        add_option(parser)
    for name, text in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    build = partial(build_model, options.model, options.scope == CHECK)
    return options, build, random_images(options.model, options.scope == CHECK, options.images)


def build_model(name: str, is_tiny: bool, **overrides) -> px.models.AutoregressiveModel:
    torch.manual_seed(0)
    tiny = {"hidden_channels": 8, "num_layers": 2, "head_channels": 8} if is_tiny else {}
    return px.from_name(name, **tiny, **overrides)


def random_images(name: str, is_tiny: bool, count: int) -> torch.Tensor:
    """Returns images for a model, which depend on its name alone."""
    model, side = build_model(name, is_tiny), 6 if is_tiny else SIDES[name.partition("-")[0]]
    return torch.randint(model.levels, (count, model.image_channels, side, side), dtype=torch.uint8)
