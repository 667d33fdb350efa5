import pytest
import torch


@pytest.fixture(autouse=True)
def _fixed_seed_and_poisoned_memory():
    """Every test starts from one seed, and memory that an operator forgets to write reads as NaN."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)
