"""PixelRNN's two-dimensional recurrences for PyTorch: Row LSTM and Diagonal BiLSTM (arXiv 1601.06759)."""

from . import _library

if _library.why_no_native() is None:
    from . import ops

    ops.register()

from . import functional, masks, reference
from ._backends import resident_plan
from ._library import build_config
from .layers import DiagonalBiLSTM, DiagonalLSTM, RowLSTM

__version__ = _library.VERSION
__all__ = ["DiagonalBiLSTM", "DiagonalLSTM", "RowLSTM", "build_config", "functional", "masks", "reference", "resident_plan"]
