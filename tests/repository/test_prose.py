import runpy

import pytest

from helpers.root import ROOT

PROSE = runpy.run_path(str(ROOT / ".ci" / "prose.py"))
LONG = "This sentence has too many words" + ", and more" * 20 + "."


@pytest.mark.parametrize(
    ("suffix", "text", "count"),
    [
        (".py", f'"""{LONG}\n\nOf a line.\n"""\n\n# A sentence of\n# two lines.\nx = 1  # That of y\n', 3),
        (".h", f"// {LONG}\n//   Of a table\n\nint x;  // What it is\nint y;  // What is it?\n", 2),
        (".md", f"# Of a heading\n\n- As in an item\n- `Of` code\n\n| Of a table |\n\n```\n{LONG}\n```\n", 1),
        ("", "all:  # Those of a file\n", 1),
    ],
)
def test_faults_are_found(suffix, text, count):
    assert sum(len(PROSE["find_faults"](part)) for _, part in PROSE["READERS"][suffix](text)) == count
