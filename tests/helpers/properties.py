"""Configures Hypothesis to draw the same examples in every run: 50 for a test, and 500 with `pytest -m sweep`."""

from hypothesis import is_hypothesis_test, settings

settings.register_profile("few", max_examples=50, derandomize=True, deadline=None)
settings.register_profile("many", settings.get_profile("few"), max_examples=500)


def pytest_configure(config):
    markers = config.option.markexpr.replace("not sweep", "").split()
    settings.load_profile("many" if "sweep" in markers else "few")


def pytest_itemcollected(item):
    if settings.get_current_profile_name() == "many" and is_hypothesis_test(getattr(item, "obj", None)):
        item.add_marker("sweep")
