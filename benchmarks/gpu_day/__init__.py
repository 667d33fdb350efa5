"""Runs all tests and benchmarks that need a GPU. See `python -m benchmarks.gpu_day --help`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "build_tools"))
BUILT_IN_PLACE = (ROOT / "pixelrnn_ext" / "_C.so").exists()
