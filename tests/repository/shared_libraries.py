"""Reads from a compiled library of the package what it needs of a system.

`python tests/repository/shared_libraries.py FOLDER OBJECTS` fails where a library in FOLDER needs newer
system libraries than manylinux_2_28 has. It names each such symbol, and the object files in OBJECTS that use it.
"""

import re
import sys
from pathlib import Path

from elftools.elf.elffile import ELFFile

# The newest versions of glibc 2.28 and GCC 8, which manylinux_2_28 promises.
NEWEST = {"GLIBC": (2, 28), "GLIBCXX": (3, 4, 25), "CXXABI": (1, 3, 11), "GCC": (8, 0, 0)}


class Library:
    """Names: `needed` libraries; `exported` and `imported` symbols; `versions` maps (library, version) to symbols."""

    def __init__(self, path):
        with open(path, "rb") as file:
            elf = ELFFile(file)
            tags = list(elf.get_section_by_name(".dynamic").iter_tags())
            self.needed = {tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"}
            self.exported, self.imported, self.versions = set(), set(), {}
            by_number = {}
            for file_, versions in _section(elf, ".gnu.version_r", "iter_versions"):
                for version in versions:
                    by_number[version.entry.vna_other] = self.versions.setdefault((file_.name, version.name), set())
            numbers = elf.get_section_by_name(".gnu.version")
            for index, symbol in enumerate(elf.get_section_by_name(".dynsym").iter_symbols()):
                if not symbol.name or symbol.entry.st_info.bind == "STB_LOCAL":
                    continue
                if symbol.entry.st_shndx != "SHN_UNDEF":
                    self.exported.add(symbol.name)
                    continue
                self.imported.add(symbol.name)
                by_number.get(numbers and numbers.get_symbol(index).entry.ndx, set()).add(symbol.name)

    def too_new(self):
        """Yields (symbol or None, "VERSION of LIBRARY") of what manylinux_2_28 does not promise."""
        for (library, version), symbols in self.versions.items():
            name, _, number = version.partition("_")
            newest = NEWEST.get(name, ())
            known = re.fullmatch(r"[\d.]+", number) and tuple(map(int, number.split("."))) <= newest
            if name in NEWEST and not known:
                for symbol in sorted(symbols) or [None]:
                    yield symbol, f"{version} of {library}"


def _section(elf, name, method):
    section = elf.get_section_by_name(name)
    return getattr(section, method)() if section else ()


def _users(symbol, folder):
    """Returns the names of the object files under a folder that use a symbol."""
    found = []
    for path in sorted(Path(folder).rglob("*.o")):
        with path.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab")
            symbols = (table.get_symbol_by_name(symbol) if table else None) or []
        if any(one.entry.st_shndx == "SHN_UNDEF" for one in symbols):
            found.append(path.name)
    return ", ".join(found) or "no object file"


def main(folder, objects):
    found = [
        f"{path.name}: {symbol or 'the library'} is {version}, used by {_users(symbol, objects)}"
        for path in sorted(Path(folder).rglob("*.so"))
        for symbol, version in Library(path).too_new()
    ]
    if found:
        raise SystemExit("\n".join(["expected no symbol newer than manylinux_2_28, got:", *found]))


if __name__ == "__main__":
    main(*sys.argv[1:])
