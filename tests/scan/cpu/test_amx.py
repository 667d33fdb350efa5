"""Tests when a process asks Linux for AMX, what a refusal does, and that other users of the tile registers do no harm.

Each test runs in a process of its own, because Linux's answer holds for a whole process.
"""

import subprocess
import sys

import pytest

from pixelrnn_ext.operators import library

pytestmark = pytest.mark.skipif("amx_bf16" not in library.instruction_sets(), reason="no AMX")

BEGINNING = """
import ctypes, os, threading
import torch
import pixelrnn_ext as px
from pixelrnn_ext.operators import library

torch.manual_seed(0)
library.set_instruction_set("amx_bf16")
libc = ctypes.CDLL(None, use_errno=True)
layer = px.DiagonalBiLSTM(24, 20)
x = torch.randn(2, 24, 9, 10)


def has_permission():
    features = ctypes.c_uint64()
    assert libc.syscall(158, 0x1022, ctypes.byref(features)) == 0  # arch_prctl(ARCH_GET_XCOMP_PERM)
    return bool(features.value >> 18 & 1)


class Stack(ctypes.Structure):
    _fields_ = [("memory", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


memory = ctypes.create_string_buffer(4096)


def set_small_signal_stack():
    stack = Stack(ctypes.addressof(memory), 0, len(memory))
    return libc.sigaltstack(ctypes.byref(stack), None)


def run():
    y = layer(x)
    return y, *torch.autograd.grad(y.float().square().sum(), list(layer.parameters()))
"""
PERMISSION_THREADS_AND_FORK = """
run()
assert not has_permission() and library.bfloat16() == "multiplied by amx_bf16"
layer, x = layer.bfloat16(), x.bfloat16()
expected = run()
assert has_permission()


def check():
    assert all(map(torch.equal, run(), expected))


# oneDNN uses the tile registers of the same threads with other configurations.
matrix = torch.randn(96, 96).bfloat16()
product = matrix @ matrix
failed = []


def work(k):
    try:
        for i in range(12):
            check() if (i + k) % 2 else torch.testing.assert_close(matrix @ matrix, product, rtol=0, atol=0)
    except BaseException as error:
        failed.append(error)


threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failed, failed

torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
expected = run()
child = os.fork()
if not child:
    check()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print("done")
"""
REFUSAL = """
assert set_small_signal_stack() == 0
layer, x = layer.bfloat16(), x.bfloat16()
got = run()
assert not has_permission() and not library.multiplies_bfloat16()
assert "too small" in library.bfloat16() and library.bfloat16().startswith("converted to float32")
library.set_instruction_set("avx512")
assert all(map(torch.equal, run(), got))
print("done")
"""


@pytest.mark.parametrize("program", [PERMISSION_THREADS_AND_FORK, REFUSAL], ids=["permission-threads-fork", "refusal"])
def test_amx(program, tmp_path):
    # In the source folder, Python would import the source instead of the installed package.
    command = [sys.executable, "-c", BEGINNING + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
