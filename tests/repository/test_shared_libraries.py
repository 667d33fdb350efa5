"""The compiled libraries load into every Python, beside every CUDA and on the systems that the wheel is for."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pixelrnn_ext
from pixelrnn_ext.operators import library

from . import shared_libraries

FOLDER = Path(pixelrnn_ext.__file__).parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs ELF files")


@pytest.fixture(params=["_C", "_C_cuda"])
def built(request):
    path = FOLDER / f"{request.param}.so"
    if not path.exists():
        pytest.skip(f"{request.param} was not built")
    return shared_libraries.Library(path)


def test_no_library_needs_python_openmp_or_a_cuda(built):
    for name in ("cuda", "nv", "python", "cupti", "omp"):
        assert not [needed for needed in built.needed if name in needed], built.needed
    assert "libtorch.so" in built.needed or "libtorch_cpu.so" in built.needed
    assert not [symbol for symbol in built.imported if symbol.startswith(("Py", "_Py", "cu"))]


def test_no_library_exports_a_symbol(built):
    assert built.exported == set()


@pytest.mark.skipif(library.BUILD.get("glibc") != "2.28", reason="not built with PIXELRNN_OLD_LIBRARIES=1")
def test_the_released_libraries_load_on_old_systems(built):
    assert built.versions and list(built.too_new()) == []


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.skipif(platform.libc_ver() < ("glibc", "2.36"), reason="the system has no symbol as new")
def test_a_newer_symbol_is_named_with_its_user(tmp_path):
    """`arc4random`, which glibc has since 2.36, and `sin`, which it always had."""
    (tmp_path / "new.c").write_text("unsigned arc4random(void); unsigned f(void) { return arc4random(); }")
    (tmp_path / "old.c").write_text("double sin(double); double g(double x) { return sin(x); }")
    for name in ("new", "old"):
        subprocess.run(["gcc", "-fPIC", "-c", f"{name}.c"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "-shared", "new.o", "old.o", "-lm", "-o", "some.so"], cwd=tmp_path, check=True)
    with pytest.raises(SystemExit, match=r"\nsome.so: arc4random is GLIBC_2.36 of libc.so.6, used by new.o$"):
        shared_libraries.main(tmp_path, tmp_path)
