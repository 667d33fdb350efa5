import pytest

from helpers.tiny import write_cheap_curve


@pytest.fixture(autouse=True, scope="module")
def _cheap_curve():
    """Writes curves without matplotlib, to save time. tests/cli draws a real curve."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pixelrnn_ext.training.gallery.write_learning_curve", write_cheap_curve)
        yield
