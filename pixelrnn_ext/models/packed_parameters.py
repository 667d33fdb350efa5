"""Packs the parameters of all recurrent layers of a model at once, where this gives what each layer would pack."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from .._recordable import Recorded
from ..layers import DiagonalBiLSTM, RowLSTM
from ..operators import backends
from ..operators.autocast import result_dtype
from ..operators.scan.packing import Masking, Packed, Packer
from .blocks import RecurrentBlock


class PackedParameters:
    """Packs the parameters of a model's blocks, and keeps a packer of each device. A copy packs anew.

    ``nn.DataParallel`` shares this object between replicas on several GPUs, which threads call at the same time.
    """

    def __init__(self) -> None:
        self._packers: dict[torch.device, tuple[Any, Packer]] = {}

    def __reduce__(self) -> tuple[type["PackedParameters"], tuple[()]]:
        return PackedParameters, ()

    def __call__(self, blocks: Iterable[nn.Module], backend: str, x: Tensor) -> list[Packed] | None:
        """Returns the packed parameters of each block's layer, or None if each layer must pack its own.

        Args:
            blocks: the blocks of a model.
            backend: the model's backend.
            x: the input of the first block.
        """
        if isinstance(x, Recorded) or not _has_gpu_kernels(x, backend) or _is_transformed():
            return None
        layers: list[RowLSTM | DiagonalBiLSTM] = []
        for block in blocks:
            if type(block) is not RecurrentBlock or not _is_plain(block) or not _is_plain(block.layer):
                return None
            if type(block.layer) not in (RowLSTM, DiagonalBiLSTM) or block.layer.backend != backend:
                return None
            layers.append(block.layer)
        directions = [layer.directions for layer in layers]
        parameters = [t for layer in directions for direction in layer for t in direction]
        present = [t for t in parameters if t is not None]
        # A sharded parameter is whole only while its block runs.
        if any(type(t) not in (Tensor, nn.Parameter, type(x)) or t.device != x.device for t in present):
            return None
        # A frozen layer would take part in the backward of the others.
        if len({t.requires_grad for t in present}) > 1:
            return None
        maskings = [Masking(layer.mask_type, layer.image_channels, 4) for layer in layers]
        key = type(x), maskings, [None if t is None else t.shape for t in parameters]
        kept_key, packer = self._packers.get(x.device, (None, None))
        if packer is None or kept_key != key:
            with torch.inference_mode(False):  # a backward cannot save a tensor of inference mode
                packer = Packer(directions, maskings)
            self._packers[x.device] = key, packer
        return packer(directions, result_dtype(x))


def _has_gpu_kernels(x: Tensor, backend: str) -> bool:
    """Tests replace this function to pack on a CPU."""
    return x.is_cuda and backends.choose(backend, x.device) is not None


def _is_transformed() -> bool:
    """Returns whether a compiler, torch.func or forward mode sees the packer's tensors.

    A compiler joins the operators by itself. The others may keep no tensor.
    """
    in_forward_mode = forward_ad._current_level >= 0
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or in_forward_mode


def _is_plain(module: nn.Module) -> bool:
    """Returns whether nothing computes the module's parameters when it is called, as pre-hooks may."""
    return not module._forward_pre_hooks and "forward" not in vars(module)
