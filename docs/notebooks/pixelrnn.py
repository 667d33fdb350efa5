# %% [markdown]
# # PixelRNN, from a mask to a codec
#
# In this notebook you build a masked convolution by hand, find a leak, look at what the paper's
# layers see, train a model of digits, draw with it, and turn its likelihood into bytes. It takes
# less than fifteen minutes on two CPU cores, and downloads nothing. Two commands open it from a
# checkout:
#
# ```
# pip install ".[train]" jupyterlab
# jupyter lab docs/notebooks/pixelrnn.ipynb
# ```

# %%
import lzma
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional

import pixelrnn_ext as px
from pixelrnn_ext.training import data

SHORT = "PIXELRNN_SHORT" in os.environ  # set by a test, which needs no useful results
torch.manual_seed(0)
torch.set_num_threads(1)  # enough for small images, and the results do not depend on the cores
px.keep_freed_memory()  # in the whole process: up to 512 MiB, for the next training step
plt.rcParams.update({"figure.dpi": 72, "figure.facecolor": "white", "image.cmap": "gray_r"})


def draw(axis, picture, title):
    axis.imshow(picture)
    axis.set(title=title, xticks=[], yticks=[])


def draw_cells(axis, values, title, pixel=None):
    """Draws a mask or a receptive field: blue where it is 1, with a dot at a pixel."""
    axis.pcolormesh(values, cmap="Blues", vmin=0, vmax=1.4, edgecolors="gray", linewidth=0.5)
    if pixel is not None:
        row, column = pixel
        axis.plot(column + 0.5, row + 0.5, "ko")
    axis.set(title=title, xticks=[], yticks=[], aspect="equal")
    axis.invert_yaxis()


def mosaic(images, columns):
    """Puts images (N, 1, H, W) in rows of ``columns``, with a gray pixel between them."""
    padded = functional.pad(images.float(), (0, 1, 0, 1), value=0.3)
    rows = [torch.cat(list(row), 2) for row in padded.split(columns)]
    return torch.cat(rows, 1)[0, :-1, :-1]


# %% [markdown]
# ## A mask by hand
#
# A PixelRNN reads an image like a text: row by row, and each row from left to right. It predicts
# every pixel from the earlier pixels alone. A convolution of 3x3 pixels reads later pixels, too,
# unless a mask sets their weights to zero.
#
# Mask A also hides the pixel itself. The first layer needs mask A, because the model must not read
# the pixel that it predicts. In later layers the same place holds a feature of earlier pixels, which
# the model may read: they have mask B.

# %%
mask_a = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 0]])
mask_b = torch.tensor([[1.0, 1, 1], [1, 1, 0], [0, 0, 0]])
assert torch.equal(mask_a, px.masks.causal_mask("A", 1, 1, 3)[0, 0])
assert torch.equal(mask_b, px.masks.causal_mask("B", 1, 1, 3)[0, 0])


class MaskedByHand(nn.Conv2d):
    def __init__(self, channels, features, mask):
        super().__init__(channels, features, 3, padding=1)
        self.register_buffer("mask", mask)

    def forward(self, x):
        return functional.conv2d(x, self.weight * self.mask, self.bias, padding=1)


def small_model(*masks):
    """Returns a PixelCNN with a layer for each mask, and one logit for each pixel."""
    layers = []
    for mask in masks:
        layers += [MaskedByHand(8 if layers else 1, 8, mask), nn.ELU()]
    return nn.Sequential(*layers, nn.Conv2d(8, 1, 1))


# %% [markdown]
# `px.causality.receptive_field` says which pixels an output sees. One layer sees four pixels. Each
# further layer adds a ring, but pixels far to the right stay unseen: the blind triangle of a plain
# PixelCNN.

# %%
_, axes = plt.subplots(1, 4, figsize=(11, 3), width_ratios=(2, 2, 3, 3))
draw_cells(axes[0], mask_a, "mask A")
draw_cells(axes[1], mask_b, "mask B")
pixel = 4, 4
for axis, depth in zip(axes[2:], (1, 4)):
    model = small_model(mask_a, *[mask_b] * (depth - 1))
    field = px.causality.receptive_field(model, (1, 7, 9), (0, *pixel), layout="flat")
    draw_cells(axis, field[0], f"seen through layers: {depth}", pixel)
