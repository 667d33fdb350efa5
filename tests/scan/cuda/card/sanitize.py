"""A few small scans for `compute-sanitizer --tool TOOL python sanitize.py TOOL`, forward and backward."""

import sys

import torch

import pixelrnn_ext as px

FORMATS = {"fp32": (torch.float32, False), "tf32": (torch.float32, True), "bf16": (torch.bfloat16, False)}
# More cells on a line than a tile has, windows that start and end inside one, clusters of blocks where the GPU has
# them.
SCANS = [(16, 2, 5, 12), (64, 1, 12, 4)]
# racecheck knows nothing of the shared memory of a cluster's other blocks.
CLUSTERS = sys.argv[1:] != ["racecheck"]

ran = 0
for name, (dtype, tf32) in FORMATS.items():
    torch.backends.cuda.matmul.allow_tf32 = tf32
    for hidden, n, height, width in SCANS:
        for layer in (px.RowLSTM(4, hidden), px.DiagonalBiLSTM(4, hidden, initial_state="learned")):
            layer.to("cuda", dtype)
            for layer.backend in ("step", "resident") if CLUSTERS else ("step",):
                x = torch.randn(n, 4, height, width, device="cuda", dtype=dtype, requires_grad=True)
                try:
                    y = layer(x)
                except RuntimeError as error:
                    if layer.backend != "resident" or "cannot run" not in str(error):
                        raise
                    continue  # a GPU or a size that the resident path does not take
                y.sum().backward()
                if not (y.isfinite().all() and x.grad.isfinite().all()):
                    raise SystemExit(f"expected finite values from {layer} in {name}, got others")
                ran += 1

# Every number of blocks that share an image, also those that the planner does not choose for sizes so small.
for name, (dtype, tf32) in FORMATS.items():
    for blocks in (1, 2, 4, 8) if CLUSTERS else (1,):
        x = torch.randn(2, 2, 12, 9, 4 * 64, device="cuda", dtype=dtype, requires_grad=True)
        weight = (torch.randn(2, 2, 64, 4, 64, device="cuda") / 12).to(dtype).requires_grad_()
        states = (torch.randn(2, 64, device="cuda").to(dtype).requires_grad_() for _ in range(2))
        path = f"resident::{blocks}"
        options = None, None, [0, 1], True, 1, "pixelrnn", "none", path, tf32
        try:
            _, h, *_ = torch.ops.pixelrnn_ext.scan(None, None, None, x, weight, *states, *options)
        except RuntimeError as error:
            if "cannot run" not in str(error):
                raise
            continue
        h.sum().backward()
        if not (h.isfinite().all() and x.grad.isfinite().all()):
            raise SystemExit(f"expected finite values from {path} in {name}, got others")
        ran += 1
torch.cuda.synchronize()
print(f"{ran} scans")
