import io
import re
import runpy
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from helpers.root import ROOT

SDIST = "dist/pixelrnn_ext-1.2.0.tar.gz"
WHEEL = "dist/pixelrnn_ext-1.2.0-py3-none-manylinux_2_28_x86_64.whl"
FILES = {
    "pyproject.toml": 'version = "1.2.0"\n',
    "CITATION.cff": "version: 1.2.0\n",
    "CHANGELOG.md": "# Changelog\n\n## [1.2.0] - 2030-01-31\n\n## [1.1.0] - 2029-01-31\n",
}


@pytest.fixture
def check():
    return SimpleNamespace(**runpy.run_path(str(ROOT / ".github/release_check.py")))


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "dist").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    wheel()(tmp_path)
    sdist("PKG-INFO", "setup.py", "pixelrnn_ext/a.py")(tmp_path)
    return tmp_path


def wheel(libraries=("_C.so", "_C_cuda.so"), glibc="2.28"):
    def write(tree):
        build = f"BUILD = {{'cuda': '12.9', 'glibc': {glibc!r}, 'torch': '2.13'}}\n"
        with zipfile.ZipFile(tree / WHEEL, "w") as file:
            for name in ("a.py", *libraries):
                file.writestr(f"pixelrnn_ext/{name}", "")
            file.writestr("pixelrnn_ext/_build_info.py", build)
            file.writestr("pixelrnn_ext-1.2.0.dist-info/METADATA", "")

    return write


def sdist(*names, text=b""):
    def write(tree):
        with tarfile.open(tree / SDIST, "w:gz") as file:
            for name in names:
                member = tarfile.TarInfo(f"pixelrnn_ext-1.2.0/{name}")
                member.size = len(text)
                file.addfile(member, io.BytesIO(text))

    return write


def remove(name):
    return lambda tree: (tree / name).unlink()


def write(name, text):
    return lambda tree: (tree / name).write_text(text)


def rename(name):
    """Returns two values: a function that renames the wheel, and the message that the release check then prints."""
    found = f"{name}: expected pixelrnn_ext-1.2.0-py3-none"
    return lambda tree: (tree / WHEEL).rename(tree / "dist" / name), found


A, B = "pixelrnn_ext/a.py", "pixelrnn_ext/b.py"
OTHER = "expected {} as in pixelrnn_ext-1.2.0.tar.gz, got another ({} files differ)"


FINDINGS = {
    "one release": (lambda tree: None, None),
    "citation": (write("CITATION.cff", "version: 1.1.0\n"), "expected version 1.2.0, got 1.1.0"),
    "unreleased": (write("CHANGELOG.md", "## [Unreleased]\n"), "with a date, got [Unreleased]"),
    "no date": (write("CHANGELOG.md", "## [1.2.0]\n"), "with a date, got [1.2.0]"),
    "older": (write("CHANGELOG.md", "## [1.1.0] - 2029-01-31\n"), "with a date, got [1.1.0]"),
    "no wheel": (remove(WHEEL), "expected a wheel, got none"),
    "of one Python": rename("pixelrnn_ext-1.2.0-cp310-abi3-manylinux_2_28_x86_64.whl"),
    "of a newer glibc": rename("pixelrnn_ext-1.2.0-py3-none-manylinux_2_34_x86_64.whl"),
    "of an older version": rename("pixelrnn_ext-1.1.0-py3-none-manylinux_2_28_x86_64.whl"),
    "no library": (wheel(["_C.so"]), "expected the library _C_cuda.so, got none"),
    "of another build": (wheel(glibc=None), "and all GPUs, got None"),
    "no sdist": (remove(SDIST), "expected the sdist pixelrnn_ext-1.2.0.tar.gz, got none"),
    "of older files": (sdist("PKG-INFO", A, text=b"new"), OTHER.format("PKG-INFO", 2)),
    "without a new file": (sdist("PKG-INFO", A, B), OTHER.format(B, 1)),
}


@pytest.mark.parametrize(("change", "finding"), FINDINGS.values(), ids=FINDINGS)
def test_findings(check, tree, change, finding):
    change(tree)
    findings = [*check.check_versions(tree), *check.check_distributions(tree / "dist", "1.2.0")]
    assert len(findings) == (finding is not None), findings
    assert finding is None or finding in findings[0]


@pytest.mark.parametrize("ref", ["", "refs/heads/main", "refs/tags/v1.2.0", "refs/tags/v1.2"])
def test_a_tag_is_of_the_version(check, tree, ref):
    expected = ["the tag: expected v1.2.0, got v1.2"] if ref.endswith("v1.2") else []
    assert list(check.check_versions(tree, ref)) == expected


def test_the_version_stands_in_pyproject_alone(check):
    assert not [found for found in check.check_versions(ROOT) if not found.startswith("CHANGELOG.md")]
    newest = re.search(r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == check.version_of(ROOT)
