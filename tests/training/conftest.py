import pytest

from helpers.tiny import write_cheap_curve


@pytest.fixture(autouse=True, scope="module")
def _cheap_curve():
    """Draws no learning curves by matplotlib, to save time. A test in tests/cli draws one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pixelrnn_ext.training.gallery.write_learning_curve", write_cheap_curve)
        yield
