import re

from .parser import UnknownPart, elements
from .types import TYPES


def control(kernel, i):
    if i.op in ("bra", "bra.uni"):
        return f"goto {kernel.label(i.operands[0])};"
    if i.op in ("ret", "exit"):
        return "return;"
    if i.op == "trap":
        return f'fail(Kind::bad_use, "trap at " {kernel.place()});'


def synchronisation(kernel, i):
    place = kernel.place()
    aligned = "true" if i.has_modifier("aligned") or i.op == "bar.sync" else "false"
    if re.fullmatch(r"bar\.sync|barrier(\.cta)?\.sync(\.aligned)?", i.op):
        if i.operands != ["0"]:
            raise UnknownPart("a barrier of part of the block")
        return f"if (!{kernel.site('block barrier', 'dropped')}) block_barrier({aligned}, {place});"
    if i.op == "bar.warp.sync":
        mask = kernel.value(i.operands[0], "b32")
        return f"if (!{kernel.site('warp barrier', 'dropped')}) warp_barrier({mask}, {place});"
    if re.fullmatch(r"barrier\.cluster\.arrive(\.release|\.relaxed)?(\.aligned)?", i.op):
        release = "false" if i.has_modifier("relaxed") else "true"
        site = kernel.site("cluster arrive", "dropped relaxed block_barrier")
        return f"arrive({site}, {release}, {aligned}, {place});"
    if re.fullmatch(r"barrier\.cluster\.wait(\.acquire)?(\.aligned)?", i.op):
        return f"if (!{kernel.site('cluster wait', 'dropped')}) cluster_wait({aligned}, {place});"
    if i.op == "mbarrier.init.shared::cta.b64":
        site = kernel.site("mbarrier init", "dropped less more")
        address, arrivals = kernel.shared_address(i.operands[0]), kernel.value(i.operands[1], "u32")
        return f"init_mbarrier({site}, {address}, {arrivals}, {place});"
    if i.op == "fence.acq_rel.gpu":
        # The translation of a fence does nothing, because the race checker orders memory accesses by barriers alone.
        return ";"
    if i.op == "fence.mbarrier_init.release.cluster":
        return f"if (!{kernel.site('mbarrier fence', 'dropped')}) mbarrier_fence();"
    if i.op == "mbarrier.arrive.release.cluster.shared::cluster.b64":
        site = kernel.site("mbarrier arrive", "dropped other")
        return f"arrive_at_peer({site}, {kernel.shared_address(i.operands[1])}, {place});"
    if i.op == "mbarrier.arrive.expect_tx.shared::cta.b64":
        site = kernel.site("mbarrier arrive", "dropped other less more")
        address, announced = kernel.shared_address(i.operands[1]), kernel.value(i.operands[2], "u32")
        return f"arrive_at_mbarrier({site}, {address}, {announced}, {place});"
    if m := re.fullmatch(r"mbarrier\.try_wait\.parity\.acquire\.(cluster|cta)\.shared::cta\.b64", i.op):
        modes = "dropped other parity" + " block_scope" * (m[1] == "cluster")
        site, parity = kernel.site("mbarrier wait", modes), kernel.value(i.operands[2], "u32")
        scope = f"Scope::{'cluster' if m[1] == 'cluster' else 'block'}"
        call = f"wait_for_mbarrier({site}, {kernel.shared_address(i.operands[1])}, {parity}, {scope}, {place})"
        return kernel.assign(i.operands[0], call, "pred")
    if re.fullmatch(r"st\.async\.shared::cluster\.mbarrier::complete_tx::bytes\.(v4\.b32|b32|b64)", i.op):
        data = ", ".join(kernel.value(x, i.type) for x in elements(i.operands[1]))
        to, barrier = kernel.shared_address(i.operands[0]), kernel.shared_address(i.operands[2])
        site = kernel.site("store to a peer", "dropped other")
        return f"{{ const {TYPES[i.type]} d[] = {{{data}}}; store_to_peer({site}, {to}, d, {barrier}, {place}); }}"
    if i.op == "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes":
        to, barrier = kernel.shared_address(i.operands[0]), kernel.shared_address(i.operands[3])
        source, size = kernel.pointer(i.operands[1]), kernel.value(i.operands[2], "u32")
        site = kernel.site("bulk load", "dropped other")
        return f"load_in_bulk({site}, {to}, (const Byte*)({source}), {size}, {barrier}, {place});"
    if i.op == "mapa.shared::cluster.u32":
        site, (address, rank) = kernel.site("peer address", "rank_0 rank_outside"), kernel.values(i, "u32", "u32")
        return kernel.assign(i.operands[0], f"map({site}, {address}, {rank})", "u32")


def warp(kernel, i):
    place = kernel.place()
    if i.op.startswith("shfl.sync.") and i.type == "b32":
        mode = {"idx": "index", "up": "up", "down": "down", "bfly": "butterfly"}[i.parts[2]]
        result, _, in_range = i.operands[0].partition("|")
        value, by, clamp, mask = kernel.values(i, "b32", "b32", "b32", "b32")
        call = f"shuffle(Shuffle::{mode}, {value}, {by}, {clamp}, {mask}, &in_range, {place})"
        store = f"{kernel.assign(result, call, 'b32')} {kernel.assign(in_range or '_', 'in_range', 'pred')}"
        return f"{{ bool in_range; {store} }}"
    if i.op == "vote.sync.all.pred":
        mine, mask = kernel.values(i, "pred", "b32")
        return kernel.assign(i.operands[0], f"vote_all({mine}, {mask}, {place})", "pred")
    if m := re.fullmatch(r"ldmatrix\.sync\.aligned\.m8n8\.x([24])\.shared(::cta)?\.b16", i.op):
        call = f"load_matrices({m[1]}, d, {kernel.address(i.operands[1], i)}, {place});"
        return f"{{ uint32_t d[4]; {call} {kernel.assign_all(i.operands[0], 'd[{}]', 'b32')} }}"
    m = re.fullmatch(r"mma\.sync\.aligned\.(m16n8k16|m16n8k8)\.row\.col\.f32\.(bf16|f16|tf32)\.\2\.f32", i.op)
    if m and (m[1] == "m16n8k8") == (m[2] == "tf32"):
        types = zip(i.operands[1:], ("b32", "b32", "f32"), strict=True)
        a, b, c = [", ".join(kernel.value(x, t) for x in elements(operand)) for operand, t in types]
        declare = f"float d[4]; const uint32_t a[4] = {{{a}}}, b[2] = {{{b}}}; const float c[4] = {{{c}}};"
        matrix = {"bf16": "bf16", "f16": "fp16", "tf32": "tf32"}[m[2]]
        call = f"multiply_matrices(MatrixFormat::{matrix}, d, a, b, c, {place});"
        return f"{{ {declare} {call} {kernel.assign_all(i.operands[0], 'd[{}]', 'f32')} }}"
