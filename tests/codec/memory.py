"""Prints how many bytes of memory compressing or decompressing takes: `python memory.py FUNCTION KIND SIZE...`.

This runs in a new process, because in a test's own process the codec could reuse freed memory.
"""

import ctypes
import json
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

import torch

from helpers.models import make_model
from helpers.tiny import save_untrained
from pixelrnn_ext import cli
from pixelrnn_ext.cli import coding
from pixelrnn_ext.codec import Codec
from pixelrnn_ext.training import data

LIBC = ctypes.CDLL(None)
M_MMAP_THRESHOLD = -3


def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))


def growth(call, *arguments, **options):
    LIBC.malloc_trim(0)  # gives freed memory back to the system, so that `call` cannot reuse it
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    call(*arguments, **options)
    return peak() - before


def encoding_takes(kind, height, width):
    codec = Codec(make_model(kind, levels=256, hidden_channels=16, num_layers=1, head_channels=16))
    codec.compress(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    return growth(codec.compress, torch.zeros(1, 1, height, width, dtype=torch.uint8))


def decoding_takes(kind, n, height, width):
    """Returns two numbers of bytes of memory: the codec's estimate for decoding, and the bytes that decoding takes."""
    sizes, condition = dict(num_layers=1, head_channels=4, hidden_channels=4), None
    if kind == "diagonal":
        model = make_model("diagonal", hidden_channels=16, head_channels=16)
    elif kind == "multi-scale":
        model = make_model("multiscale-row", upsampling_channels=32, small={"layer": "row"}, **sizes)
    else:
        model, condition = make_model("row", condition_channels=10, **sizes), torch.zeros(n, 10, height, width)
    codec = Codec(model)
    images = torch.zeros(n, 1, height, width, dtype=torch.uint8)
    file = codec.compress(images, condition, streams=1, batch_size=4 + n // 10)
    try:
        codec.decompress(file, condition, max_bytes=1)
    except ValueError as error:
        needed = int(str(error).split()[-1])
    few = images[:1, :, :2, :2], condition if condition is None else condition[:1, :, :2, :2]
    codec.decompress(codec.compress(*few), few[1])
    return needed, growth(codec.decompress, file, condition, max_bytes=needed)


def command_takes(kind, n):
    """Returns the bytes that `pixelrnn compress` takes for ``n`` images of 32x32 pixels, in groups of 64 images."""
    model = make_model(kind, hidden_channels=1, num_layers=1, head_channels=1)
    split = data.Split(torch.randint(2, (n, 1, 32, 32), dtype=torch.uint8))
    images = data.DataSet("digits", "digits", 2, dict.fromkeys(data.SPLITS, split))
    coding.VALUES_PER_GROUP = 2**16
    with tempfile.TemporaryDirectory() as folder, patch.object(data, "load", lambda spec: images):
        path = save_untrained(Path(folder) / "model", model, [1, 32, 32])
        command = ["compress", str(path), "digits:test", "--force", "--out"]
        with redirect_stdout(sys.stderr):
            return growth(cli.main, [*command, str(path.with_name("file"))])


if __name__ == "__main__":
    torch.set_num_threads(1)
    LIBC.mallopt(M_MMAP_THRESHOLD, 1 << 17)  # freed blocks of 128 KiB or more return to the system at once
    function, kind, *size = sys.argv[1:]
    print(json.dumps(globals()[function](kind, *map(int, size))))
