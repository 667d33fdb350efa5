import pytest

from helpers import nvrtc
from helpers.kernels import every_kernel
from helpers.root import ROOT
from kernel_costs import cost_table
from sass_model import flow, model, sass, table
from sass_model.sass import NO_SCOREBOARD, Instruction, Kernel, parse


def row(opcode, *, label=None, stall=1, write=NO_SCOREBOARD, wait=0, target=None, predicate=""):
    return label, Instruction(predicate, opcode, opcode, stall, write, NO_SCOREBOARD, wait, target)


def kernel(*rows):
    """Returns a Kernel of ``rows`` (label, instruction), with source lines a.cu:1, a.cu:2, and so on."""
    made = Kernel("made up")
    for n, (label, instruction) in enumerate(rows):
        if label:
            made.labels[label] = n
        instruction.positions = (("a.cu", n + 1),)
        made.code.append(instruction)
    return made


def loop(*body):
    return kernel(
        row("MOV"),
        row("NOP", label="top"),
        *body,
        row("BAR.SYNC", stall=5),
        row("BRA", stall=5, target="top", predicate="P0"),
        row("EXIT", label="end"),
    )


def cycles(*body, **options):
    return model.walk(loop(*body), **options).cycles


EMPTY = cycles()


def test_stall_counts_and_scoreboards_are_waited_for():
    assert cycles(row("FADD", stall=4)) == EMPTY + 4
    assert cycles(row("MUFU.EX2", write=0), row("FADD", wait=1)) == EMPTY + model.LATENCY["MUFU"] + 1


def test_warps_share_issue_slots_and_pipes():
    mufus = [row("MUFU.EX2") for _ in range(10)]
    assert 80 <= cycles(*mufus) < 160 <= cycles(*mufus, warps=2) <= 2 * cycles(*mufus)
    plain = [row("MOV") for _ in range(100)]
    assert 400 <= cycles(*plain, warps=4) <= 4 * cycles(*plain)


