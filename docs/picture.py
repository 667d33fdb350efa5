"""Draws layers.svg (the pixels that a layer sees, and the order in which it computes) and exchange.svg (two blocks of a
CUDA cluster exchange a line of hidden states): `python docs/picture.py`."""

from pathlib import Path

HEIGHT, WIDTH = 7, 9
PIXEL = 4, 4  # the row and column of the pixel whose dependencies are shown
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
    """Returns the pixels that a Row LSTM of kernel size 3 sees. Each row above adds one pixel to both sides."""
    row, column = pixel
    return {(r, c) for r, c in cells() if r - row - 1 <= c - column <= row - r}


def left_to_right_sees(pixel):
    return {(r, c) for r in range(pixel[0] + 1) for c in range(pixel[1] + 1)}


def right_to_left_sees(pixel):
    """Returns the pixels that the state in the row above has read, since the map is shifted down by a row."""
    return {(r, c) for r in range(pixel[0]) for c in range(pixel[1], WIDTH)}


def step_of(cell):
    """Returns the step of the left-to-right scan that computes a cell."""
    return sum(cell)


def cells():
    return ((r, c) for r in range(HEIGHT) for c in range(WIDTH))


def position(panel, cell):
    return LEFT + panel * (WIDTH * SIDE + GAP) + cell[1] * SIDE, TOP + cell[0] * SIDE


def squares(panel, kinds):
    """Draws all cells of a panel, each with its CSS class from ``kinds``, or else "unseen"."""
    groups = {}
    for cell in cells():
        x, y = position(panel, cell)
        groups.setdefault(kinds.get(cell, "unseen"), []).append(f'<use href="#s" x="{x}" y="{y}"/>')
    return [f'<g class="{kind}">{"".join(uses)}</g>' for kind, uses in groups.items()]


def lower_triangle(panel, cell):
    """Marks a pixel that both directions see."""
    x, y = position(panel, cell)
    side = SIDE - 2
    return f'<path class="back" d="M{x + side - 2},{y + 2} V{y + side - 3} a3,3 0 0 1 -3,3 H{x + 2} z"/>'


def title_and_captions(panel, title, *captions):
    parts = [f'<text class="title" x="{position(panel, (0, 0))[0]}" y="{TOP - 14}">{title}</text>']
    for i, caption in enumerate(captions):
        x, y = position(panel, (HEIGHT + 0.7 * (i + 1), 0))
        parts.append(f'<text x="{x}" y="{y}">{caption}</text>')
    return parts


def row_lstm(panel):
    parts = squares(panel, dict.fromkeys(row_lstm_sees(PIXEL), "forth") | {PIXEL: "pixel"})
    return parts + title_and_captions(panel, "Row LSTM", "sees a triangle above its pixel", "a row is computed at once")


def diagonal_bilstm(panel):
    forth, back = left_to_right_sees(PIXEL), right_to_left_sees(PIXEL)
    parts = squares(panel, dict.fromkeys(back, "back") | dict.fromkeys(forth, "forth") | {PIXEL: "pixel"})
    parts += [lower_triangle(panel, cell) for cell in sorted(forth & back)]
    captions = "sees every earlier pixel:", "blue: one scan, orange: the other"
    return parts + title_and_captions(panel, "Diagonal BiLSTM", *captions)


def wavefront(panel):
    now = step_of(PIXEL)
    kinds = {cell: "front" if step_of(cell) == now else "done" for cell in cells() if step_of(cell) <= now}
    parts = squares(panel, kinds)
    for cell in cells():
        x, y = position(panel, cell)
        number = f'x="{x + SIDE / 2 - 1:g}" y="{y + SIDE / 2 + 2.5:g}"'
        parts.append(f'<text class="step{" on" * (step_of(cell) == now)}" {number}>{step_of(cell)}</text>')
    captions = "a diagonal is computed at once:", "H + W - 1 steps instead of H x W"
    return parts + title_and_captions(panel, "The wavefront", *captions)


def svg(width, height, title, parts):
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>\n<title>{title}</title>'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>\n"])


def layers():
    width, height = 2 * LEFT + 3 * WIDTH * SIDE + 2 * GAP, TOP + HEIGHT * SIDE + 44
    parts = [f'<defs><rect id="s" width="{SIDE - 2}" height="{SIDE - 2}" rx="3"/></defs>']
    parts += row_lstm(0) + diagonal_bilstm(1) + wavefront(2)
    return svg(width, height, "What a Row LSTM and a Diagonal BiLSTM see, and the wavefront", parts)


# The stages of the example in kernels.md: caption, line whose states buffer A and buffer B hold (None: h0), index of
# the buffer that the blocks push.
STAGES = (
    ("Before line 0: both buffers hold h0, and the blocks meet once", (None, None), None),
    ("Line 0: each block reads A, computes its units, writes them into B and pushes them", (None, 0), 1),
    ("Line 1: each block reads B once it is whole; no line follows, so nothing is pushed", (None, 0), None),
)
UNITS, BUFFER, STAGE, BETWEEN = 104, 26, 96, 120  # widths and heights in pixels


def arrow(begin, end, y, kind):
    """Draws a horizontal arrow with its tip at ``end``."""
    neck = end - 8 if end > begin else end + 8
    return f'<path class="{kind}" d="M{begin},{y - 1} H{neck} v-4 L{end},{y} L{neck},{y + 5} v-4 H{begin} z"/>'


def draw_buffer(x, y, name, line):
    """Draws a buffer with the hidden units of both blocks."""
    parts = [f'<text x="{x - 16}" y="{y + 18}">{name}</text>']
    for owner, colour in enumerate(("forth", "back")):
        kind, content, on = ("unseen", "h0", "") if line is None else (colour, f"h of line {line}", " on")
        left = x + owner * UNITS
        parts.append(f'<rect class="{kind}" x="{left}" y="{y}" width="{UNITS - 2}" height="{BUFFER}" rx="3"/>')
        parts.append(f'<text class="step{on}" x="{left + UNITS // 2}" y="{y + 17}">{content}</text>')
    return parts


def exchange():
    blocks = LEFT + 16, LEFT + 16 + 2 * UNITS + BETWEEN
    parts = []
    for block, x in enumerate(blocks):
        parts.append(f'<text class="title" x="{x}" y="18">Block {block}: units {8 * block} to {8 * block + 7}</text>')
    for stage, (caption, lines, pushed) in enumerate(STAGES):
        top = 48 + stage * STAGE
        parts.append(f'<text x="{LEFT}" y="{top}">{caption}</text>')
        for row, (name, line) in enumerate(zip("AB", lines)):
            for x in blocks:
                parts += draw_buffer(x, top + 10 + row * (BUFFER + 2), name, line)
        if pushed is not None:
            y = top + 10 + pushed * (BUFFER + 2) + BUFFER // 2
            ends = blocks[0] + 2 * UNITS + 6, blocks[1] - 24
            parts += [arrow(*ends, y - 6, "forth"), arrow(*reversed(ends), y + 6, "back")]
    width, height = blocks[1] + 2 * UNITS + LEFT, 48 + len(STAGES) * STAGE - 20
    return svg(width, height, "Two blocks of a cluster exchange the hidden states of a line", parts)


PICTURES = {"layers.svg": layers, "exchange.svg": exchange}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        Path(__file__).with_name(name).write_text(draw())
