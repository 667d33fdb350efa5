"""What pytest's report says, as results.json holds it, and whether that is good."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

CHECK = ["tests/scan/cuda/card/test_kernels.py", "tests/models/test_card.py::test_a_training_step"]
SANITIZER = ["tests/scan/cuda/card/test_sanitizer.py"]
TOOLS = 3
OTHERS = [f"--ignore={path}" for path in ("tests/scan/cuda/card/test_kernels.py", *SANITIZER)]
SLOWEST = 10


def read(report: Path) -> dict | None:
    """From pytest's XML; None where there is none."""
    if not report.exists():
        return None
    suite = next(ElementTree.parse(report).iter("testsuite"))
    total, failures, errors, skipped = (int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped"))
    cases = [(f"{case.get('classname')}::{case.get('name')}", case) for case in suite.iter("testcase")]
    broken = [(name, part) for name, case in cases for part in case if part.tag in ("failure", "error")]
    reasons = [skip.get("message") for skip in suite.iter("skipped")]
    slowest = sorted(((float(case.get("time") or 0), name) for name, case in cases), reverse=True)[:SLOWEST]
    return {
        "passed": total - failures - errors - skipped,
        "failed": [{"test": name, "message": part.get("message"), "text": part.text} for name, part in broken],
        "broken": failures + errors,
        "skipped": {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
        "seconds": float(suite.get("time") or 0),
        "slowest": [{"test": name, "seconds": seconds} for seconds, name in slowest],
    }


def judge(found: dict | None, stopped: str, closing: str) -> tuple[str, str]:
    """Tests that were skipped cover nothing, and a run that only skips is no run."""
    if found is None:
        return "failed", f"{stopped}no report; the last line is {closing!r}"
    why = "".join(f"; skipped {count}: {reason}" for reason, count in found["skipped"].items())
    note = f"{stopped}{closing}{why}"
    if found["broken"] or stopped:
        return "failed", note
    return ("ok" if found["passed"] else "not run"), note
