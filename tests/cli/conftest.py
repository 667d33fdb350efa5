"""What the tests of the commands share."""

import pytest

from .command_line import train


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a training and what it printed."""
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("tqdm.tqdm.write", lines.append)
        assert train(out, "--conditional", "--samples", "4") == 0
    return out, lines
