"""PixelRNN for PyTorch (arXiv 1601.06759): Row LSTM, Diagonal BiLSTM and masked convolutions, and the models made of them."""

from ._command import running, without_traceback

with without_traceback(running()):
    from . import _library

    if _library.why_no_native() is None:
        from . import ops

        ops.register()

    from . import functional, likelihood, masked_conv, masks, models, reference, sampling
    from ._backends import resident_plan
    from ._library import build_config
    from .layers import DiagonalBiLSTM, DiagonalLSTM, MaskedConv2d, RowLSTM
    from .models import MultiScalePixelRNN, PixelCNN, PixelRNN, from_name

__version__ = _library.VERSION
__all__ = [
    "DiagonalBiLSTM",
    "DiagonalLSTM",
    "MaskedConv2d",
    "MultiScalePixelRNN",
    "PixelCNN",
    "PixelRNN",
    "RowLSTM",
    "build_config",
    "from_name",
    "functional",
    "likelihood",
    "masked_conv",
    "masks",
    "models",
    "reference",
    "resident_plan",
    "sampling",
]
