import re
from fnmatch import fnmatch

import pytest

from helpers.root import ROOT

FOLDERS = ("benchmarks", "build_tools", "csrc", "docs", "examples", "pixelrnn_ext", "tests")
FILES = [path.relative_to(ROOT).as_posix() for folder in (".ci", *FOLDERS) for path in (ROOT / folder).rglob("*")]
FILES += [path.name for path in ROOT.iterdir()]
# The changelog may name deleted files.
PATTERNS = ("*.md", "docs/**/*.md", "pixelrnn_ext/**/*.md", "tests/*/README.md", ".github/*.md")
DOCUMENTS = sorted({path for pattern in PATTERNS for path in ROOT.glob(pattern)} - {ROOT / "CHANGELOG.md"})

SOURCE = re.compile(r"(?<![\w./*-])[\w./*-]+\.(?:py|cpp|h|cu|cuh|md|toml|cff)(?![\w*])")
PLACE = re.compile(rf"(?<![\w./*-])(?:{'|'.join(FOLDERS)}|\.ci|\.github)/[\w./*-]*\w")
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def anchors(document):
    headings = re.findall(r"^#+ (.*)", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_names_exists(document):
    """A document may write ``plan.cpp`` for ``csrc/cuda/scan/plan.cpp``."""
    text = document.read_text()
    # The test removes Python examples, formulas and paths below the placeholder DIR from the text, because all three
    # may name files that do not exist.
    checked = re.sub(r"^```python\n.*?^```|^\$\$.*?\$\$$|\bDIR/\S+", "", text, flags=re.MULTILINE | re.DOTALL)
    names = {name.removeprefix("../") for name in SOURCE.findall(checked)}
    missing = [name for name in names if not any(fnmatch(f"/{path}", f"*/{name}") for path in FILES)]
    missing += [name for name in set(PLACE.findall(checked)) if not any(ROOT.glob(name))]
    for link, anchor in LINK.findall(checked):
        file = document.parent / link if link else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            missing.append(f"{link}#{anchor}")
    named = re.findall(r"(?:^|`)make ([a-z -]+?)(?:`| *#| *$)", text, re.MULTILINE)
    missing += {name for names in named for name in names.split()}.difference(TARGETS)
    assert not missing, f"{document.name} names what is not there: {', '.join(sorted(missing))}"


def test_readme_is_short():
    text = (ROOT / "README.md").read_text()
    lines = text.splitlines()
    assert len(lines) <= 150 and len(text.split()) <= 1500
    assert not [line for line in lines if len(line) > 120 and not line.startswith("|")]


def test_a_hook_before_a_commit_is_what_ci_runs():
    group = re.search(r"^lint = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    hooks = re.findall(r"additional_dependencies: \[(.*)\]", (ROOT / ".pre-commit-config.yaml").read_text())
    assert {hook.strip('"') for hook in hooks} == set(re.findall(r'"(.*?)"', group))