def test_barriers_are_waited_for():
    assert cycles(row("BAR.SYNC")) == EMPTY + 1 + model.BLOCK_BARRIER - 1
    assert cycles(row("MEMBAR.ALL.GPU")) == EMPTY + 1 + model.FENCE
    assert cycles(row("UCGABAR_ARV"), row("UCGABAR_WAIT")) > EMPTY + model.CLUSTER_BARRIER
    # All blocks store in the same cycle, so others' stores arrive together with this block's store.
    push, arrive, wait = row("STAS"), row("SYNCS.ARRIVE.TRANS64"), row("SYNCS.PHASECHK.TRANS64.TRYWAIT")
    assert cycles(push, arrive, wait) > EMPTY + model.TRANSFER
    # A wait at an mbarrier waits only for the stores that the warp issued before its arrival at the mbarrier.
    work = [row("MOV", stall=3) for _ in range(model.TRANSFER // 2)]
    assert cycles(arrive, *work, push, wait) < EMPTY + 3 * len(work) + 50
    with pytest.raises(flow.FlowError, match="all warps wait at a barrier"):
        cycles(row("UCGABAR_WAIT"))
    with pytest.raises(flow.FlowError, match="waits at an mbarrier, and arrives at none"):
        cycles(push, wait)


def test_a_warp_stays_in_the_loop_and_goes_round_slow_paths():
    leaves = loop(row("BRA", target="end", predicate="P1"))
    slow = loop(row("BRA", target="join", predicate="P1"), row("CALL.REL"), row("NOP", label="join"))
    assert flow.Path(leaves).ways[2] == [False] and flow.Path(slow).ways[2] == [True]


def test_rules_decide_the_other_branches():
    guarded = loop(row("BRA", target="join", predicate="P1"), row("FADD", stall=9), row("NOP", label="join"))
    skipped = model.walk(guarded, rules=[flow.Rule("a.cu:3")])
    assert skipped.cycles == model.walk(guarded).cycles - 9 + model.BRANCH
    assert model.walk(guarded, rules=[flow.Rule("a.cu:3", first=2)]).cycles == model.walk(guarded).cycles
    with pytest.raises(flow.FlowError, match="no branch of the loop comes from 'b.cu'"):
        model.walk(guarded, rules=[flow.Rule("b.cu")])


def test_an_inner_loop_runs_as_often_as_a_rule_says():
    inner = loop(row("FADD", label="again", stall=10), row("BRA", target="again", predicate="P1"))
    once, again = model.walk(inner), model.walk(inner, rules=[flow.Rule("a.cu:4", 3)])
    assert again.cycles == once.cycles + 2 * (10 + 1 + model.BRANCH)


def test_facts_are_those_of_the_loop():
    division = row("BSSY", target="join"), row("CALL.REL"), row("BSYNC", label="join")
    found = flow.facts(
        loop(row("MEMBAR.ALL.GPU"), row("CCTL.IVALL"), row("LDL"), row("STL"), row("I2F.RP"), row("F2I.U32"), *division)
    )
    assert set(found.values()) == {1, 2} and found["local memory"] == 2
    assert set(flow.facts(loop(row("MEMBAR.ALL.CTA"), row("I2F.RP"))).values()) == {0}
    before = loop()
    before.code[0].opcode = "MEMBAR.ALL.GPU"
    assert set(flow.facts(before).values()) == {0}


def test_a_listing_is_read():
    text = """
.text.k:
	//## File "/a/b.cu", line 7 inlined at "/a/c.cu", line 9
	//## File "/a/c.cu", line 9
        /*0000*/              @!P0 MUFU.EX2 R4, R5 ;            /* 0x0000000500047308 */
                                                                /* 0x000e220000000800 */
.L_x_1:
	//## File "/a/c.cu", line 11
        /*0010*/              @P1 BRA `(.L_x_1) ;               /* 0xfffffffc00f01947 */
                                                                /* 0x001fea000383ffff */
"""
    code = parse(text.splitlines())["k"].code
    assert [(i.opcode, i.predicate, i.stall, i.write, i.read, i.wait) for i in code] == [
        ("MUFU.EX2", "!P0", 1, 0, 7, 0),
        ("BRA", "P1", 5, 7, 7, 1),
    ]
    assert [i.positions for i in code] == [(("/a/b.cu", 7), ("/a/c.cu", 9)), (("/a/c.cu", 11),)]
    assert parse(text.splitlines())["k"].successors(1) == [1]


def test_a_table_is_read_as_it_was_written(tmp_path):
    cost = cost_table.Cost
    columns = tuple(cost(100 * w, 10 * w, w) for w in cost_table.WARPS)
    table = cost_table.Table(
        "a model, NVRTC 12.9.86",
        (cost_table.Row("k1", (1, 2, 3, 4), columns), cost_table.Row("k2", (5, 6, 7, 8), columns)),
    )
    cost_table.write(table, tmp_path / "costs.h")
    assert cost_table.read(tmp_path / "costs.h") == table
    assert cost_table.text(cost_table.read()) == cost_table.PATH.read_text()
    # The two measured costs of kernel k1 are on average 1.25 times the modelled costs. The factor 1.25 scales all costs
    # that were not measured.
    scaled = table.scaled("CARD", {("k1", 2): (300, 200), ("k1", 4): (400, 400)})
    assert scaled.source == "measurements on CARD"
    assert [c.line for c in scaled.rows[0].costs] == [125, 300, 400, 1000]
    assert scaled.rows[1].costs == tuple(c.times(1.25) for c in columns)


# (kernel, warps on a scheduler, tiles of a warp, cells of a thread, largest allowed cycles of a line)
REACHED = [
    ("forward_bf16_2_1_256_single", 2, 1, 0, 647),  # MNIST, 16 hidden units
    ("forward_tf32_2_1_256_single", 2, 1, 0, 600),
    ("backward_bf16_4_4_256_single", 1, 1, 0, 545),
    # The layout in segments costs the clusters here up to 0.9 %, within the 2 % that were accepted for eight times
    # fewer segments.
    ("forward_bf16_4_1_256_cluster", 1, 1, 0, 743),  # 28 x 28 pixels, 64 hidden units, 8 blocks
    ("forward_bf16_8_4_256_cluster", 2, 1, 0, 1101),  # CIFAR, 128 hidden units, 8 blocks
    ("forward_tf32_8s_1_256_cluster", 2, 1, 0, 1547),
    ("forward_bf16_8_1_256_images", 2, 1, 0, 2374),
    ("backward_bf16_4_1_512_cluster", 4, 1, 0, 1294),
    ("backward_bf16_20s_0_256_single", 2, 4, 8, 8898),  # CIFAR, 128 hidden units, 1 block
]


@pytest.mark.parametrize(("kernel", "warps", "tiles", "cells", "reached"), REACHED)
def test_no_line_takes_longer_than_it_did(kernel, warps, tiles, cells, reached):
    table = cost_table.read()
    if not table.source.startswith("a model"):
        pytest.skip("the bounds are for modelled cycles, and costs.h has measured ones")
    costs = next(row.costs for row in table.rows if row.kernel == kernel)
    cost = costs[cost_table.WARPS.index(warps)]
    assert cost.line + tiles * cost.tile + cells * cost.cell <= reached


# {(costly operation, part of a kernel's name): why such a kernel may have the operation}
ALLOWED = {
    **dict.fromkeys(
        (("invalidation of L1", "_cluster"), ("invalidation of L1", "_images")),
        "a wait for stores of peers is acquire.cluster, as the memory model requires",
    ),
    ("divergent region", ""): "one lane waits for its warp, some lanes store to peers: see DIVERGENT",
}

# The largest number of divergent regions that a kernel may have in its loop over lines. The dictionary is {(pass,
# gates, kind of launch): {n: (number on tensor cores, number in fp32)}}. n is the number of tiles of a warp in a
# forward kernel, or the number of hidden units of a thread in a backward kernel.
DIVERGENT = {
    ("backward", 4, "cluster"): {0: (5, 6), 1: (2, 0), 2: (3, 0), 4: (3, 0)},
    ("backward", 4, "single"): {0: (4, 4), 4: (1, 0)},
    ("backward", 5, "cluster"): {0: (5, 6)},
    ("backward", 5, "single"): {0: (3, 4), 4: (4, 0)},
    ("forward", 4, "cluster"): {1: (2, 7), 2: (3, 0), 4: (19, 27)},
    ("forward", 4, "images"): {1: (4, 0)},
    ("forward", 4, "single"): {1: (0, 0), 2: (0, 0), 4: (13, 12)},
    ("forward", 5, "cluster"): {1: (6, 8), 4: (19, 37)},
    ("forward", 5, "single"): {1: (3, 4), 4: (17, 24)},
}


def kernel_of(source, name):
    [made] = nvrtc.compile_kernels([ROOT / source])
    return sass.kernels(made.cubin)[name]


@pytest.mark.emulated
@pytest.mark.xdist_group("the model's compiler")
def test_no_line_holds_what_it_should_do_without():
    found, pinned = {}, sass.version() == sass.PINNED
    for kernel in every_kernel():
        source = f"csrc/cuda/resident{'5' * (kernel.gates == 5)}_{kernel.format}.cu"
        facts, one_pass = flow.facts(kernel_of(source, kernel.name)), "backward" if kernel.backward else "forward"
        most = DIVERGENT[one_pass, kernel.gates, kernel.kind][kernel.tiles_or_units][kernel.format == "fp32"]
        assert not pinned or facts["divergent region"] <= most, kernel.name
        for fact, count in facts.items():
            if count and not any(fact == allowed and part in kernel.name for allowed, part in ALLOWED):
                found[kernel.name, fact] = count
    assert found == {}


@pytest.mark.emulated
@pytest.mark.xdist_group("the model's compiler")
def test_the_committed_table_is_what_the_model_writes():
    """Checks that the table of costs in csrc/cuda/costs.h is the table that the model writes.

    If the costs were measured on a GPU, they differ from the model's costs. Then the test compares only the names and
    the registers of the kernels.
    """
    if sass.version() != sass.PINNED:
        pytest.skip(f"the table is for NVRTC {sass.PINNED}, this is {sass.version()}")
    committed, modelled = cost_table.read(), table.modelled()
    if committed.source.startswith("a model"):
        assert cost_table.text(committed) == cost_table.text(modelled), "expected csrc/cuda/costs.h: run `make kernels`"
    else:
        assert [row[:2] for row in committed.rows] == [row[:2] for row in modelled.rows]


@pytest.mark.emulated
@pytest.mark.xdist_group("the model's compiler")
def test_the_first_generation_fails():
    first = kernel_of("tests/sass_model/first_generation.cu", "first_generation")
    assert {fact for fact, count in flow.facts(first).items() if count == 0} == set()
    now = next(row for row in cost_table.read().rows if row.kernel == "forward_bf16_4_1_256_cluster")
    assert model.walk(first).cycles > 2 * now.costs[0].line
