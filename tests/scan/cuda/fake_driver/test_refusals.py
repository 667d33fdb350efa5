"""Tests that the fake NVIDIA driver refuses wrong calls, on which the tests of the host code rely."""

import ctypes
import shutil
import threading

import pytest

from emulator import cuda
from emulator.cuda import Error

from . import library as fake_driver
from .made_up_code import machine_code, ptx

pytestmark = [pytest.mark.sweep, fake_driver.needs_fake_driver]

SUCCESS, INVALID = Error.SUCCESS, Error.INVALID_VALUE
OPT_IN = 227 << 10  # bytes of shared memory that a block may use on compute capability 9.0
DYNAMIC = cuda.MAX_DYNAMIC_SHARED_SIZE_BYTES
out = ctypes.byref(ctypes.c_void_p())


class FakeDriver(cuda.Driver):
    """A fake NVIDIA driver with GPUs of compute capability 9.0, 8.0, 8.7 and 8.9."""

    kernel = None

    def enter(self, gpu):
        assert self.cuCtxSetCurrent(self.make("cuDevicePrimaryCtxRetain", gpu)) == SUCCESS
        return self

    def launch(self, *sizes, kernel=None, **options):
        return super().launch(kernel or self.kernel, cuda.launch_config(*sizes, **options))

    def load(self, make, capability, gpu=0):
        return self.enter(gpu).cuModuleLoadData(out, make(capability, ["kernel"]))

    def load_in_another_thread(self, mode):
        errors = []

        def work():
            assert self.cuThreadExchangeStreamCaptureMode(ctypes.byref(ctypes.c_int(mode))) == SUCCESS
            errors.append(self.load(machine_code, 90))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return errors[0]

    def prepare(self):
        assert self.cuInit(0) == SUCCESS
        for gpu, capability in ((1, 80), (0, 90)):
            self.enter(gpu)
            self.module = self.make("cuModuleLoadData", machine_code(capability, ["kernel"]))
            kernel, stream = self.make("cuModuleGetFunction", self.module, b"kernel"), self.make("cuStreamCreate", 0)
            if gpu:
                self.other_kernel, self.other_stream = kernel, stream
        self.kernel, self.stream = kernel, stream
        return self


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_GPUS", "9.0 8.0 8.7 8.9")
    return FakeDriver(shutil.copy(fake_driver.build_driver(), tmp_path / "driver.so"))


def test_before_initialisation_and_without_a_context(fresh):
    assert fresh.cuDeviceGetCount(out) == Error.NOT_INITIALIZED
    assert fresh.cuDevicePrimaryCtxRetain(out, 0) == Error.NOT_INITIALIZED
    assert fresh.cuModuleLoadData(out, b"") == Error.NOT_INITIALIZED
    assert fresh.cuInit(0) == SUCCESS
    assert fresh.cuCtxGetDevice(out) == Error.INVALID_CONTEXT
    assert fresh.cuModuleLoadData(out, b"") == Error.INVALID_CONTEXT
    assert fresh.launch() == Error.INVALID_CONTEXT


@pytest.mark.parametrize(
    ("gpu", "taken", "refused"),
    [(0, [90], [75, 80, 89, 100, 120]), (1, [80], [86, 87]), (2, [87], [80, 86]), (3, [86], [87])],
)
def test_code(gpu, taken, refused, fresh):
    driver = fresh.prepare()
    assert [driver.load(machine_code, capability, gpu) for capability in taken] == [SUCCESS]
    assert {driver.load(machine_code, capability, gpu) for capability in refused} == {Error.NO_BINARY_FOR_GPU}
    assert driver.load(ptx, 75, gpu) == SUCCESS and driver.load(ptx, 100, gpu) == Error.INVALID_PTX


