"""The architectures of the emulated tests: sm_80 has no clusters of thread blocks, sm_90 has them."""

import pytest

from ..kernel_paths import IMPOSSIBLE

ALONE = {arch: pytest.mark.parametrize("arch", [arch]) for arch in ("sm_80", "sm_90")}


def variants_on_each(variants):
    """Parametrizes a test with every variant of the kernels on every architecture that runs it."""
    cases = [
        pytest.param(arch, *variant, id="{}-{}-{}-C{}".format(arch, *variant))
        for arch in ALONE
        for variant in variants
        if (variant[-1] == 1 or arch == "sm_90") and variant not in IMPOSSIBLE
    ]
    return pytest.mark.parametrize(("arch", "format", "suffix", "blocks"), cases)


def paths_on_each(*paths):
    """Parametrizes a test with every path on every architecture that runs it."""
    cases = [(arch, path) for arch in ALONE for path in paths if arch == "sm_90" or not path.endswith(":2")]
    return pytest.mark.parametrize(("arch", "path"), cases)
