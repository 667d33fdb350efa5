import importlib
import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

import torch

from .. import causality
from .._sentences import reason
from ..training import grid
from .arguments import non_negative, positive
from .inputs import add_threads
from .outputs import add_out, say
from .pictures import check_out

SUMMARY = "check that a function of your own is causal"
EXAMPLES = (
    "homework:model --shape 1x28x28 --layout levels-first",
    "homework:first_layer --shape 1x8x8 --layout features --mask A --out leak.png",
)


DTYPES = ("float64", "float32", "int64", "uint8")
MAX_VALUES = 2**22  # a check takes about 5 KiB of memory for each value of an image


def add(parser: ArgumentParser) -> None:
    function = "a module object or a function from images to maps, in a Python module that can be imported from here"
    parser.add_argument("function", type=_name, metavar="MODULE:FUNCTION", help=function)
    parser.add_argument("--shape", type=_shape, required=True, metavar="CxHxW", help="of an image that FUNCTION takes")
    layouts = "of the maps: (N, L, C, H, W), (N, C * L, H, W), or features (N, K, H, W), see px.causality.check"
    parser.add_argument("--layout", choices=causality.LAYOUTS, required=True, help=layouts)
    mask = "A: an output may not see its own value, by default except for features; B: it may"
    parser.add_argument("--mask", choices=("A", "B"), help=mask)
    parser.add_argument("--image-channels", type=positive, metavar="N", help="number of colours (the C of --shape)")
    parser.add_argument("--levels", type=positive, metavar="N", help="values are integers below N, not real numbers")
    dtypes = "of the images (%(default)s); int64 or uint8 for functions that take no real numbers"
    parser.add_argument("--dtype", choices=DTYPES, default="float64", help=dtypes)
    parser.add_argument("--seed", type=non_negative, default=0)
    picture = "picture of what the output with most leaks sees: blue, leaks red, blind spots orange"
    add_out(parser, "file", metavar="FILE.png", help=picture, required=False)
    add_threads(parser)


def run(options: Namespace, command: str, argv: list[str]) -> int:
    """Finds outputs that depend on later inputs. The exit status is 1 if there are any."""
    if options.out:
        check_out(options.out, animate=False)
    report = causality.check(
        _imported(*options.function),
        options.shape,
        layout=options.layout,
        mask=options.mask,
        image_channels=options.image_channels,
        levels=options.levels,
        dtype=getattr(torch, options.dtype),
        seed=options.seed,
        raises=False,
    )
    say(str(report), options.out)
    if options.out:
        grid.write_grid(options.out, report.picture()[None] / 255, 1)
    return 1 if report.leak_count else 0


def _shape(text: str) -> list[int]:
    sides = text.split("x")
    if len(sides) != 3 or not all(side.isdecimal() and int(side) for side in sides):
        raise ArgumentTypeError(f"expected a shape such as 1x28x28 (channels x height x width), got {text!r}")
    shape = [int(side) for side in sides]
    if math.prod(shape) > MAX_VALUES:
        raise ArgumentTypeError(f"expected a shape of at most {MAX_VALUES} values, got {text!r}")
    return shape


def _name(text: str) -> tuple[str, str]:
    module, _, attribute = text.partition(":")
    if not module or not attribute:
        raise ArgumentTypeError(f"expected MODULE:FUNCTION, got {text!r}")
    return module, attribute


def _imported(module: str, attribute: str) -> Any:
    sys.path.insert(0, "")  # for this process, since the function may import more modules when it is called
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise ValueError(f"{module} cannot be imported: {type(error).__name__}: {reason(error)}") from error
    if not hasattr(found, attribute):
        raise ValueError(f"expected {module} to have {attribute}, got a module without it")
    function = getattr(found, attribute)
    if isinstance(function, type):
        raise TypeError(f"expected {attribute} to be an object or a function, got a class: name an object of the class")
    return function
