from harness.alone import grid

from .results import Results
from .scan_tables import exchange_table, layouts_table, operators_table
from .verdict import counts, verdict_table, verdicts

NOTES = (
    "Medians over rounds that time all providers of a case in turn, after a warm-up; caches are warm. As called: CUDA "
    "events around three calls in a row, launches included. On the GPU: the calls wait in a queue behind a pause, so "
    "that no launch is waited for; <= where the queue was too short for that. Speed-ups and the ratios to nn.LSTM are "
    "medians of the ratios in each round.",
    "Layouts, as a path of the operators names them, and operators: times of single kernels are medians of the "
    "profiler's; a dash where it saw none. Cycles a line: of a wave of clusters, by the clock measured beside it. "
    "Expected: what the plan of the layout says; a ! behind a ratio says that it is off by more than a fifth. A "
    "layout's output was compared with the step path's before.",
    "Exchange: cycles of the SM's own clock for pushes, arrivals and waits alone, with the strides and volumes of the "
    "kernels; a piece costs what it does beyond the least exchange of as many blocks.",
    "The floors are a model of an H100 SXM, not measurements; fp16 has bf16's. Backward includes the weight's "
    "gradient. A scan is one direction from its input-to-state map to h; a layer has its convolution, and "
    "DiagonalBiLSTM both directions. The good loop of a layer computes halves as float32 maps.",
    "Every output and gradient was compared with the float64 reference before it was timed. fp32 is strict: no tf32, "
    "nor in cuDNN.",
    "Peak memory: what torch's allocator holds at the peak of one training step more than before it, inputs, "
    "parameters and cotangents not counted; a graph's while it is captured.",
)


def markdown(results: Results) -> str:
    environment = results.data["environment"]
    facts = [f"- {name}: {'unknown' if value is None else value}" for name, value in environment.items()]
    parts = [[name, part["status"], part["note"]] for name, part in results.data["parts"].items()]
    benchmarks = results.of("small", "large")
    lines = verdicts(benchmarks)
    missing = [
        f"- {m['job']}, {m['provider'] or 'the rest'}: {m['status']} ({m['note']})"
        for m in results.data["measurements"]
        if m["status"] != "ok"
    ]
    failed = [f"- {name}: {test}" for name, part in results.data["parts"].items() for test in part.get("failed", [])]
    sections = [
        "# PixelRNN kernels on a GPU",
        "\n".join(facts),
        grid(["part", "status", "note"], parts, True),
        "## Tests that failed\n\n" + ("\n".join(failed) or "None."),
        f"## Verdict\n\n{counts(lines)}",
        verdict_table(lines, True),
        "## Layouts of a scan\n\n" + layouts_table(results.of("layouts"), environment.get("multiprocessors", 1)),
        "## Exchange between blocks\n\n" + exchange_table(results.of("exchange")),
        "## Operators\n\n" + operators_table(results.of("operators")),
        "## Measurements\n\n" + measurements_table(benchmarks),
        "## Not measured\n\n" + ("\n".join(missing) or "Nothing was left out."),
        "## How\n\n" + "\n".join(f"- {note}" for note in NOTES),
    ]
    return "\n\n".join(sections) + "\n"


def measurements_table(measurements: list[dict]) -> str:
    def cell(m, kind, mode):
        entry = m.get(kind, {}).get(mode)
        return "-" if entry is None else f"{'<= ' if entry['bound'] else ''}{entry['median']:.1f}"

    modes = ("forward", "backward", "forward+backward")
    header = ["case", "precision", "provider"]
    header += [f"{mode}, us {where}" for where in ("as called", "on the GPU") for mode in modes]
    header += ["p20-p80, us", "peak MiB", "max error", "note"]
    lines, listed = [], set()
    for m in measurements:
        key = m["case"], m["precision"], m["provider"]
        # A job with a compiled loop times the good loop, too.
        if m["status"] == "ok" and m["provider"] and key not in listed:
            listed.add(key)
            both, memory, error = m["called"]["forward+backward"], m.get("memory_mib"), m.get("error")
            line = [*key]
            line += [cell(m, kind, mode) for kind in ("called", "device") for mode in modes]
            line += [f"{both['p20']:.1f}-{both['p80']:.1f}"]
            line += ["-" if memory is None else f"{memory:.1f}", "-" if error is None else f"{error:.0e}"]
            line += [m.get("note", "")]
            lines.append(line)
    return grid(header, lines, True) if lines else "None."
