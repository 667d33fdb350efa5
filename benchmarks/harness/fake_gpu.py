"""Stands in for a GPU: fake tensors, which have shapes and devices but no values, on a machine without a GPU."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # compares the signatures of functions that fake_gpu() replaces, so it is loaded before
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from pixelrnn_ext.operators import library

from .fake_kernels import FakeTritonKernel, gpu_kernels
from .operator_counter import OperatorCounter


class _FakeTensorMode(FakeTensorMode):
    """Makes tensors on "cuda" where torch's C++ code asks for the device "meta" of a fake tensor of a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.startswith("aten::_fused_"):  # torch has no rule for fake tensors
            return None
        if func._schema.name == "aten::_pin_memory":
            return args[0]
        kwargs = dict(kwargs or {})
        if kwargs.get("device") == torch.device("meta"):
            kwargs["device"] = torch.device("cuda:0")
        if "device" in kwargs:
            # A fake constant has a value, which FakeTensorMode would copy to the GPU.
            for tensor in args:
                if isinstance(tensor, FakeTensor):
                    tensor.constant = None
        return super().__torch_dispatch__(func, types, args, kwargs)


@contextmanager
def fake_gpu() -> Iterator[OperatorCounter]:
    """Counts the operators on a GPU that this machine need not have.

    New tensors are fake. Their device may be the CPU or "cuda", and torch can differentiate them. Our operators run the
    Python code that they run on a GPU, with stand-ins for the compiled kernels. Real tensors may be mixed with fake
    ones.
    """
    counter = OperatorCounter()
    counter.kernels, triton_kernels = gpu_kernels(counter.launched)
    make_subclass: Callable[..., Any] = torch.Tensor._make_subclass

    # torch's C++ code sees fake tensors of a GPU on the device "meta", as its autograd engine would ask for streams.
    def on_meta(cls: Any, data: Any, requires_grad: bool = False, **keys: Any) -> Any:
        if getattr(keys.get("device_for_backend_keys"), "type", None) == "cuda":
            del keys["dispatch_device"]
        return make_subclass(cls, data, requires_grad, **keys)

    def is_on(device: str) -> property:
        return property(lambda tensor: tensor.device.type == device)

    replaced: list[tuple[Any, str, Any]] = [
        (torch.Tensor, "_make_subclass", staticmethod(on_meta)),
        (FakeTensor, "is_cuda", is_on("cuda")),
        (FakeTensor, "is_cpu", is_on("cpu")),
        (torch.cuda, "is_available", lambda: True),
        (torch.cuda, "is_bf16_supported", lambda *_: True),
        (torch.cuda, "is_current_stream_capturing", lambda: False),
        (torch.accelerator, "current_stream", lambda: mock.Mock(is_capturing=lambda: False)),
        (torch.cuda, "device_of", nullcontext),
        (torch.nn.utils.clip_grad, "_has_foreach_support", lambda *_: True),  # there is none for a fake tensor
        (library, "why_no_cuda", lambda: None),
        (library, "why_no_code", lambda device: None),
    ]
    for name in vars(triton_kernels) if triton_kernels else ():
        if name.endswith("_kernel"):
            replaced.append((triton_kernels, name, FakeTritonKernel(name, counter.launched)))
    with ExitStack() as stack:
        for owner, name, value in replaced:
            stack.enter_context(mock.patch.object(owner, name, value, create=True))
        stack.enter_context(_FakeTensorMode(allow_non_fake_inputs=True))
        yield stack.enter_context(counter)
