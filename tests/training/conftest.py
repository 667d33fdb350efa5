"""The fixture of all tests of trainings."""

import pytest

from helpers.tiny import write_cheap_curve


@pytest.fixture(autouse=True, scope="module")
def _cheap_curve():
    """Trainings here take steps, not matplotlib's time. Those of tests/cli have it draw a curve."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pixelrnn_ext.training.gallery.write_learning_curve", write_cheap_curve)
        yield
