import ctypes
from enum import IntEnum

Error = IntEnum(
    "Error",
    dict(
        SUCCESS=0, INVALID_VALUE=1, NOT_INITIALIZED=3, INVALID_DEVICE=101, INVALID_IMAGE=200, INVALID_CONTEXT=201,
        NO_BINARY_FOR_GPU=209, INVALID_PTX=218, INVALID_HANDLE=400, ILLEGAL_STATE=401, NOT_FOUND=500,
        CONTEXT_IS_DESTROYED=709, LAUNCH_FAILED=719, STREAM_CAPTURE_UNSUPPORTED=900, STREAM_CAPTURE_INVALIDATED=901,
        STREAM_CAPTURE_IMPLICIT=906, INVALID_CLUSTER_SIZE=912,
    ),
)  # fmt: skip
SHARED_SIZE_BYTES, BINARY_VERSION, MAX_DYNAMIC_SHARED_SIZE_BYTES = 1, 6, 8  # CU_FUNC_ATTRIBUTE_*
COOPERATIVE, CLUSTER_DIMENSION = 2, 4  # CU_LAUNCH_ATTRIBUTE_*
GLOBAL, THREAD_LOCAL, RELAXED = 0, 1, 2  # CU_STREAM_CAPTURE_MODE_*
WARP_SIZE = 10  # CU_DEVICE_ATTRIBUTE_*


class Attribute(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int), ("_", ctypes.c_int), ("value", ctypes.c_uint * 16)]


class Config(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint * 3) for name in ("grid", "block")),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(Attribute)),
        ("attribute_count", ctypes.c_uint),
    ]


class Driver:
    """Calls a CUDA driver library's functions as methods, which return the driver's error code."""

    def __init__(self, path):
        self._library = ctypes.CDLL(str(path))

    def __getattr__(self, name):
        return lambda *arguments: Error(getattr(self._library, name)(*arguments))

    def make(self, name, *arguments):
        made = ctypes.c_void_p()
        assert getattr(self, name)(ctypes.byref(made), *arguments) == Error.SUCCESS, name
        return made

    def launch(self, kernel, config, argument=None):
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(config if argument is None else argument))
        return self.cuLaunchKernelEx(ctypes.byref(config), kernel, arguments, None)


def launch_config(grid=(1, 1, 1), threads=32, shared=0, cluster=0, attribute=CLUSTER_DIMENSION, stream=None):
    """Returns a launch configuration, with ``attribute`` set to ``cluster`` unless that is 0."""
    attributes = Attribute(attribute, 0, (cluster, 1, 1))
    return Config(grid, (threads, 1, 1), shared, stream, ctypes.pointer(attributes), cluster > 0)
