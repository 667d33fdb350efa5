import pytest

from pixelrnn_ext.operators import library

from . import other_processors

ALL = "baseline", "avx2", "avx512", "avx512_bf16"
VALUES = {
    "ATEN_CPU_CAPABILITY": {"default", "avx2", "avx512"},
    "ONEDNN_MAX_CPU_ISA": {"SSE41", "AVX2", "AVX512_CORE"},
    "MKL_ENABLE_INSTRUCTIONS": {"AVX2", "AVX512"},
    "PIXELRNN_INSTRUCTION_SET": {"baseline", "avx2", "avx512", "avx512_bf16"},
    "OMP_NUM_THREADS": {"1", "2", "4"},
    "GOMP_SPINCOUNT": {"1000"},
}


@pytest.mark.parametrize("sets", [ALL[:n] for n in (1, 2, 3, 4)], ids="-".join)
def test_every_value_of_the_processor_is_in_an_environment(sets, monkeypatch):
    monkeypatch.setattr(library, "_available", sets)
    found = {name: set() for name in VALUES}
    for number in range(100, 100 + len(other_processors.ENVIRONMENTS)):
        for name, value in other_processors.environment(number).items():
            found[name].add(value)
    lacking = {"avx2", "avx512", "avx512_bf16"}.difference(sets)
    assert found == {
        name: {value for value in values if not any(word in value.lower() for word in lacking)}
        for name, values in VALUES.items()
    }
