import argparse
from collections.abc import Callable

import torch

import pixelrnn_ext as px
from pixelrnn_ext.cli.arguments import whole

DEFAULT, FULL, CHECK, VERDICT = "default", "full", "check", "verdict"  # the scopes of a run
SIDES = {"mnist": 28, "cifar10": 32, "imagenet32": 32, "imagenet64": 64}


def parser(description: str, full: str = "", **threads) -> argparse.ArgumentParser:
    """Returns a parser with the options for the scope and --threads.

    Args:
        full: the help of --full. Empty: no such option.
        threads: arguments of add_argument for --threads.
    """
    made = argparse.ArgumentParser(description=description)
    made.set_defaults(scope=DEFAULT)
    scopes = made.add_mutually_exclusive_group()
    for scope, what in (
        (FULL, full),
        (CHECK, "tiny sizes: whether everything runs, in seconds"),
        (VERDICT, "what is required, beside what is measured, at full size"),
    ):
        if what:
            scopes.add_argument(f"--{scope}", action="store_const", dest="scope", const=scope, help=what)
    made.add_argument("--threads", type=whole(1), metavar="N", **threads)
    return made


def of_a_model(
    argv: list[str], description: str, count: str, default: int, **flags: str
) -> tuple[argparse.Namespace, Callable[..., px.models.AutoregressiveModel], torch.Tensor]:
    """Returns the options of a benchmark of one model, a function that makes the model, and random images for it.

    Args:
        count: the option for the number of images.
        flags: further flags with their help.
    """
    shown = "default: %(default)s"
    made = parser(description, default=torch.get_num_threads(), help=shown)
    made.add_argument("--model", default="mnist-diagonal", choices=px.models.CONFIGURATIONS, help=shown)
    made.add_argument(count, dest="images", type=whole(1), default=default, metavar="N", help=shown)
    for name, what in flags.items():
        made.add_argument(f"--{name}", action="store_true", help=what)
    options = made.parse_args(argv)
    torch.set_num_threads(options.threads)
    tiny, side = {}, SIDES[options.model.partition("-")[0]]
    if options.scope == CHECK:
        tiny, side = {"hidden_channels": 8, "num_layers": 2, "head_channels": 8}, 6

    def build(**overrides) -> px.models.AutoregressiveModel:
        torch.manual_seed(0)
        return px.from_name(options.model, **tiny, **overrides)

    model = build()
    shape = options.images, model.image_channels, side, side
    return options, build, torch.randint(model.levels, shape, dtype=torch.uint8)