plt.show()

# %% [markdown]
# ## A leak
#
# Somebody forgets one mask. The model still trains, and its likelihoods look excellent, because it
# reads pixels that it should predict. `px.causality.check` finds such a leak and names its pixels.

# %%
nothing_masked = torch.ones(3, 3)
leaky, mended = small_model(mask_a, nothing_masked), small_model(mask_a, mask_b)
try:
    px.causality.check(leaky, (1, 7, 7), layout="flat")
except px.causality.CausalityError as error:
    found = error.report
    print(error)

report = px.causality.check(mended, (1, 7, 7), layout="flat")
print(report)

# %% [markdown]
# The report draws what one output sees: blue for earlier pixels, red for leaks, orange for blind
# spots. Blind spots are no errors: a model that sees less is only a weaker model.

# %%
_, axes = plt.subplots(1, 2, figsize=(7, 3.4))
for axis, each, title in zip(axes, (found, report), ("one mask forgotten", "mended")):
    draw(axis, each.picture((0, 3, 3)).permute(1, 2, 0), title)
plt.show()

# %% [markdown]
# ## The Row LSTM and the Diagonal BiLSTM
#
# The paper's layers are recurrent, so that one layer sees far. The state of a Row LSTM reads three
# states of the row above, which makes a triangle. A Diagonal BiLSTM scans the image twice, from both
# upper corners, and sees every earlier pixel. (A layer may see its own pixel, as with mask B.)
#
# The package computes both layers in compiled kernels. `backend="reference"` computes the same in
# short PyTorch (`px.reference`). The cell tests that the results agree within `1e-6`, and that both see
# the same pixels.

# %%
_, axes = plt.subplots(1, 2, figsize=(8, 3.2))
for axis, layer_class in zip(axes, (px.RowLSTM, px.DiagonalBiLSTM)):
    layer, reference = layer_class(1, 8), layer_class(1, 8, backend="reference")
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(2, 1, 7, 9)
    difference = (layer(x) - reference(x)).abs().max().item()
    assert difference < 1e-6

    at = 0, *pixel
    field = px.causality.receptive_field(layer, (1, 7, 9), at, layout="features")
    same = px.causality.receptive_field(reference, (1, 7, 9), at, layout="features")
    assert torch.equal(field, same)
    draw_cells(axis, field[0], f"seen by a {layer_class.__name__}", pixel)
plt.show()

# %% [markdown]
# ## Train a model of digits
#
# The data are 5000 handwritten digits of 28x28 black or white pixels, which come with a dependency
# of the package. The model is the paper's for MNIST with four Diagonal BiLSTMs instead of seven. Its
# loss is the negative log-likelihood of an image in nats. Lower is better, and a model that says 1/2
# for every pixel has 784 ln 2 = 543 nats.

# %%
splits = data.load("mnist5k").splits
train, test = splits["train"].images, splits["test"].images
validation = splits["validation"].images[:: 250 if SHORT else 2]

model = px.from_name("mnist-diagonal", num_layers=4)
steps, interval = (4, 2) if SHORT else (3000, 100)
optimiser = torch.optim.Adam(model.parameters(), lr=0.004)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

losses, scores = [], []
for step in range(1, steps + 1):
    loss = -model.log_prob(train[torch.randint(len(train), (16,))]).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()
    losses.append(loss.item())
    if step % interval == 0:
        with torch.no_grad():
            scores.append(-model.log_prob(validation).mean().item())
    if step % (5 * interval) == 0 or step == steps:
        print(f"step {step}: {scores[-1]:.1f} nats on validation images")

# %%
_, axis = plt.subplots(figsize=(8, 3.5))
means = torch.tensor(losses).view(-1, interval).mean(1)
axis.plot(range(interval, steps + 1, interval), means, label="training")
axis.plot(range(interval, steps + 1, interval), scores, label="validation")
axis.set(xlabel="steps", ylabel="nats per image")
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %% [markdown]
# `px.pretrained("mnist5k-diagonal")` is a longer training of all seven layers, which comes with the
# package.
#
# ## Samples
#
# The model draws pixel by pixel: it computes the probability that the next pixel is black, draws the
# pixel, and reads it to compute the next probability.

