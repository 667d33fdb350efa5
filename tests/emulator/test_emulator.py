"""The emulator itself: right kernels are silent and right under every schedule, broken ones are reported."""

import ctypes
from collections import defaultdict

import pytest
import torch

from . import ptx_to_cpp, toolchain
from .control import SCHEDULES
from .self_test import driver

pytestmark = pytest.mark.emulated


@pytest.fixture(autouse=True)
def compiler(cuda_compiler):
    """The one that the host of this folder hands in."""
    driver.compiler = cuda_compiler
    return cuda_compiler


# Every other one switches threads within their accesses, too.
PLANS = [
    (name, seed, 5 * (seed % 2)) for name in SCHEDULES for seed in range(1, 3 if name in ("forward", "reverse") else 6)
]
ARCHITECTURES = ("sm_80", "sm_90")
OF_CLUSTERS = {"ring", "pull", "relay", "meet"}


def on_each(names):
    """Parametrizes a test by kernels, on each architecture that can have them."""
    cases = [(name, arch) for name in names for arch in ARCHITECTURES if arch == "sm_90" or name not in OF_CLUSTERS]
    return pytest.mark.parametrize(("name", "arch"), cases)


def area(tensor):
    return tensor.data_ptr(), tensor.numel() * tensor.element_size()


def by_row(x):
    """Each block of 64 values."""
    return x.view(-1, 64)


EXPECTED = {
    "reverse": lambda x: by_row(x).flip(1),
    "swap": lambda x: by_row(x).view(-1, 32, 2).flip(2),
    "broadcast": lambda x: (2 * by_row(x)[:, :1] + 1).expand(-1, 64),
    "sum": lambda x: x.view(-1, 32, 1).sum(1, keepdim=True).expand(-1, 32, 1),
    "agree": lambda x: x.view(-1, 32) + 256 - x.view(-1, 32)[:, :1],
    "ring": lambda x: by_row(x).view(-1, 2, 64).flip(1) + 3,
    "pull": lambda x: by_row(x).view(-1, 2, 64).flip(1),
    "relay": lambda x: by_row(x).view(-1, 2, 64).flip(1) + 5,
    "meet": lambda x: by_row(x).flip(1),
}
WRONG = "wrong numbers"


def run_all_plans(kernels, name, way="right"):
    """What each schedule gives: "" (the right numbers), WRONG, or the kind of the report."""
    memory = torch.zeros(3, 256)  # what is beyond one is not the other
    x, out = memory[0].copy_(torch.arange(256)), memory[2]
    cluster, shared = {"ring": (2, 512), "pull": (2, 512), "relay": (2, 544), "meet": (0, 272)}.get(name, (0, 256))
    for plan in PLANS:
        kernels.schedule(*plan)
        out.zero_()
        report = kernels.run(name, area(x), area(out), way=way, cluster=cluster, shared=shared)
        if report:
            yield report.split(": ")[1]
        else:
            yield "" if torch.equal(out, EXPECTED[name](x).reshape(-1)) else WRONG


@on_each(EXPECTED)
def test_right_kernels_are_silent(name, arch):
    assert set(run_all_plans(driver.load(arch), name)) == {""}


