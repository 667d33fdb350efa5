"""A few small scans for `compute-sanitizer --tool memcheck python sanitize_cuda.py`, forward and backward."""

import torch

import pixelrnn_ext as px

FORMATS = {"fp32": (torch.float32, False), "tf32": (torch.float32, True), "bf16": (torch.bfloat16, False)}
# More cells on a line than a tile has, windows that start and end inside one, clusters of blocks where the GPU has them.
SCANS = [(16, 2, 5, 12), (64, 1, 12, 4)]

ran = 0
for name, (dtype, tf32) in FORMATS.items():
    torch.backends.cuda.matmul.allow_tf32 = tf32
    for hidden, n, height, width in SCANS:
        for layer in (px.RowLSTM(4, hidden), px.DiagonalBiLSTM(4, hidden, initial_state="learned")):
            layer.to("cuda", dtype)
            for layer.backend in ("step", "resident"):
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
torch.cuda.synchronize()
print(f"{ran} scans")