# %%
count = 2 if SHORT else 40
samples = model.sample(count, (1, 28, 28), generator=torch.Generator().manual_seed(0))
_, axis = plt.subplots(figsize=(10, 4.2))
draw(axis, mosaic(samples, 10), "digits that the model drew")
plt.show()

# %% [markdown]
# ## Completions
#
# The model can keep pixels that are known and draw the rest. Since the upper half of an image comes
# before the lower half, these are exact draws of the lower half, given the upper half.

# %%
originals = test[:: 250 if SHORT else 50]  # the images are sorted by their digits
columns = len(originals)
known = torch.zeros(1, 28, 28, dtype=torch.bool)
known[:, :14] = True
rows = [originals, originals * known]
for seed in range(1 if SHORT else 3):
    seeded = dict(generator=torch.Generator().manual_seed(seed))
    rows.append(model.sample(columns, (1, 28, 28), given=originals, known=known, **seeded))
_, axis = plt.subplots(figsize=(10, 5))
title = "test images, the half that the model sees, and what it drew"
draw(axis, mosaic(torch.cat(rows), columns), title)
plt.show()

# %% [markdown]
# ## From likelihood to bytes
#
# The likelihood of an image is a product over its pixels, so its logarithm is a sum, which we can
# look at pixel by pixel. The model is surprised at the edges of strokes, where a pixel could as well
# be black as white.

# %%
images = test[::125]
with torch.no_grad():
    logits = model(images)[:, 0]  # with two levels, the model returns one logit, of black
    loss = nn.BCEWithLogitsLoss(reduction="none")
    nats = loss(logits, images.float())
    torch.testing.assert_close(nats.sum((1, 2, 3)), -model.log_prob(images))
_, axes = plt.subplots(2, 4, figsize=(10, 5))
for above, below, image, surprise in zip(*axes, images, nats / math.log(2)):
    draw(above, image[0], "a test image")
    draw(below, surprise[0], f"its pixels: {surprise.sum():.0f} bits")
plt.show()

# %% [markdown]
# Divided by ln 2, nats are bits. Divided by the number of values, they are bits/dim, the unit of the
# paper's tables for colour images. Papers give nats for MNIST.
#
# Bits are also a file size. `model.compress` writes each pixel in about as many bits as its
# probability says, and `model.decompress` returns the same images.

# %%
images = test[:: 250 if SHORT else 1]
with torch.no_grad():
    nats = -model.log_prob(images).double()
bits = nats.sum().item() / math.log(2)
file = model.compress(images)
assert torch.equal(model.decompress(file), images.long())

packed = np.packbits(images.numpy()).tobytes()
sizes = {
    "one bit for each pixel": len(packed),
    "xz": len(lzma.compress(packed)),
    "model.compress": len(file),
    "-log2 p / 8": bits / 8,
}
print(f"{nats.mean():.1f} nats per image, or {bits / images.numel():.3f} bits/dim")
print(f"{bits / 8:.0f} bytes by the likelihood, {len(file)} bytes in the file")

# %%
_, axis = plt.subplots(figsize=(8, 2.4))
axis.bar_label(axis.barh(list(sizes), list(sizes.values())), fmt="%.0f", padding=3)
axis.invert_yaxis()
axis.set(xlabel=f"bytes for {len(images)} test images", xlim=(0, 1.15 * len(packed)))
plt.show()

# %% [markdown]
# ## What to try next
#
# - Draw on a sheet of another size, as the next cell does. The layers take any size, but the model has
#   learned to put one digit on a sheet, and draws a wide one.
# - Set `layer="row"` in `px.from_name`, or make a `px.PixelCNN`, and compare the nats.
# - Draw with `temperature=0.8`. The digits are tidier, but less varied.
# - Make the classes a condition, so that the model draws the digit that you ask for:
#   `examples/class_conditional.py`.
# - Train for longer from a shell. `pixelrnn train --help` ends in examples.
# - Solve the [exercises](../for_teachers.md), which check themselves.

# %%
size = (1, 28, 28) if SHORT else (1, 28, 84)
wide = model.sample(2 if SHORT else 6, size, generator=torch.Generator().manual_seed(1))
_, axis = plt.subplots(figsize=(10, 3.6))
draw(axis, mosaic(wide, 2), "drawn on a sheet three times as wide")
plt.show()
