from .parser import UnknownPart, elements
from .types import HALVES, TYPES, size_of, widen

TO_INTEGER = {"rni": "std::nearbyint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}


def conversion(kernel, i):
    d, a, t = i.operands[0], i.operands[1:], i.type
    if i.name == "cvta":
        value = kernel.value(a[0], "u64")
        if i.space != "shared":
            return kernel.assign(d, value, t)
        return kernel.assign(d, f"{value} {'-' if i.has_modifier('to') else '+'} (uint64_t)shared_window()", t)
    if i.name == "mov":
        return move(kernel, d, a[0], t)
    if i.name != "cvt":
        return None
    to, rounding = i.parts[-2], next((TO_INTEGER[part] for part in i.parts if part in TO_INTEGER), None)
    if i.has_modifier("relu"):
        raise UnknownPart("relu")
    if to == "tf32":
        if not i.has_modifier("rna"):
            raise UnknownPart("rounding")
        return kernel.assign(d, f"round_to_tf32({kernel.value(a[0], 'f32')})", to)
    narrow = "to_bf16" if to.startswith("bf16") else "to_fp16"
    if to in ("f16x2", "bf16x2") and t == "f32":
        high, low = kernel.values(i, t, t)
        return kernel.assign(d, f"(uint32_t){narrow}({high}) << 16 | {narrow}({low})", to)
    if to.endswith("x2") or t.endswith("x2"):
        raise UnknownPart("pairs")
    value = widen(kernel.value(a[0], t), t) if t in HALVES else kernel.value(a[0], t)
    floating = t in HALVES or t[0] == "f"
    if to in HALVES:
        return kernel.assign(d, f"{narrow}({value})" if t == "f32" or t in HALVES else f"{narrow}((double){value})", to)
    if floating and to[0] in "us":
        return kernel.assign(d, f"saturate<{TYPES[to]}>({rounding}({value}))", to)
    if rounding:
        value = f"{rounding}({value})"
    if i.has_modifier("sat"):
        value = f"std::fmin(std::fmax({value}, 0), 1)"
    return kernel.assign(d, f"({TYPES[to]})({value})", to)


def move(kernel, d, a, t):
    size = size_of(t) if t != "pred" else 0
    if d.startswith("{"):
        bits = 8 * size // len(elements(d))
        parts = kernel.assign_all(d, f"word >> ({bits} * {{}})", f"u{bits}")
        return f"{{ const uint64_t word = {kernel.value(a, f'b{8 * size}')}; {parts} }}"
    if a.startswith("{"):
        bits = 8 * size // len(elements(a))
        word = " | ".join(f"(uint64_t){kernel.value(x, f'u{bits}')} << {bits * k}" for k, x in enumerate(elements(a)))
        return kernel.assign(d, word, f"u{8 * size}")
    return kernel.assign(d, kernel.value(a, t), t)
