"""All that a GPU is needed for, in one command: `python -m benchmarks.gpu_day --help`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT_IN_PLACE = (ROOT / "pixelrnn_ext" / "_C.so").exists()
