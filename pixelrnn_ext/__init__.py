"""PixelRNN for PyTorch (arXiv 1601.06759): Row LSTM, Diagonal BiLSTM, masked convolutions, and models made of them."""

from ._command import is_bench, running_command, without_traceback
from ._process import configure_process, keep_freed_memory

if running_command() and not is_bench():
    configure_process()
with without_traceback(running_command()):
    from . import causality, codec, functional, likelihood, masks, models, reference, sampling
    from .layers import DiagonalBiLSTM, DiagonalLSTM, MaskedConv2d, RowLSTM
    from .lstm2d import LSTM2d
    from .models import MultiScalePixelRNN, PixelCNN, PixelRNN, from_name, pretrained
    from .operators import masked_conv
    from .operators.library import VERSION as __version__  # noqa: F401 - users read pixelrnn_ext.__version__
    from .operators.library import build_config
    from .operators.scan.plan import resident_plan
    from .sampling import Sampler, sampling_plan

__all__ = [
    "DiagonalBiLSTM",
    "DiagonalLSTM",
    "LSTM2d",
    "MaskedConv2d",
    "MultiScalePixelRNN",
    "PixelCNN",
    "PixelRNN",
    "RowLSTM",
    "Sampler",
    "build_config",
    "causality",
    "codec",
    "from_name",
    "functional",
    "keep_freed_memory",
    "likelihood",
    "masked_conv",
    "masks",
    "models",
    "pretrained",
    "reference",
    "resident_plan",
    "sampling",
    "sampling_plan",
]
