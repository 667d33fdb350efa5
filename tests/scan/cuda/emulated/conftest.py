import pytest

from .comparison import worst


@pytest.fixture(autouse=True)
def report_worst(record_property):
    worst.clear()
    yield
    for (format, kind), ratio in worst.items():
        record_property("error", (f"{format} {kind}", ratio))
