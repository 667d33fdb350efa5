"""Writes the hashes of the built libraries' operators into pixelrnn_ext/operators/library.py, for `make schemas`.

The hash of a library that is not built stays as it is.
"""

from pathlib import Path

from pixelrnn_ext.operators import library


def main():
    if library._is_built("_C_cuda") and "_C_cuda" not in library._hashes:
        library._load("_C_cuda", "CUDA", None)  # the package loads no CUDA kernels beside CPU kernels of other sources
    path = Path(library.__file__)
    text = path.read_text()
    for module, found in library._hashes.items():
        print(f"{module}: {library.SCHEMAS[module]} becomes {found}")
        text = text.replace(library.SCHEMAS[module], found)
    path.write_text(text)


if __name__ == "__main__":
    main()
