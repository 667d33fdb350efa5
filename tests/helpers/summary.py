"""Prints the largest ratios of ``record_property("error", (what, ratio))`` at the end, also with pytest-xdist."""


def pytest_terminal_summary(terminalreporter):
    worst = {}
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if getattr(report, "when", "") == "teardown":
            for what, ratio in (value for name, value in report.user_properties if name == "error"):
                worst[what] = max(worst.get(what, 0.0), ratio)
    if worst:
        terminalreporter.section("largest error ratios")
        terminalreporter.write_line("; ".join(f"{what}: {ratio:.1e}" for what, ratio in sorted(worst.items())))
