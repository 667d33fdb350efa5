"""The base class of the recurrent layers: the parameters of one direction or several, and their initial values."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.types import Device

from ._arguments import check_dtype
from .operators import backends

INITIAL_STATES = ("zero", "learned")


class Recurrent(nn.Module):
    """Holds the directions' parameters, whose names end in ``suffixes``. A subclass initialises and uses them."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        suffixes: Iterable[str],
        *,
        gates: int,
        taps: int,
        kernel_size: int = 1,
        peepholes: bool = False,
        bias: bool,
        initial_state: str,
        backend: str,
        device: Device,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if initial_state not in INITIAL_STATES:
            raise ValueError(f"expected initial_state to be 'zero' or 'learned', got {initial_state!r}")
        backends.check_name(backend)
        check_dtype("dtype", dtype)
        self.in_channels: int = in_channels
        self.hidden_channels: int = hidden_channels
        self.initial_state: str = initial_state
        self.backend: str = backend
        learned, rows = initial_state == "learned", gates * hidden_channels

        def parameter(wanted: bool, *size: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(size, device=device, dtype=dtype)) if wanted else None

        for suffix in suffixes:
            self.register_parameter("weight_ih" + suffix, parameter(True, rows, in_channels, 1, kernel_size))
            self.register_parameter("weight_hh" + suffix, parameter(True, rows, hidden_channels, taps))
            self.register_parameter("bias" + suffix, parameter(bias, rows))
            self.register_parameter("h0" + suffix, parameter(learned, hidden_channels))
            self.register_parameter("c0" + suffix, parameter(learned, hidden_channels))
            if peepholes:
                self.register_parameter("peephole" + suffix, parameter(True, 4, hidden_channels))

    def reset_parameters(self) -> None:
        """Draws weights and biases uniformly in +-1/sqrt(hidden_channels), as torch.nn.LSTM does. Learned initial
        states and peepholes start at zero."""
        bound = self.hidden_channels**-0.5
        for name, parameter in self.named_parameters(recurse=False):
            if name.startswith(("h0", "c0", "peephole")):
                nn.init.zeros_(parameter)
            else:
                nn.init.uniform_(parameter, -bound, bound)
