from types import SimpleNamespace

import pytest

from emulator import toolchain
from helpers import nvrtc


def test_without_the_released_nvrtc_there_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(nvrtc.device_code, "find_compilers", lambda: iter([SimpleNamespace(version="13.2")]))
    with pytest.raises(toolchain.ToolchainError) as error:
        nvrtc.compiler.__wrapped__()
    packages = "nvidia-cuda-nvrtc-cu12==12.9.* nvidia-cuda-runtime-cu12==12.9.*"
    assert str(error.value) == f"expected NVRTC 12.9, got 13.2: pip install {packages}"
