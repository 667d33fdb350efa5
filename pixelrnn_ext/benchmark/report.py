"""What a run of the cases says."""

from .comparison import comparisons, how_to_read, short_table
from .reliability import warning
from .run import Benchmark


def text(
    benchmark: Benchmark, header: dict[str, str], doubts: list[str], table: str, explained: list[str], markdown: bool
) -> str:
    """A table with what it was measured by, on what, and with what the run has to say of it."""

    def listed(facts: list[str]) -> str:
        return "\n".join(("- " if markdown else "") + fact for fact in facts)

    command, *machine = (f"{name}: {value}" for name, value in header.items())
    skipped = [f"skipped, {why}: {'; '.join(what)}" for why, what in benchmark.skipped.items()]
    notes = [*explained, *benchmark.notes, *skipped, *benchmark.mismatches]
    parts = listed([command, "; ".join(machine)]), warning(doubts), table, listed(notes)
    return "\n\n".join(filter(None, parts)) + "\n"


def short_report(benchmark: Benchmark, header: dict[str, str], markdown: bool) -> str:
    """The short table of a run, a line a case."""
    lines = comparisons(benchmark.rows)
    doubts, explained = [line.doubt for line in lines], [how_to_read(lines)]
    return text(benchmark, header, doubts, short_table(lines, markdown), explained, markdown)
