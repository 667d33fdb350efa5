import shutil

import pytest

from . import build_cache

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PIXELRNN_TEST_CACHE", str(tmp_path / "cache"))


def test_it_follows_headers(tmp_path):
    header, source = tmp_path / "value.h", tmp_path / "value.cpp"
    source.write_text('#include "value.h"\nextern "C" int value() { return VALUE; }\n')
    paths = []
    for value in (1, 2, 1):
        header.write_text(f"#define VALUE {value}\n")
        paths.append(build_cache.compile(["g++", "-c"], source, ".o"))
    assert paths[0] == paths[2] != paths[1]


def test_an_error_shows_the_command_and_what_it_said(tmp_path):
    source = tmp_path / "wrong.cpp"
    source.write_text("int wrong() { return nothing; }\n")
    with pytest.raises(build_cache.BuildError, match=r"g\+\+ -c .*wrong.cpp[\s\S]*nothing"):
        build_cache.compile(["g++", "-c"], source, ".o")
