from collections import defaultdict

import pytest
import torch

from . import ptx_to_cpp, toolchain
from .control import SCHEDULES
from .self_test import driver

pytestmark = pytest.mark.emulated


@pytest.fixture(autouse=True)
def compiler(cuda_compiler):
    driver.compiler = cuda_compiler
    return cuda_compiler


# (schedule, seed, preemption). With odd seeds the race checker switches threads after 5 memory accesses on average.
PLANS = [
    (name, seed, 5 * (seed % 2)) for name in SCHEDULES for seed in range(1, 3 if name in ("forward", "reverse") else 6)
]
ARCHITECTURES = ("sm_80", "sm_90")
# Kernels for compute capability 9.0: (blocks of a cluster, bytes of a block's shared memory).
CLUSTER_KERNELS = {
    "relay": (2, 544), "pipeline": (2, 120), "handshake": (2, 288),
}  # fmt: skip


def on_each(names):
    cases = [(name, arch) for name in names for arch in ARCHITECTURES if arch == "sm_90" or name not in CLUSTER_KERNELS]
    return pytest.mark.parametrize(("name", "arch"), cases)


def by_row(x):
    return x.view(-1, 64)


EXPECTED = {
    "reverse": lambda x: by_row(x).flip(1),
    "swap": lambda x: x.view(-1, 32, 2).flip(2),
    "broadcast": lambda x: (2 * by_row(x)[:, :1] + 1).expand(-1, 64),
    "sum": lambda x: x.view(-1, 32, 1).sum(1, keepdim=True).expand(-1, 32, 1),
    "agree": lambda x: x.view(-1, 32) + 256 - x.view(-1, 32)[:, :1],
    "handshake": lambda x: x.view(-1, 2, 64).flip(1),
    "relay": lambda x: x.view(-1, 2, 64).flip(1) + 5,
    "pipeline": lambda x: x.view(-1, 8, 8).sum(1, keepdim=True).expand(-1, 8, 8),
}
WRONG = "wrong numbers"


def run_all_plans(kernels, name, way="right"):
    """Runs a kernel with each of PLANS. Yields "" for success, WRONG for wrong numbers, or the kind of a reported
    error."""
    # Row 1 separates the input from the output, so that an access beyond the input misses the output.
    memory = torch.zeros(3, 256)
    x, out = memory[0].copy_(torch.arange(256)), memory[2]
    cluster, shared = CLUSTER_KERNELS.get(name, (0, 256))
    for plan in PLANS:
        kernels.set_schedule(*plan)
        out.zero_()
        report = kernels.run(name, x, out, way=way, cluster=cluster, shared=shared)
        if report:
            yield report.split(": ")[1]
        else:
            yield "" if torch.equal(out, EXPECTED[name](x).reshape(-1)) else WRONG


@on_each(EXPECTED)
def test_right_kernels_are_silent(name, arch):
    assert set(run_all_plans(driver.load(arch), name)) == {""}


