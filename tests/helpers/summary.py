"""What tests found out is printed at the end of a run, also of one that pytest-xdist deals out to several processes. A
test records ``record_property("figure", text)`` or ``record_property("error", (what, ratio))``, of which the largest is
printed.
"""


def pytest_terminal_summary(terminalreporter):
    reports = [
        report
        for of_kind in terminalreporter.stats.values()
        for report in of_kind
        if getattr(report, "when", "") == "teardown"
    ]
    properties = [p for report in reports for p in report.user_properties]
    figures = [text for name, text in properties if name == "figure"]
    worst = {}
    for what, ratio in (value for name, value in properties if name == "error"):
        worst[what] = max(worst.get(what, 0.0), ratio)
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(figures))
    if worst:
        terminalreporter.section("largest error ratios")
        terminalreporter.write_line("; ".join(f"{what}: {ratio:.1e}" for what, ratio in sorted(worst.items())))
