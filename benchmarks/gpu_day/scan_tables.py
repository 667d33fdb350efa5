from harness.alone import grid

from .costs import line_cycles, pack_us, parse_plan, scan_us

PIECE = 16  # bytes of one store to another block's shared memory
LAUNCH_US = 3.0  # as csrc/cuda/plan.h assumes
MAX_MODEL_ERROR = 0.2  # the table marks estimates with larger relative errors
SHOWN = 3  # number of layouts in the table for each case


def cost_us(result: dict) -> float:
    """Returns the microseconds by which the report ranks layouts.

    The result is the time to pack the weights plus the time of the scan's kernel. For "step" (a kernel for each line),
    or if the profiler missed the scan's kernel, the result is the time of the whole call.
    """
    if result["provider"] == "step":
        return result["call_us"]
    scan = scan_us(result)
    return result.get("device_us") or result["call_us"] if scan is None else scan + (pack_us(result) or 0)


def layouts_table(results: list[dict], multiprocessors: int) -> str:
    table, cases = [], {}
    for r in results:
        cases.setdefault((r["case"], r["precision"]), []).append(r)
    for key, found in cases.items():
        order = sorted((r for r in found if r["status"] == "ok" and "call_us" in r), key=cost_us)
        for rank, r in enumerate(order):
            if rank < SHOWN or r.get("chosen"):
                plan, cycles = parse_plan(r["plan"]), line_cycles(r, multiprocessors)
                row = [*key, r["provider"].removeprefix("resident:"), _us(scan_us(r)), _us(pack_us(r))]
                row += compared_cells(r.get("device_us"), plan and plan.microseconds, "{:.1f}")
                row += compared_cells(cycles, plan and plan.cycles, "{:.0f}")
                note = ["best"] * (rank == 0) + ["the planner's"] * bool(r.get("chosen"))
                row += ["-" if plan is None else str(plan.at_once), f"{cost_us(r) / cost_us(order[0]):.2f}"]
                table.append([*row, ", ".join(note)])
    header = ["case", "precision", "layout", "scan us", "pack us", "on the GPU us", "expected", "ratio"]
    header += ["cycles a line", "expected", "ratio", "at once", "over the best", "note"]
    return grid(header, table, True) if table else "None."


def compared_cells(measured, model, shape):
    cells = ["-" if value is None else shape.format(value) for value in (measured, model)]
    if measured is None or not model:
        return [*cells, "-"]
    return [*cells, f"{measured / model:.2f}" + " !" * (abs(measured / model - 1) > MAX_MODEL_ERROR)]


def operators_table(results: list[dict]) -> str:
    table = []
    for r in results:
        if r["status"] == "ok" and "call_us" in r:
            times = r.get("times") or {}
            launches, total = sum(n for n, _ in times.values()), sum(us for _, us in times.values())
            scan, pack = scan_us(r), pack_us(r)
            rest = total - (scan or 0) - (pack or 0) if times else None
            row = [r["case"], r["precision"], r["provider"], _us(pack), _us(scan), _us(rest), str(launches or "-")]
            table.append([*row, _us(r.get("device_us")), _us(r["call_us"])])
    header = ["case", "precision", "operator", "pack us", "scan us", "other kernels us", "launches", "on the GPU us"]
    return grid([*header, "as called us"], table, True) if table else "None."


def exchange_table(results: list[dict]) -> str:
    """Returns a table of the cycles of each exchange between a cluster's blocks, and of the time of a launch.

    The last column is extra bytes / extra cycles, compared with the smallest exchange of equally many blocks.
    """
    found = [r for r in results if "cycles" in r]
    least = {r["blocks"]: r for r in sorted(found, key=lambda r: -r["pieces"])}
    table = []
    for r in found:
        pieces, cycles = (r[name] - least[r["blocks"]][name] for name in ("pieces", "cycles"))
        beyond = f"{PIECE * pieces / cycles:.1f}" if cycles > 0 else "-"
        table.append([r["provider"], str(r["pieces"]), f"{r['cycles']:.0f}", beyond])
    launch = [
        f"A launch: {r['device_us']:.2f} us on the GPU, {r['call_us']:.2f} us as called; the planner assumes "
        f"{LAUNCH_US:g} us."
        for r in results
        if "call_us" in r
    ]
    header = ["exchange", "pieces of 16 bytes a block", "cycles a line", "bytes a cycle beyond the least"]
    return "\n\n".join([grid(header, table, True)] * bool(table) + launch) or "None."


def _us(value):
    return "-" if value is None else f"{value:.1f}"
