"""The compiled libraries work with every version of Python and of CUDA.

They export no symbols, and load neither Python nor CUDA.
"""

import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import pixelrnn_ext

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs ELF files")


@pytest.mark.parametrize("name", ["_C", "_C_cuda"])
def test_what_a_library_needs_and_exports(name):
    path = Path(pixelrnn_ext.__file__).with_name(f"{name}.so")
    if not path.exists():
        pytest.skip(f"{name} was not built")
    with path.open("rb") as file:
        elf = ELFFile(file)
        needed = [tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")]
        symbols = [symbol for symbol in elf.get_section_by_name(".dynsym").iter_symbols() if symbol.name]
    bound = {symbol.name: symbol.entry.st_shndx for symbol in symbols if symbol.entry.st_info.bind != "STB_LOCAL"}
    imported = {symbol for symbol, section in bound.items() if section == "SHN_UNDEF"}
    assert imported == bound.keys(), "it exports a symbol"
    assert not [symbol for symbol in imported if symbol.startswith(("Py", "_Py", "cu"))]
    assert "libtorch.so" in needed or "libtorch_cpu.so" in needed
    for foreign in ("cuda", "nv", "python", "cupti", "omp"):
        assert not [library for library in needed if foreign in library], needed