CALLS = [
    (Error.INVALID_DEVICE, lambda s: s.cuDeviceGet(out, 4)),
    (INVALID, lambda s: s.cuDeviceGetAttribute(out, cuda.WARP_SIZE, 0)),
    (Error.INVALID_IMAGE, lambda s: s.cuModuleLoadData(out, b"no code at all")),
    (Error.NOT_FOUND, lambda s: s.cuModuleGetFunction(out, s.module, b"another_kernel")),
    (Error.NOT_FOUND, lambda s: s.cuModuleGetFunction(out, s.module, b"kern")),
    (Error.INVALID_HANDLE, lambda s: s.enter(1).cuModuleGetFunction(out, s.module, b"kernel")),
    (SUCCESS, lambda s: s.launch((0x7FFFFFFF, 65535, 65535), threads=1024, shared=49136)),
    (SUCCESS, lambda s: s.launch((16, 1, 1), cluster=8)),
    (SUCCESS, lambda s: s.enter(1).launch(kernel=s.other_kernel)),
    (Error.INVALID_CLUSTER_SIZE, lambda s: s.enter(1).launch((16, 1, 1), kernel=s.other_kernel, cluster=2)),
    (Error.INVALID_CLUSTER_SIZE, lambda s: s.launch((12, 1, 1), cluster=8)),
    (Error.INVALID_CLUSTER_SIZE, lambda s: s.launch((16, 1, 1), cluster=16)),
    (INVALID, lambda s: s.launch(cluster=1, attribute=cuda.COOPERATIVE)),
    *(
        (INVALID, lambda s, grid=grid: s.launch(grid))
        for grid in ((0, 1, 1), (0x80000000, 1, 1), (1, 0, 1), (1, 65536, 1), (1, 1, 0), (1, 1, 65536))
    ),
    (INVALID, lambda s: s.launch(threads=0)),
    (INVALID, lambda s: s.launch(threads=1025)),
    (INVALID, lambda s: s.launch(shared=49137)),
    (Error.INVALID_HANDLE, lambda s: s.launch(stream=s.other_stream)),
    (Error.INVALID_HANDLE, lambda s: s.launch(kernel=s.other_kernel)),
    (INVALID, lambda s: s.cuFuncSetAttribute(s.kernel, DYNAMIC, OPT_IN)),
    (INVALID, lambda s: s.cuFuncSetAttribute(s.kernel, cuda.SHARED_SIZE_BYTES, 1)),
    (INVALID, lambda s: s.cuFuncGetAttribute(out, cuda.BINARY_VERSION, s.kernel)),
    (Error.INVALID_HANDLE, lambda s: s.cuFuncSetAttribute(s.other_kernel, DYNAMIC, 1)),
]


@pytest.mark.parametrize(("error", "call"), CALLS)
def test_calls(error, call, fresh):
    assert call(fresh.prepare()) == error


def test_shared_memory(fresh):
    driver = fresh.prepare()
    left = OPT_IN - driver.make("cuFuncGetAttribute", cuda.SHARED_SIZE_BYTES, driver.kernel).value
    assert driver.cuFuncSetAttribute(driver.kernel, DYNAMIC, left) == SUCCESS
    assert driver.launch(shared=left) == SUCCESS
    assert driver.launch(shared=left + 1) == INVALID


# (capture mode, error, call that invalidates a CUDA graph's capture). Only the relaxed mode allows loading code.
UNSUPPORTED = Error.STREAM_CAPTURE_UNSUPPORTED
BREAKING = [
    (cuda.GLOBAL, UNSUPPORTED, lambda s: s.load(machine_code, 90)),
    (cuda.THREAD_LOCAL, UNSUPPORTED, lambda s: s.load(machine_code, 90)),
    (cuda.GLOBAL, UNSUPPORTED, lambda s: s.load_in_another_thread(cuda.GLOBAL)),
    (cuda.GLOBAL, UNSUPPORTED, lambda s: s.cuModuleGetFunction(out, s.module, b"kernel")),
    (cuda.GLOBAL, UNSUPPORTED, lambda s: s.cuFuncGetAttribute(out, cuda.SHARED_SIZE_BYTES, s.kernel)),
    (cuda.GLOBAL, UNSUPPORTED, lambda s: s.cuFuncSetAttribute(s.kernel, DYNAMIC, 1)),
    (cuda.GLOBAL, UNSUPPORTED, lambda s: s.cuOccupancyMaxActiveBlocksPerMultiprocessor(out, s.kernel, 32, 0)),
    (cuda.GLOBAL, Error.STREAM_CAPTURE_IMPLICIT, lambda s: s.launch()),
]


@pytest.mark.parametrize(("mode", "error", "call"), BREAKING)
def test_what_breaks_a_capture_off(mode, error, call, fresh):
    driver = fresh.prepare()
    assert driver.cuStreamBeginCapture_v2(driver.stream, mode) == SUCCESS
    assert call(driver) == error
    assert driver.launch(stream=driver.stream) == Error.STREAM_CAPTURE_INVALIDATED
    assert driver.cuStreamEndCapture(driver.stream, out) == Error.STREAM_CAPTURE_INVALIDATED
    assert driver.load(machine_code, 90) == SUCCESS


def test_a_relaxed_thread_breaks_no_capture_off(fresh):
    driver = fresh.prepare()
    assert driver.cuStreamBeginCapture_v2(driver.stream, cuda.GLOBAL) == SUCCESS
    assert driver.load_in_another_thread(cuda.RELAXED) == SUCCESS
    assert driver.cuStreamEndCapture(driver.stream, out) == SUCCESS
    assert driver.cuStreamEndCapture(driver.stream, out) == Error.ILLEGAL_STATE


def test_a_destroyed_context(fresh):
    driver = fresh.prepare()
    assert driver.cuDevicePrimaryCtxReset_v2(0) == SUCCESS
    assert driver.launch() == Error.CONTEXT_IS_DESTROYED
    driver.enter(0)
    assert driver.launch() == Error.INVALID_HANDLE