BROKEN = {
    ("reverse", "no_block_barrier"): {"race", "uninitialised"},
    ("reverse", "lane_leaves"): {"divergence"},
    ("reverse", "lanes_diverge"): {"divergence"},
    ("reverse", "collective_against_barrier"): {"divergence"},
    ("reverse", "beyond_global"): {"out of bounds"},
    ("reverse", "beyond_shared"): {"out of bounds"},
    ("reverse", "misaligned"): {"bad use"},
    ("reverse", "writes_input"): {"bad use"},
    ("reverse", "reads_unwritten_shared"): {"uninitialised"},
    ("reverse", "reads_unwritten_out"): {"uninitialised"},
    ("reverse", "leaves_out_unwritten"): {"unwritten"},
    ("swap", "no_warp_barrier"): {"race", "uninitialised"},
    ("swap", "vote_instead_of_warp_barrier"): {"race", "uninitialised"},
    ("broadcast", "no_block_barrier"): {"race"},
    ("sum", "absent_lanes"): {"divergence"},
    ("sum", "lane_outside_mask"): {"divergence"},
    ("agree", "absent_lanes"): {"divergence"},
    ("ring", "no_start"): {"race"},
    ("ring", "block_barrier_instead"): {"race", "exited"},
    ("ring", "no_wait"): {"race", "bad use"},
    ("ring", "one_buffer"): {"race"},
    ("ring", "no_last_barrier"): {"race", "exited"},
    ("ring", "block_leaves"): {"race", "exited"},
    ("ring", "rank_outside"): {"bad use"},
    ("ring", "wrong_peer"): {"race"},
    ("ring", "arrives_twice"): {"bad use"},
    ("ring", "cluster_lanes_diverge"): {"divergence"},
    ("ring", "deadlocks"): {"deadlock"},
    ("pull", "no_last_barrier"): {"exited"},
    ("pull", "plain_access_to_peer"): {"bad use"},
    ("pull", "read_only_load_of_output"): {"bad use"},
    ("relay", "no_start"): {"race", "bad use"},
    ("relay", "no_fence"): {"race"},
    ("relay", "not_initialised"): {"bad use"},
    ("relay", "initialised_twice"): {"bad use"},
    ("relay", "misaligned_barrier"): {"bad use"},
    ("relay", "writes_barrier"): {"bad use"},
    ("relay", "counts_more"): {"deadlock"},
    ("relay", "counts_none"): {"bad use"},
    ("relay", "rank_outside"): {"bad use"},
    ("relay", "wrong_peer"): {"race", "deadlock", "exited"},
    ("relay", "barrier_elsewhere"): {"bad use"},
    ("relay", "no_arrival"): {"deadlock"},
    ("relay", "arrives_twice"): {"race", "bad use", "deadlock"},
    ("relay", "too_few_bytes"): {"race", "deadlock", "exited"},
    ("relay", "half_a_piece"): {"race", "deadlock", "exited"},
    ("relay", "too_many_bytes"): {"deadlock"},
    ("relay", "no_wait"): {"race", "bad use", "exited"},
    ("relay", "reads_early"): {"race"},
    ("relay", "waits_for_other_buffer"): {"race", "bad use", "exited"},
    ("relay", "wrong_parity"): {"race", "bad use", "exited", "deadlock"},
    ("relay", "misses_a_phase"): {"race"},
    ("relay", "no_warp_barrier"): {"race", "exited"},
    ("relay", "no_last_barrier"): {"exited", "race"},
    ("relay", "block_leaves"): {"exited", "race"},
    ("meet", "no_start"): {"race", "bad use"},
    ("meet", "no_arrival"): {"deadlock"},
    ("meet", "no_wait"): {"race", "uninitialised"},
}


@pytest.mark.parametrize(("name", "way"), BROKEN)
def test_broken_kernels_are_reported(name, way):
    assert set(run_all_plans(driver.load(), name, way)) <= BROKEN[name, way]


def test_asynchronous_stores_come_late_and_in_pieces():
    """In the schedules that are not in order. Without the checker only the delay shows that nobody waits; and a phase
    that expects half a piece can end only if halves come."""
    for way, checks, in_order in (("no_wait", "profile", ""), ("half_a_piece", "race", "deadlock")):
        results = defaultdict(set)
        for (schedule, *_), result in zip(PLANS, run_all_plans(driver.load(checks=checks), "relay", way), strict=True):
            results[schedule].add(result)
        assert results["forward"] == results["reverse"] == {in_order}, results
        assert all(results[schedule] - {in_order} for schedule in ("random", "burst", "starve")), results


