"""Loads and launches kernels by the CUDA driver API."""

import ctypes

CLUSTER_DIMENSION = 4  # CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
MOST_SHARED_MEMORY = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class _Cluster(ctypes.Structure):
    """CUlaunchAttribute, whose value is a union of 64 bytes."""

    _fields_ = [
        ("id", ctypes.c_int),
        ("pad", ctypes.c_int),
        ("blocks", ctypes.c_uint * 3),
        ("rest", ctypes.c_char * 52),
    ]


class _Config(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_memory", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Cluster)),
        ("attribute_count", ctypes.c_uint),
    ]


class Driver:
    """The driver, with one file of machine code loaded into the current context: torch's, once it has a tensor there.

    Launches go to the default stream, which is also torch's.
    """

    def __init__(self, machine_code: bytes, library: str = "libcuda.so.1"):
        self._library, self._module = ctypes.CDLL(library), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(self._module), machine_code)

    def launch(
        self, kernel: str, blocks: int, threads: int, cluster: int, arguments: ctypes.Structure, shared_memory: int
    ) -> None:
        """Launches blocks of threads with dynamic shared memory, a cluster of them at a time. The kernel takes one
        struct by value."""
        function = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(function), self._module, kernel.encode())
        self._call("cuFuncSetAttribute", function, MOST_SHARED_MEMORY, shared_memory)
        attribute = _Cluster(CLUSTER_DIMENSION, 0, (cluster, 1, 1))
        config = _Config((blocks, 1, 1), (threads, 1, 1), shared_memory, None, ctypes.pointer(attribute), 1)
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(arguments))
        self._call("cuLaunchKernelEx", ctypes.byref(config), function, parameters, None)

    def _call(self, name: str, *arguments) -> None:
        if error := getattr(self._library, name)(*arguments):
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(error, ctypes.byref(text))
            raise RuntimeError(f"{name}: {text.value.decode() if text.value else f'error {error}'}")
