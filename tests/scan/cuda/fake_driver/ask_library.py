"""Calls the library _C_cuda with fake NVIDIA drivers, in a new process for each case.

The command is `ask_library.py FOLDER CASES`. CASES is a JSON list of [path of a fake driver or null, value of
FAKE_GPUS]. FOLDER/libcuda.so.1 becomes a link to the driver, so the loader must look in FOLDER first.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

import torch

import pixelrnn_ext  # noqa: F401  (registers the operators)


def ask(driver):
    ops = torch.ops.pixelrnn_ext
    why = ops.why_no_gpu()
    try:
        plan = ops.describe_current_plan(2, 16, 28, 28, 16, 2, True, "bf16", "resident", 4)[0]
    except RuntimeError as error:
        plan = str(error).splitlines()[0]
    calls = []
    if driver:
        fake = ctypes.CDLL("libcuda.so.1")
        fake.fake_calls.restype = ctypes.c_char_p
        calls = fake.fake_calls().decode().splitlines()
    return why, plan, [call.split()[1] for call in calls if call.startswith("cuModuleLoadData ")]


folder, cases = sys.argv[1:]
for driver, gpus in json.loads(cases):
    library = Path(folder, "libcuda.so.1")
    library.unlink()
    library.symlink_to(driver or os.devnull)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.environ["FAKE_GPUS"] = gpus
        print(json.dumps(ask(driver)), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"the process that asked about {gpus or 'no GPU'} failed")
