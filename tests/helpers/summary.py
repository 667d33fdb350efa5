"""Prints the largest errors that tests report, at the end of a test run.

A test reports an error by ``record_property("error", (label, ratio))``.
"""


def pytest_terminal_summary(terminalreporter):
    worst = {}
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if getattr(report, "when", "") == "teardown":
            for label, ratio in (value for name, value in report.user_properties if name == "error"):
                worst[label] = max(worst.get(label, 0.0), ratio)
    if worst:
        terminalreporter.section("largest error ratios")
        terminalreporter.write_line("; ".join(f"{label}: {ratio:.1e}" for label, ratio in sorted(worst.items())))