# (kernel, errors that the emulator may report, ways in kernels.h to break the kernel).
BROKEN = [
    ("reverse", "race, uninitialised", "no_block_barrier"),
    ("reverse", "divergence", "lane_leaves lanes_diverge collective_against_barrier"),
    ("reverse", "out of bounds", "beyond_global beyond_shared"),
    ("reverse", "bad use", "misaligned writes_input read_only_load_of_output"),
    ("reverse", "uninitialised", "reads_unwritten_shared reads_unwritten_out"),
    ("reverse", "unwritten", "leaves_out_unwritten"),
    ("swap", "race, uninitialised", "no_warp_barrier vote_instead_of_warp_barrier"),
    ("broadcast", "race", "no_block_barrier"),
    ("sum", "divergence", "absent_lanes lane_outside_mask"),
    ("agree", "divergence", "absent_lanes"),
    ("relay", "race, bad use", "no_start"),
    ("relay", "race", "no_fence reads_early misses_a_phase reads_global_store overwrites_shared_store reads_back"),
    ("relay", "bad use", "not_initialised initialised_twice misaligned_barrier writes_barrier counts_none"),
    ("relay", "bad use", "rank_outside barrier_elsewhere"),
    ("relay", "divergence", "cluster_lanes_diverge"),
    ("relay", "deadlock", "deadlocks"),
    ("relay", "deadlock", "counts_more no_arrival too_many_bytes"),
    ("relay", "race, deadlock, exited", "wrong_peer too_few_bytes half_a_piece"),
    ("relay", "race, deadlock, bad use", "arrives_twice"),
    ("relay", "race, exited, bad use", "no_wait waits_for_other_buffer"),
    ("relay", "race, deadlock, exited, bad use", "wrong_parity"),
    ("relay", "race, exited", "no_warp_barrier no_last_barrier block_leaves"),
    ("pipeline", "race", "no_fence writes_stage writes_source overwrites_source loads_output"),
    ("pipeline", "uninitialised", "reads_unwritten_out"),
    ("pipeline", "out of bounds", "beyond_global"),
    ("pipeline", "bad use", "misaligned half_a_piece wrong_peer barrier_elsewhere loads_shared_memory"),
    ("pipeline", "exited", "block_leaves"),
    ("pipeline", "deadlock", "too_many_bytes"),
    ("pipeline", "race, deadlock", "no_block_barrier"),
    ("pipeline", "race, uninitialised", "no_wait too_few_bytes"),
    ("pipeline", "race, deadlock, uninitialised", "wrong_parity"),
    ("handshake", "race, bad use", "no_start"),
    ("handshake", "race", "no_fence writes_after_arrival"),
    ("handshake", "deadlock", "no_arrival counts_more"),
    ("handshake", "race, uninitialised", "no_wait"),
    ("handshake", "bad use, race, exited, uninitialised", "wrong_peer"),
    ("handshake", "exited", "block_leaves"),
    ("handshake", "bad use", "plain_access_to_peer"),
]
WAYS = {(name, way): set(kinds.split(", ")) for name, kinds, ways in BROKEN for way in ways.split()}


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_broken_kernels_are_reported(name, way):
    assert set(run_all_plans(driver.load(), name, way)) <= WAYS[name, way]


def test_asynchronous_stores_come_late_and_in_pieces():
    """Asynchronous stores arrive late and in parts, except in the schedules forward and reverse.

    In the variant `no_wait`, the kernel does not wait for stores. The race checker would report this error, so the test
    runs this variant without the race checker.

    In the variant `half_a_piece`, the kernel tells its mbarrier to expect the bytes of 15.5 stores. No number of whole
    stores has this number of bytes, so a phase of the mbarrier can end only if a store arrives in parts.
    """
    for way, checks, in_order in (("no_wait", "profile", ""), ("half_a_piece", "race", "deadlock")):
        results = defaultdict(set)
        for (schedule, *_), result in zip(PLANS, run_all_plans(driver.load(checks=checks), "relay", way), strict=True):
            results[schedule].add(result)
        assert results["forward"] == results["reverse"] == {in_order}, results
        assert all(results[schedule] - {in_order} for schedule in ("random", "burst", "starve")), results


def test_a_report_says_where():
    kernels = driver.load()
    kernels.set_schedule("burst", seed=3)
    x, out = torch.zeros(256), torch.zeros(256)
    report = kernels.run("reverse", x, out, way="writes_input")
    for part in ("'in' + ", "block.cu:", "thread (5,0,0)", "kernel reverse, schedule burst, seed 3"):
        assert part in report


MATRIX = {"product_bf16": torch.bfloat16, "product_fp16": torch.float16, "product_tf32": torch.float32}