def test_a_report_says_where():
    kernels = driver.load()
    kernels.schedule("burst", seed=3)
    x, out = torch.zeros(256), torch.zeros(256)
    report = kernels.run("reverse", area(x), area(out), way="writes_input")
    for part in ("'in' + ", "block.cu:", "thread (5,0,0)", "kernel reverse, schedule burst, seed 3"):
        assert part in report


# ---- mutations
MUTATED = ("reverse", "swap", "ring", "pull", "relay", "meet")


@pytest.mark.parametrize("name", MUTATED)
def test_every_mutation_is_noticed(name):
    kernels = driver.load()
    sites = kernels.sites(name)
    assert sites and all(site.kernel == name and ".cu" in site.place for site in sites)
    reached = 0
    for broken, mode in [(site, mode) for site in sites for mode in site.modes]:
        kernels.mutate(name, broken.number, mode)
        kernels.mutation_reached()
        try:
            results = set(run_all_plans(kernels, name))
        finally:
            kernels.mutate_none()
        if kernels.mutation_reached():  # the right way of the kernel does not come to the sites of the others
            reached += 1
            assert "" not in results, (broken, mode, results)
            if (name, broken.instruction) == ("pull", "cluster arrive"):
                assert results <= {"race", "exited", "uninitialised"}, (mode, results)
        else:
            assert results == {""}, (broken, mode, results)
    assert reached >= {"reverse": 1, "swap": 1, "ring": 12, "pull": 10, "relay": 20, "meet": 8}[name]
    assert set(run_all_plans(kernels, name)) == {""}
    with pytest.raises(ValueError):
        kernels.mutate(name, len(sites), "dropped")
    with pytest.raises(ValueError):
        kernels.mutate(name, 0, "no such mode")


# ---- numbers
MATRIX = {"product_bf16": torch.bfloat16, "product_fp16": torch.float16, "product_tf32": torch.float32}


@on_each(MATRIX)
def test_matrix_products(name, arch):
    kernels = driver.load(arch)
    x = torch.randn(24, 32).to(MATRIX[name])
    out = torch.zeros(16, 8)
    shape = dict(blocks=1, threads=32, shared=8 * 32 * x.element_size())
    expected = x[:16].double() @ x[16:].double().T
    assert kernels.run(name, area(x), area(out), **shape) == ""
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-2 if name == "product_tf32" else 1e-5)
    assert kernels.run(name, area(x), area(out), way="swapped_fragments", **shape) == ""
    assert (out - expected).abs().max() > 1
    if name == "product_tf32":
        assert "not rounded to tf32" in kernels.run(name, area(x), area(out), way="not_rounded", **shape)


def rows(name, columns, dtype, x, arch):
    out = torch.zeros(len(x), columns, dtype=dtype)
    assert driver.load(arch).run(name, area(x), area(out), blocks=len(x) // 32, threads=32) == ""
    return out


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_arithmetic_is_that_of_gxx(arch):
    integers = torch.randint(-(2**31), 2**31, (256, 3), dtype=torch.int32)
    integers[0], integers[1], integers[2] = 0, -1, 2**31 - 1
    floats = torch.randn(256, 2) * torch.tensor([1.0, 30.0])
    for name, columns, dtype, x in (("integers", 36, torch.int64, integers), ("floats", 21, torch.float64, floats)):
        got, expected = rows(name, columns, dtype, x, arch), torch.zeros(len(x), columns, dtype=dtype)
        function = getattr(driver.load(arch).library, f"expected_{name}")
        function(len(x), *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (x, expected)))
        assert (got == expected).all(), (name, (got == expected).all(0))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_functions(arch):
    x = torch.cat([torch.randn(250), torch.tensor([0.0, -0.0, 90, -110, 20, -20])])
    got, wide = rows("functions", 7, torch.float64, x, arch), x.double()
    torch.testing.assert_close(got[:, 0], x.exp().double(), rtol=3e-7, atol=1e-38)
    torch.testing.assert_close(got[:, 1], wide.tanh(), rtol=3e-7, atol=1e-38)
    torch.testing.assert_close(got[:, 2], wide.exp(), rtol=1e-15, atol=0)
    torch.testing.assert_close(got[:, 3], wide.tanh(), rtol=1e-15, atol=0)
    for column, exact, ulps in ((4, x.exp2(), 2), (5, 1 / x, 1)):  # approximate: off by so many, and no more
        off = got[:, column].float().view(torch.int32) - exact.view(torch.int32)
        assert set(off.tolist()) == set(range(-ulps, ulps + 1)), off
    to_tf32 = (x.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32)
    assert torch.equal(got[:, 6], to_tf32.double())


