from harness.alone import grid

from .results import Results
from .scan_tables import compared_cells, exchange_table, layouts_table, operators_table
from .verdict import summary, verdict_table, verdicts

NOTES = (
    "Medians over rounds that time all providers of a case in turn, after a warm-up; caches are warm. As called: CUDA "
    "events around three calls in a row, launches included. On the GPU: the calls wait in a queue behind a pause, "
    "which hides the launches; <= where the queue was too short. Speed-ups and the ratios to nn.LSTM are medians of "
    "the ratios in each round.",
    "Layouts (named as in a path of the operators) and operators: times of single kernels are the profiler's medians; "
    "a dash where it saw none. Cycles a line: of a wave of clusters, by the clock measured beside it. Expected: the "
    "plan's estimate; a ! marks a ratio that is off by more than a fifth. A layout's output was first compared with "
    "the step path's.",
    "Exchange: cycles of the SM's own clock for stores to peers, arrivals and waits alone, with the kernels' strides "
    "and volumes. The least exchange of as many blocks is subtracted for the bytes a cycle.",
    "Sampling: images are drawn as called, launches and plans included. A step's cycles are the time that twice as "
    "long a chain of steps adds to a launch, divided by its steps, times the measured clock. Expected cycles "
    "are modelled, other expected values are assumed; a ! marks a ratio that is off by more than a fifth.",
    "The floors are a model of an H100 SXM, not measurements; fp16 has bf16's. Backward includes the weight's "
    "gradient. A scan is one direction from its input-to-state map to h; a layer adds its convolution, DiagonalBiLSTM "
    "both directions. The good loop of a layer computes halves as float32 maps.",
    "Every output and gradient was compared with the float64 reference before it was timed. fp32 is strict: no tf32, "
    "nor in cuDNN.",
    "Peak memory: the most that torch's allocator holds in one training step, less what it held before (inputs, "
    "parameters, cotangents); a graph's while it is captured.",
)


def markdown(results: Results) -> str:
    environment = results.data["environment"]
    facts = [f"- {name}: {'unknown' if value is None else value}" for name, value in environment.items()]
    parts = [[name, part["status"], part["note"]] for name, part in results.data["parts"].items()]
    benchmarks = results.select("small", "large")
    lines = verdicts(results.select("sampling") + benchmarks)
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
        f"## Verdict\n\n{summary(lines)}",
        verdict_table(lines),
        "## Sampling\n\n" + sampling_table(results.select("sampling")),
        "## Layouts of a scan\n\n" + layouts_table(results.select("layouts"), environment.get("multiprocessors", 1)),
        "## Exchange between blocks\n\n" + exchange_table(results.select("exchange")),
        "## Operators\n\n" + operators_table(results.select("operators")),
        "## Measurements\n\n" + measurements_table(benchmarks),
        "## Not measured\n\n" + ("\n".join(missing) or "Nothing was left out."),
        "## How\n\n" + "\n".join(f"- {note}" for note in NOTES),
    ]
    return "\n\n".join(sections) + "\n"


def sampling_table(measurements: list[dict]) -> str:
    header = ["job", "provider", "unit", "measured", "expected", "ratio", "note"]
    lines = [
        [m["job"], m["provider"], m["unit"], *compared_cells(m["measured"], m.get("expected"), "{:.4g}"), m["note"]]
        for m in measurements
        if "measured" in m
    ]
    return grid(header, lines, True) if lines else "None."


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
        # The jobs for torch.compile measure the plain loop in PyTorch a second time. The table leaves out the second
        # measurement.
        if m["status"] == "ok" and m["provider"] and key not in listed:
            listed.add(key)
            both, memory, error = m["called"]["forward+backward"], m.get("memory_mib"), m.get("error")
            line = [*key]
            line += [cell(m, kind, mode) for kind in ("called", "device") for mode in modes]
            line += [f"{both['p20']:.1f}-{both['p80']:.1f}", "-" if memory is None else f"{memory:.1f}"]
            lines.append([*line, "-" if error is None else f"{error:.0e}", m.get("note", "")])
    return grid(header, lines, True) if lines else "None."