@on_each(MATRIX)
def test_matrix_products(name, arch):
    kernels = driver.load(arch)
    x = torch.randn(24, 32).to(MATRIX[name])
    out = torch.zeros(16, 8)
    shape = dict(blocks=1, threads=32, shared=8 * 32 * x.element_size())
    expected = x[:16].double() @ x[16:].double().T
    assert kernels.run(name, x, out, **shape) == ""
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-2 if name == "product_tf32" else 1e-5)
    assert kernels.run(name, x, out, way="swapped_fragments", **shape) == ""
    assert (out - expected).abs().max() > 1
    if name == "product_tf32":
        assert "not rounded to tf32" in kernels.run(name, x, out, way="not_rounded", **shape)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_functions(arch):
    x = torch.cat([torch.randn(250), torch.tensor([0.0, -0.0, 90, -110, 20, -20])])
    got, wide = torch.zeros(len(x), 7, dtype=torch.float64), x.double()
    assert driver.load(arch).run("functions", x, got, blocks=len(x) // 32, threads=32) == ""
    torch.testing.assert_close(got[:, 0], x.exp().double(), rtol=3e-7, atol=1e-38)
    torch.testing.assert_close(got[:, 1], wide.tanh(), rtol=3e-7, atol=1e-38)
    torch.testing.assert_close(got[:, 2], wide.exp(), rtol=1e-15, atol=0)
    torch.testing.assert_close(got[:, 3], wide.tanh(), rtol=1e-15, atol=0)
    for column, exact, ulps in ((4, x.exp2(), 2), (5, 1 / x, 1)):
        off = got[:, column].float().view(torch.int32) - exact.view(torch.int32)
        assert set(off.tolist()) == set(range(-ulps, ulps + 1)), off
    to_tf32 = (x.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32)
    assert torch.equal(got[:, 6], to_tf32.double())


def test_shared_memory_must_be_asked_for():
    x, out = torch.zeros(256), torch.zeros(256)
    kernels = driver.load()

    def run(**options):
        return kernels.run("reverse", x, out, **options)

    assert run(shared=48 << 10) == ""
    refusal = "invalid argument: expected at most {} bytes of dynamic shared memory, got {}"
    assert run(shared=64 << 10) == refusal.format(48 << 10, 64 << 10)
    assert run(shared=64 << 10, opt_in=64 << 10) == ""
    assert run(shared=100 << 10) == refusal.format(48 << 10, 100 << 10)
    assert run(opt_in=228 << 10) == refusal.format(227 << 10, 228 << 10)
    kernels.set_device("sm_80")
    try:
        assert run(opt_in=200 << 10) == refusal.format(163 << 10, 200 << 10)
        assert run(cluster=2) == "cluster misconfiguration"
    finally:
        kernels.set_device("sm_90")


def test_buffers_must_be_apart():
    x = torch.zeros(256)
    assert "overlap" in driver.load().run("reverse", x, x)


def test_names_that_do_not_exist():
    assert driver.load().run("no such kernel", torch.zeros(1), torch.zeros(1)) == "named symbol not found"
    with pytest.raises(ValueError):
        driver.load().set_schedule("sideways")
    with pytest.raises(ValueError):
        driver.load().set_device("sm_70")


def test_profile():
    kernels = driver.load(checks="profile")
    kernels.profile()  # clears earlier counts
    x, out = torch.zeros(1024), torch.zeros(32)
    assert kernels.run("strided", x, out, blocks=1, threads=32, shared=4096) == ""
    costs = {(c.space, c.kind): (c.accesses, c.lanes, c.paid, c.ideal) for c in kernels.profile()}
    assert costs == {
        ("global", "load"): (1, 32, 32, 4),
        ("global", "store"): (1, 32, 4, 4),
        ("shared", "load"): (1, 32, 32, 1),
        ("shared", "store"): (1, 32, 32, 1),
    }
    assert kernels.profile() == []
    assert kernels.run("relay", torch.zeros(256), torch.zeros(256), cluster=2, shared=544) == ""
    pushes = [(c.lanes, c.paid, c.ideal) for c in kernels.profile() if c.space == "peer"]
    # 2 warps of 4 blocks store 128 bytes 5 times. The memory has only the alignment that the kernel declares, 16 bytes,
    # so that each store touches two segments.
    assert pushes == [(4 * 5 * 16, 2 * 4 * 5 * 2, 4 * 5 * 2)]


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
        [made] = toolchain.compile_kernels(compiler, [tmp_path / "kernel.cu"], flags=[f"-I{tmp_path}/other"])
        return made.ptx

    assert ptx(12345) == ptx(12345)
    assert "12345" in ptx(12345).read_text() and "54321" in ptx(54321).read_text()
