"""README's picture: what a layer sees, and in which order it computes. `python docs/picture.py` writes layers.svg."""

from pathlib import Path

HEIGHT, WIDTH = 7, 9
PIXEL = 4, 4  # the one whose output is asked for
SIDE, GAP, LEFT, TOP = 24, 72, 8, 34

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #6a737d; }
  .title { font-size: 16px; font-weight: 600; fill: #57606a; }
  .step { font-size: 10px; text-anchor: middle; }
  .unseen { fill: #eaeef2; }
  .forth { fill: #54a0ff; }
  .back { fill: #ffb454; }
  .pixel { fill: #d1242f; }
  .front { fill: #2da44e; }
  .done { fill: #a7dfb5; }
  .on { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9aa2ab; }
    .title { fill: #b8c0ca; }
    .unseen { fill: #2f353d; }
    .forth { fill: #2f81f7; }
    .back { fill: #c98016; }
    .pixel { fill: #f85149; }
    .front { fill: #2ea043; }
    .done { fill: #1d4a2b; }
  }
"""


def row_lstm_sees(pixel):
    """With kernels of 3 pixels: the input of a row and one pixel to the left, the states of three pixels above."""
    row, column = pixel
    seen = set()
    for r in range(row + 1):
        away = row - r
        seen |= {(r, c) for c in range(column - away - 1, column + away + 1) if 0 <= c < WIDTH}
    return seen


def left_to_right_sees(pixel):
    return {(r, c) for r in range(pixel[0] + 1) for c in range(pixel[1] + 1)}


def right_to_left_sees(pixel):
    """Shifted down by a row: what its state in the row above has read."""
    return {(r, c) for r in range(pixel[0]) for c in range(pixel[1], WIDTH)}


def step_of(cell):
    """At which step of the left-to-right scan it is computed."""
    return sum(cell)


def cells():
    return ((r, c) for r in range(HEIGHT) for c in range(WIDTH))


def corner(panel, cell):
    return LEFT + panel * (WIDTH * SIDE + GAP) + cell[1] * SIDE, TOP + cell[0] * SIDE


def square(panel, cell, kind):
    x, y = corner(panel, cell)
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{SIDE - 2}" height="{SIDE - 2}" rx="3"/>'


def lower_half(panel, cell, kind):
    """Of a square: its pixel is one that both directions see."""
    x, y = corner(panel, cell)
    side = SIDE - 2
    return f'<path class="{kind}" d="M{x + side - 2},{y + 2} V{y + side - 3} a3,3 0 0 1 -3,3 H{x + 2} z"/>'


def text(panel, row, words, kind=""):
    x, y = corner(panel, (row, 0))
    return f'<text class="{kind}" x="{x}" y="{y}">{words}</text>'


def titled(panel, title, *below):
    lines = [text(panel, HEIGHT + 0.7 * (i + 1), words) for i, words in enumerate(below)]
    return [f'<text class="title" x="{corner(panel, (0, 0))[0]}" y="{TOP - 14}">{title}</text>', *lines]


def row_lstm(panel):
    seen = row_lstm_sees(PIXEL)
    parts = [
        square(panel, cell, "pixel" if cell == PIXEL else "forth" if cell in seen else "unseen") for cell in cells()
    ]
    return parts + titled(panel, "Row LSTM", "sees a triangle above its pixel", "a row is computed at once")


def diagonal_bilstm(panel):
    forth, back = left_to_right_sees(PIXEL), right_to_left_sees(PIXEL)
    parts = []
    for cell in cells():
        kind = "pixel" if cell == PIXEL else "forth" if cell in forth else "back" if cell in back else "unseen"
        parts.append(square(panel, cell, kind))
        if cell in forth & back:
            parts.append(lower_half(panel, cell, "back"))
    return parts + titled(panel, "Diagonal BiLSTM", "sees every earlier pixel:", "blue: one scan, orange: the other")


def wavefront(panel):
    now = step_of(PIXEL)
    parts = []
    for cell in cells():
        step = step_of(cell)
        parts.append(square(panel, cell, "front" if step == now else "done" if step < now else "unseen"))
        x, y = corner(panel, cell)
        number = f'x="{x + SIDE / 2 - 1:g}" y="{y + SIDE / 2 + 2.5:g}"'
        parts.append(f'<text class="step{" on" * (step == now)}" {number}>{step}</text>')
    return parts + titled(panel, "The wavefront", "a diagonal is computed at once:", "H + W - 1 steps instead of H x W")


def picture():
    width = 2 * LEFT + 3 * WIDTH * SIDE + 2 * GAP
    height = TOP + HEIGHT * SIDE + 44
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
            "<title>What a Row LSTM and a Diagonal BiLSTM see, and the wavefront</title>",
            f"<style>{STYLE}</style>",
            *row_lstm(0),
            *diagonal_bilstm(1),
            *wavefront(2),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    Path(__file__).with_name("layers.svg").write_text(picture())
