"""`python -m pixelrnn_ext` says what was compiled in and what is missing."""

import argparse

from ._library import build_config


def _readable(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def main() -> None:
    argparse.ArgumentParser(prog="python -m pixelrnn_ext", description=__doc__).parse_args()
    config = build_config()
    width = max(map(len, config)) + 1
    for key, value in config.items():
        print(f"{key + ':':<{width}} {_readable(value)}")


if __name__ == "__main__":
    main()
