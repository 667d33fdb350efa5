"""Models the cycles that this project's kernels need for one line (row or anti-diagonal) of a scan."""

from . import flow, model
from .cost_table import Cost

# Tags in comments of csrc, which mark loops and branches.
TILE_GUARD, TILE_LOOP, PAIR_LOOP, CELL_LOOP = "[branch: tiles]", "[loop: tiles]", "[loop: pairs]", "[loop: cells]"
OTHER_FORMULAS = "[branch: formula]"  # taken to skip the formulas of other cell types
ONE_TILE = "[branch: one tile]"  # taken to compute the matrix product of one tile


def has_one_tile(kernel):
    return kernel.tiles_or_units == 1 or (kernel.tiles_or_units > 0 and kernel.kind == "single")


def tiles_at_once(kernel):
    from_memory = kernel.held == "s" and kernel.format != "fp32"
    return 2 if from_memory and kernel.tiles_or_units > 1 and not kernel.backward else 1


def rules(kernel, *, tiles=1, pair_passes=1, cells=1):
    """Returns the rules that decide which branches a warp takes in the loop over lines.

    A warp computes `tiles` tiles of 8 cells.
    """
    found = []
    if kernel.backward:
        if not has_one_tile(kernel):
            found.append(flow.Rule(TILE_LOOP, tiles))
        elif kernel.kind == "cluster":
            found.append(flow.Rule(ONE_TILE))
        if kernel.tiles_or_units == 0:
            found.append(flow.Rule(CELL_LOOP, cells))
        if kernel.gates == 5:
            found.append(flow.Rule(OTHER_FORMULAS))
    elif kernel.tiles_or_units > 1 and (
        turns := -(-tiles // tiles_at_once(kernel))
    ) < kernel.tiles_or_units // tiles_at_once(kernel):
        # The compiler unrolls the loop over tiles, so the loop has a branch before each turn except the first. The warp
        # leaves the loop at the branch whose number, counted from 1, is `turns`.
        found.append(flow.Rule(TILE_GUARD, first=turns))
    if kernel.held == "s":
        found.append(flow.Rule(PAIR_LOOP, pair_passes))
    return found


def cost(kernel, code, warps):
    """Returns the Cost of a line, which splits the line's cycles into costs of tiles, cells and pairs.

    A pair is 64 bytes of each row of the weights. The function models a line with few tiles and a line with more tiles,
    and computes the cost of a tile from the difference in cycles. It computes the costs of a cell and of a pair in the
    same way.
    """

    def walk(**layout):
        return model.walk(code, warps=warps, rules=rules(kernel, **layout), lines=4)

    base, at_once = walk(), tiles_at_once(kernel)
    pair = tile = cell = pairs_of_a_tile = 0
    if kernel.held == "s":
        more = walk(pair_passes=4)
        # `products_of_a_pair` is the number of multiply instructions that a warp issues for one tile (8 cells) and one
        # pair (64 bytes of each row of the weights). On tensor cores, a warp issues two instructions for every 16 rows.
        # In fp32, it issues 16 instructions for each row and each of the two cells of a thread.
        rows = 4 if kernel.backward else kernel.gates
        row_tiles = 1 if kernel.backward and kernel.kind == "single" else (rows + 1) // 2
        products_of_a_pair = 2 * rows * 16 if kernel.format == "fp32" else 2 * row_tiles
        pair = (more.cycles - base.cycles) / (more.products - base.products) * products_of_a_pair
        pairs_of_a_tile = base.products / at_once / products_of_a_pair
    if not has_one_tile(kernel) if kernel.backward else kernel.tiles_or_units > 1:
        tile = (walk(tiles=1 + at_once).cycles - base.cycles) / at_once - pairs_of_a_tile * pair
    if kernel.backward and kernel.tiles_or_units == 0:
        cell = walk(cells=2).cycles - base.cycles
    tile, cell = max(0, tile), max(0, cell)
    return Cost(max(0, base.cycles - at_once * (tile + pairs_of_a_tile * pair) - cell), tile, pair, cell)
