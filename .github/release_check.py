"""Checks that a release's source tree, wheels and sdist agree with each other.

Run `make release-check` before the release gets its tag.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

NAME = "pixelrnn_ext"
ROOT = Path(__file__).resolve().parents[1]
PLATFORM = r"(manylinux_2_28_(x86_64|aarch64)|macosx_\d+_\d+_arm64)"


def first_match(pattern, path):
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    return found and found[1]


def version_of(root):
    return first_match(r'^version = "(.*)"$', root / "pyproject.toml")


def check_versions(root, ref=""):
    """Yields a sentence for each version that differs from the one in pyproject.toml.

    Checks CITATION.cff, the changelog, and ``ref`` if it is a tag such as refs/tags/v0.1.0.
    """
    version = version_of(root)
    cited = first_match(r"^version: (.*)$", root / "CITATION.cff")
    if cited != version:
        yield f"CITATION.cff: expected version {version}, got {cited}"
    top = first_match(r"^## (.*)$", root / "CHANGELOG.md")
    if not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", top or ""):
        yield f"CHANGELOG.md: expected the top section [{version}] with a date, got {top}"
    if ref.startswith("refs/tags/") and ref != f"refs/tags/v{version}":
        yield f"the tag: expected v{version}, got {ref.removeprefix('refs/tags/')}"


def wheel_files(path):
    with zipfile.ZipFile(path) as wheel:
        return {re.sub(r"^[^/]*\.dist-info/METADATA$", "PKG-INFO", name): wheel.read(name) for name in wheel.namelist()}


def sdist_files(path):
    with tarfile.open(path) as sdist:
        return {file.name.partition("/")[2]: sdist.extractfile(file).read() for file in sdist if file.isfile()}


def check_distributions(folder, version):
    """Yields a sentence for each mistake in the wheels and the sdist. Their common files must be equal."""
    wheels, sdists = sorted(folder.glob("*.whl")), [path.name for path in folder.glob("*.tar.gz")]
    if not wheels:
        yield f"{folder.name}: expected a wheel, got none"
    if sdists != [f"{NAME}-{version}.tar.gz"]:
        yield f"{folder.name}: expected the sdist {NAME}-{version}.tar.gz, got {', '.join(sdists) or 'none'}"
    for wheel in wheels:
        yield from check_wheel(wheel)
        if not re.fullmatch(rf"{NAME}-{re.escape(version)}-py3-none-{PLATFORM}\.whl", wheel.name):
            yield f"{wheel.name}: expected {NAME}-{version}-py3-none and a platform of a release"
        for sdist in sdists:
            in_wheel, in_sdist = wheel_files(wheel), sdist_files(folder / sdist)
            shared = rf"PKG-INFO|{NAME}/(?!_build_info).*\.py"
            names = sorted(name for name in in_wheel.keys() | in_sdist.keys() if re.fullmatch(shared, name))
            if differ := [name for name in names if in_wheel.get(name) != in_sdist.get(name)]:
                yield f"{wheel.name}: expected {differ[0]} as in {sdist}, got another ({len(differ)} files differ)"


def check_wheel(wheel):
    """Yields a sentence for each mistake in a wheel.

    A wheel for Linux must be built for glibc 2.28, and must have the library of the CUDA kernels.
    """
    files, is_linux = wheel_files(wheel), "manylinux" in wheel.name
    for library in ["_C.so", *["_C_cuda.so"] * is_linux]:
        if f"{NAME}/{library}" not in files:
            yield f"{wheel.name}: expected the library {library}, got none"
    built = re.search(rb"'glibc': ([^,]+)", files.get(f"{NAME}/_build_info.py", b"'glibc': nothing,"))
    if is_linux and (found := built[1].decode() if built else "nothing") != "'2.28'":
        yield f"{wheel.name}: expected a build by `make wheel`, for glibc '2.28' and all GPUs, got {found}"


def check_build(sdist):
    """Builds the CPU kernels from the sdist alone, and runs the smoke test. Yields a sentence if this fails."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(sdist, folder, filter="data")
        (source,) = Path(folder).iterdir()
        installed = Path(folder, "installed")
        settings = {"PIXELRNN_NATIVE": "1", "PIXELRNN_CUDA": "0", "PYTHONPATH": str(installed)}
        pip = ["-m", "pip", "install", "--no-deps", "--target", installed, source]
        for step, command in {"its build": pip, "its smoke test": ["tests/repository/smoke.py"]}.items():
            status = subprocess.run([sys.executable, *command], cwd=source, env={**os.environ, **settings}).returncode
            if status:
                yield f"{sdist.name}: expected {step} to succeed, got exit status {status}"
                return


def main():
    dist = ROOT / "dist"
    findings = [*check_versions(ROOT, os.environ.get("GITHUB_REF", "")), *check_distributions(dist, version_of(ROOT))]
    for sdist in dist.glob("*.tar.gz"):
        findings += check_build(sdist)
    for finding in findings:
        print(f"release-check: {finding}", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