# ---- the driver
def test_shared_memory_must_be_asked_for():
    x, out = torch.zeros(256), torch.zeros(256)
    kernels = driver.load()

    def run(**options):
        return kernels.run("reverse", area(x), area(out), **options)

    assert run(shared=48 << 10) == ""
    assert run(shared=64 << 10) == "invalid argument"
    assert run(shared=64 << 10, opt_in=64 << 10) == ""
    assert run(shared=100 << 10) == "invalid argument"
    assert run(opt_in=228 << 10) == "invalid argument"
    kernels.device("sm_80")
    try:
        assert run(opt_in=200 << 10) == "invalid argument"
        assert run(cluster=2) == "cluster misconfiguration"
    finally:
        kernels.device("sm_90")


def test_buffers_must_be_apart():
    x = torch.zeros(256)
    assert "overlap" in driver.load().run("reverse", area(x), area(x))


def test_names_that_do_not_exist():
    assert driver.load().run("no such kernel", (0, 0), (0, 0)) == "named symbol not found"
    with pytest.raises(ValueError):
        driver.load().schedule("sideways")
    with pytest.raises(ValueError):
        driver.load().device("sm_70")


def test_profile():
    kernels = driver.load(checks="profile")
    kernels.profile()  # of earlier launches
    x, out = torch.zeros(1024), torch.zeros(32)
    assert kernels.run("strided", area(x), area(out), blocks=1, threads=32, shared=4096) == ""
    rows = [line.replace("!", "").split() for line in kernels.profile().splitlines()[1:]]
    costs = {(space, kind): (float(lanes), float(paid), float(best)) for _, lanes, paid, best, space, kind, *_ in rows}
    assert costs == {
        ("global", "load"): (32, 32, 4),
        ("global", "store"): (32, 4, 4),
        ("shared", "load"): (32, 32, 1),
        ("shared", "store"): (32, 32, 1),
    }
    assert kernels.profile() == ""


# ---- the toolchain
def test_unknown_instructions_stop_the_translation():
    known = ".visible .entry k(.param .u64 p)\n{\n.reg .b32 %r<3>;\nadd.s32 %r1, %r2, 1;\nret;\n}\n"
    assert "ptx_k" in ptx_to_cpp.translate(known)
    with pytest.raises(ptx_to_cpp.UnknownInstruction, match="warp.speed.s32 %r1, %r2"):
        ptx_to_cpp.translate(known.replace("ret;", "warp.speed.s32 %r1, %r2;"))


def test_a_kernel_is_compiled_again_when_a_header_of_a_header_changes(monkeypatch, tmp_path, compiler):
    monkeypatch.setenv("PIXELRNN_TEST_CACHE", str(tmp_path / "cache"))
    (tmp_path / "other").mkdir()
    (tmp_path / "kernel.cu").write_text('#include "first.h"\nextern "C" __global__ void k(int* a) { *a = VALUE; }\n')
    (tmp_path / "first.h").write_text("#include <second.h>\n")

    def ptx(value):
        (tmp_path / "other" / "second.h").write_text(f"#define VALUE {value}\n")
        [made] = toolchain.compiled(compiler, [tmp_path / "kernel.cu"], flags=[f"-I{tmp_path}/other"])
        return made.ptx

    assert ptx(12345) == ptx(12345)
    assert "12345" in ptx(12345).read_text() and "54321" in ptx(54321).read_text()
