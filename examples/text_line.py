"""Reads lines of handwritten digits with a two-dimensional LSTM and the loss CTC. The lines have different widths.

A line has 3 to 8 digits of the data set mnist5k, in random sizes, distances and heights. The scored lines consist of
digits that the training never saw. `--model columns` replaces the LSTM2d by a torch.nn.LSTM over the columns, with as
many parameters. Needs the `train` extra. Takes two minutes on two cores.

    python examples/text_line.py --out lines.png
"""

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import pixelrnn_ext as px
from pixelrnn_ext.cli.arguments import non_negative, positive
from pixelrnn_ext.cli.pictures import check_out
from pixelrnn_ext.training import data, distributed
from pixelrnn_ext.training.optional import need
from pixelrnn_ext.training.seeds import generator

# Lines of text are random. COUNTS is the range of a line's number of digits. SIDES, GAPS and HEIGHTS are the ranges, in
# pixels, of a digit's side, of the gap between two digits, and of a line's height.
COUNTS, SIDES, GAPS, HEIGHTS = (3, 8), (18, 28), (-6, 6), (28, 40)
CLASSES = 10
BLANK = CLASSES
STRIDE = 4  # of both convolutions together, in pixels
TEST_LINES = 1000


class Lines(NamedTuple):
    # Float (N, 1, H, W) from 0 to 1. Each line lies in the top left corner of its image.
    images: Tensor
    sizes: Tensor  # int64 (N, 2): the height and the width of each line
    texts: list[Tensor]  # the digits of each line, int64


class Digits(NamedTuple):
    intensities: Tensor  # uint8 (N, 1, 28, 28): 255 times the probability that a pixel has ink
    labels: Tensor  # int64 (N,)

    @classmethod
    def load(cls, split: str) -> "Digits":
        """Training digits are gray levels, from which black and white pixels are drawn. Others are black and white."""
        mnist = data.load("mnist5k", binarisation="dynamic")
        part = mnist.splits[split]
        return cls(mnist.intensities if split == "train" else part.images * 255, part.labels)

    def line(self, source: torch.Generator) -> tuple[Tensor, Tensor]:
        def random_integer(least: int, most: int) -> int:
            return int(torch.randint(least, most + 1, (), generator=source))

        index = torch.randint(len(self.labels), (random_integer(*COUNTS),), generator=source)
        line, right = torch.zeros(random_integer(*HEIGHTS), len(index) * (SIDES[1] + GAPS[1])), 0
        for digit in data.binarise(self.intensities[index], source).float():
            side = random_integer(*SIDES)
            left, top = max(0, right + random_integer(*GAPS)), random_integer(0, len(line) - side)
            right = left + side
            ink = nn.functional.interpolate(digit[None], side, mode="bilinear", antialias=True)[0, 0]
            line[top : top + side, left:right] = line[top : top + side, left:right].maximum(ink)
        return line[:, :right], self.labels[index]

    def lines(self, count: int, source: torch.Generator) -> Lines:
        images, texts = zip(*(self.line(source) for _ in range(count)))
        sizes = torch.tensor([image.shape for image in images])
        padded = torch.zeros(count, 1, *sizes.amax(0).tolist())
        for place, image in zip(padded, images):
            place[0, : image.shape[0], : image.shape[1]] = image
        return Lines(padded, sizes, list(texts))


def zero_outside(maps: Tensor, sizes: Tensor) -> Tensor:
    """Zeroes the padding, so that the result for an image does not depend on the other images of its batch."""
    rows, columns = (torch.arange(n, device=maps.device) < sizes[:, i, None] for i, n in enumerate(maps.shape[2:]))
    return maps * (rows[:, None, :, None] & columns[:, None, None, :])


class FromCorners(nn.Module):
    """Turns feature maps (N, C, H, W) into sequences (N, W, features).

    An LSTM2d scans each image from its four corners. Its output is summed over the rows.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lstm = px.LSTM2d(channels, hidden)
        self.features = 4 * hidden

    def forward(self, maps: Tensor, sizes: Tensor) -> Tensor:
        # The LSTM2d returns zeros below a line of digits, so the sum ignores the padding.
        return self.lstm(maps, sizes=sizes).sum(2).transpose(1, 2)


class OverColumns(nn.Module):
    """Turns feature maps into sequences by a bidirectional torch.nn.LSTM over the columns."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.height = HEIGHTS[1] // STRIDE
        taps = (self.height // 2, 1)
        self.rows = nn.Sequential(nn.Conv2d(channels, channels, taps, taps), nn.BatchNorm2d(channels), nn.ReLU())
        self.lstm = nn.LSTM(channels * 2, hidden, batch_first=True, bidirectional=True)
        self.features = 2 * hidden

    def forward(self, maps: Tensor, sizes: Tensor) -> Tensor:
        maps = nn.functional.pad(zero_outside(maps, sizes), (0, 0, 0, self.height - maps.shape[2]))
        columns = self.rows(maps).flatten(1, 2).transpose(1, 2)
        packed = nn.utils.rnn.pack_padded_sequence(columns, sizes[:, 1].cpu(), batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


MODELS = {"lstm2d": lambda: FromCorners(32, 24), "columns": lambda: OverColumns(32, 40)}


class Reader(nn.Module):
    """The network that reads images of lines.

    The inputs are the images (N, 1, H, W) and the lines' heights and widths (N, 2). The results are log-probabilities
    (T, N, 11) of the ten digits and the blank for T columns, and each line's number of columns (N,).
    """

    def __init__(self, model: str) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in [(1, 16), (16, 32)]
        )
        self.context = MODELS[model]()
        self.head = nn.Linear(self.context.features, CLASSES + 1)

    def forward(self, maps: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        for convolution in self.convolutions:
            maps, sizes = convolution(zero_outside(maps, sizes)), (sizes + 1) // 2
        logits = self.head(self.context(maps, sizes))
        return logits.log_softmax(-1).transpose(0, 1), sizes[:, 1]


def character_columns(path: Tensor) -> Tensor:
    """``path`` is the most probable class of each column (T,)."""
    before = torch.cat([path.new_tensor([BLANK]), path[:-1]])
    return ((path != before) & (path != BLANK)).nonzero().flatten()


@torch.no_grad()
def read(reader: Reader, lines: Lines, batch: int = 50) -> list[list[int]]:
    device, texts = next(reader.parameters()).device, []
    for images, sizes in zip(lines.images.split(batch), lines.sizes.split(batch)):
        log_probabilities, lengths = reader(images.to(device), sizes.to(device))
        paths = [path[:length] for path, length in zip(log_probabilities.argmax(-1).T.cpu(), lengths.tolist())]
        texts += [path[character_columns(path)].tolist() for path in paths]
    return texts


def edit_distance(one: list[int], other: list[int]) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def train(reader: Reader, digits: Digits, steps: int, batch: int, learning_rate: float, seed: int) -> None:
    device, source = next(reader.parameters()).device, generator("text_line", seed)
    optimiser = torch.optim.AdamW(reader.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps, pct_start=0.1)
    start = time.perf_counter()
    for step in range(1, steps + 1):
        lines = digits.lines(batch, source)
        log_probabilities, lengths = reader(lines.images.to(device), lines.sizes.to(device))
        targets, counts = torch.cat(lines.texts).to(device), torch.tensor([len(text) for text in lines.texts])
        loss = nn.functional.ctc_loss(log_probabilities, targets, lengths, counts, blank=BLANK)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step}: loss {loss.item():.3f}, {time.perf_counter() - start:.0f} s", flush=True)


def draw(reader: Reader, lines: Lines, texts: list[list[int]]) -> Any:
    """Returns a figure of some lines, with each digit at the column where it was read.

    A second picture shows the gradient of the middle digit's log-probability with respect to the pixels.
    """
    wrong = [i for i, text in enumerate(texts) if text != lines.texts[i].tolist()]
    shown = sorted({*range(min(3, len(texts))), *wrong[:3]})
    widest = int(lines.sizes[shown, 1].max())
    figure = need("matplotlib.figure").Figure(figsize=(9, 0.9 * len(shown)), dpi=100, layout="constrained")
    for i, (left, right) in zip(shown, figure.subplots(len(shown), 2, squeeze=False)):
        height, width = lines.sizes[i].tolist()
        image = lines.images[i : i + 1, :, :height, :width].to(next(reader.parameters()).device).requires_grad_()
        log_probabilities, _ = reader(image, lines.sizes[i : i + 1].to(image.device))
        path = log_probabilities[:, 0].argmax(-1)
        columns = character_columns(path).tolist()
        one = columns[len(columns) // 2 :][:1]  # empty if nothing was read
        (gradient,) = torch.autograd.grad(log_probabilities[one, 0, path[one]].sum(), image)
        influence = gradient[0, 0].abs().cpu().numpy()
        for axes, where in ((left, columns), (right, one)):
            axes.imshow(image.detach()[0, 0].cpu().numpy(), cmap="gray_r", vmax=2)
            for column in where:
                axes.text((column + 0.5) * STRIDE, -2, int(path[column]), ha="center", color="tab:blue")
        right.imshow(influence, cmap="Reds", alpha=(influence / (influence.max() or 1)) ** 0.5)
        if i in wrong:
            left.text(width + 4, height / 2, "".join(map(str, lines.texts[i].tolist())), color="tab:red", va="center")
        for axes in (left, right):
            axes.axis("off")
            axes.set_xlim(0, widest + 40)  # one scale for all lines, with room for the true text
    return figure


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="lstm2d")
    parser.add_argument("--steps", type=positive, default=2000, help="(%(default)s)")
    parser.add_argument("--batch", type=positive, default=32, help="lines of a step (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-2, help="the highest (%(default)s)")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="whose digits are read at last")
    parser.add_argument("--seed", type=non_negative, default=0)
    parser.add_argument("--device", default="cpu", help="(%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="a picture of lines, with what was read")
    options = parser.parse_args(arguments)
    try:
        device = distributed.choose_device(options.device)
        if options.out:
            check_out(options.out, animate=False)  # refuses a wrong path before the training
            need("matplotlib.figure")
        train_digits, unseen = Digits.load("train"), Digits.load(options.split)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))

    torch.manual_seed(options.seed)
    reader = Reader(options.model).to(device)
    parameters = sum(parameter.numel() for parameter in reader.parameters())
    print(f"{options.model}: {parameters} parameters, {torch.get_num_threads()} threads")
    clock, cpu = time.perf_counter(), time.process_time()
    train(reader, train_digits, options.steps, options.batch, options.learning_rate, options.seed)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    print(f"{options.steps} steps: {clock / 60:.1f} minutes, {cpu / 60:.1f} minutes of CPU time")

    reader.eval()
    # All models and seeds are scored on the same lines.
    lines = unseen.lines(TEST_LINES, generator("text_line", options.split))
    texts = read(reader, lines)
    wrong = sum(edit_distance(text, truth.tolist()) for text, truth in zip(texts, lines.texts))
    characters = sum(len(truth) for truth in lines.texts)
    print(f"{wrong / characters:.2%} character errors, {wrong} of {characters} in {len(texts)} {options.split} lines")
    if options.out:
        draw(reader, lines, texts).savefig(options.out)
        print(f"lines, what was read, and from which pixels: {options.out}")
    return wrong / characters


if __name__ == "__main__":
    main()
