"""Numbers, bits, predicates and comparisons."""

from .types import HALVES, TYPES, half_format, size_of, unsigned, widen

INFIX = {"add": "+", "sub": "-", "and": "&", "or": "|", "xor": "^", "mul": "*", "div": "/", "rem": "%"}
COMPARISONS = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "lo": "<",
    "ls": "<=",
    "hi": ">",
    "hs": ">=",
}
FUNCTIONS = {
    "ex2": "std::exp2",
    "lg2": "std::log2",
    "sqrt": "std::sqrt",
    "tanh": "std::tanh",
    "rcp": "1 / ",
    "rsqrt": "1 / std::sqrt",
}
APPROXIMATIONS = {"ex2.approx.ftz.f32": "exp2_approx", "rcp.approx.ftz.f32": "reciprocal_approx"}
HALF_OPERATIONS = {
    "add": "[](double a, double b) { return a + b; }",
    "sub": "[](double a, double b) { return a - b; }",
    "mul": "[](double a, double b) { return a * b; }",
    "min": "[](double a, double b) { return std::fmin(a, b); }",
    "max": "[](double a, double b) { return std::fmax(a, b); }",
    "fma": "[](double a, double b, double c) { return a * b + c; }",
}


def arithmetic(kernel, i):
    if i.name == "setp":
        return compare(kernel, i)
    result = t = i.type
    if i.has("wide"):
        result = t[0] + str(2 * int(t[1:]))
    of_type = half_arithmetic if t in HALVES else float_arithmetic if t[0] == "f" else word_arithmetic
    expression = of_type(kernel, i, t)
    if expression is None or i.has("sat") or i.has("relu"):
        return None
    return kernel.assign(i.operands[0], expression, result)


def compare(kernel, i):
    comparison, t = i.parts[1], i.type
    x, y = (kernel.value(operand, t) for operand in i.operands[1:3])
    if t in ("f16", "bf16"):
        x, y, t = widen(x, t), widen(y, t), "f32"
    ordered = f"({x} == {x} && {y} == {y})"
    if comparison in ("num", "nan"):
        result = ordered if comparison == "num" else "!" + ordered
    elif t[0] == "f" and comparison == "ne":
        result = f"({ordered} && {x} != {y})"
    elif t[0] == "f" and comparison.endswith("u"):
        result = f"(!{ordered} || {x} {COMPARISONS[comparison[:-1]]} {y})"
    else:
        result = f"({x} {COMPARISONS[comparison]} {y})"
    if combine := next((part for part in i.parts[2:] if part in ("and", "or", "xor")), None):
        result = f"bool({result} {INFIX[combine]} {kernel.value(i.operands[3], 'pred')})"
    positive, _, negative = i.operands[0].partition("|")
    if negative:
        both = kernel.assign(positive, "result", "pred") + " " + kernel.assign(negative, "!result", "pred")
        return f"{{ const bool result = {result}; {both} }}"
    return kernel.assign(positive, result, "pred")


def select(kernel, i, t):
    x, y, predicate = kernel.values(i, t, t, "pred")
    return f"({predicate} ? {x} : {y})"


def half_arithmetic(kernel, i, t):
    operation = HALF_OPERATIONS.get(i.name)
    if i.name in FUNCTIONS:
        operation = f"[](double a) {{ return {FUNCTIONS[i.name]}(a); }}"
    if operation:
        return f"half<{half_format(t)}>({operation}, {', '.join(kernel.value(x, t) for x in i.operands[1:])})"
    if i.name in ("neg", "abs"):
        signs = "0x80008000u" if t.endswith("x2") else "0x8000"
        return f"{kernel.value(i.operands[1], t)} {'^' if i.name == 'neg' else '& ~'}{signs}"


def float_arithmetic(kernel, i, t):
    c, values = TYPES[t], [kernel.value(x, t) for x in i.operands[1:]] if i.name != "selp" else []
    if i.name in ("add", "sub", "mul", "div"):
        return f"{values[0]} {INFIX[i.name]} {values[1]}"
    if i.name in ("min", "max", "fma") and not i.has("NaN", "xorsign"):
        return f"std::f{i.name.removeprefix('f')}({', '.join(values)})"
    if i.op in APPROXIMATIONS:
        return f"{APPROXIMATIONS[i.op]}({values[0]})"
    if i.name in FUNCTIONS:
        return f"({c}){FUNCTIONS[i.name]}({values[0]})"
    if i.name == "selp":
        return select(kernel, i, t)
    if i.name == "copysign":
        return f"std::copysign({values[1]}, {values[0]})"
    return {"neg": f"-{values[0]}", "abs": f"std::fabs({values[0]})"}.get(i.name)


def word_arithmetic(kernel, i, t):
    """Integers, bits and predicates. Signed arithmetic wraps, so it is done in unsigned words."""
    c, operands = TYPES[t], i.operands[1:]
    if t == "pred":
        values = [kernel.value(x, t) for x in operands]
        return f"!{values[0]}" if i.name == "not" else f"bool({values[0]} {INFIX[i.name]} {values[1]})"
    bits = 8 * size_of(t)
    if i.name in ("mul", "mad") and i.has("wide", "hi"):
        wide = {32: "int64_t", 64: "__int128", 16: "int32_t"}[bits]
        wide = wide if t[0] == "s" else "unsigned __int128" if bits == 64 else "u" + wide
        product = f"({wide}){kernel.value(operands[0], t)} * ({wide}){kernel.value(operands[1], t)}"
        addend = kernel.value(operands[2], t[0] + str(2 * bits) if i.has("wide") else t) if i.name == "mad" else "0"
        if i.has("wide"):
            u = f"uint{2 * bits}_t"
            return f"({wide})(({u})({product}) + ({u}){addend})"
        return f"(uint{bits}_t)(({product}) >> {bits}) + (uint{bits}_t){addend}"
    if i.name in ("mul", "mad") and not i.has("lo"):
        return None
    u = unsigned(t) if bits > 16 else "uint32_t"
    if i.name in ("add", "sub", "and", "or", "xor", "mul"):
        x, y = kernel.values(i, t, t)
        return f"({c})(({u}){x} {INFIX[i.name]} ({u}){y})"
    if i.name in ("div", "rem"):
        x, y = kernel.values(i, t, t)
        return f"{x} {INFIX[i.name]} {y}"
    if i.name == "mad":
        x, y, z = kernel.values(i, t, t, t)
        return f"({c})(({u}){x} * ({u}){y} + ({u}){z})"
    if i.name in ("min", "max"):
        x, y = kernel.values(i, t, t)
        return f"({x} {'<' if i.name == 'min' else '>'} {y} ? {x} : {y})"
    if i.name == "selp":
        return select(kernel, i, t)
    x = kernel.value(operands[0], t if i.name not in ("shf", "lop3", "prmt") else "b32")
    if i.name == "neg":
        return f"({c})(0u - ({u}){x})"
    if i.name == "abs":
        return f"({c})({x} < 0 ? 0u - ({u}){x} : ({u}){x})"
    if i.name in ("not", "popc", "clz"):
        return {"not": f"({c})~{x}", "popc": f"std::popcount({x})", "clz": f"std::countl_zero({x})"}[i.name]
    if i.name == "shl":
        by = kernel.value(operands[1], "u32")
        return f"({c})({by} >= {bits} ? 0 : {x} << {by})"
    if i.name == "shr":
        by = kernel.value(operands[1], "u32")
        return (
            f"({c})({x} >> std::min({by}, {bits - 1}u))" if t[0] == "s" else f"({c})({by} >= {bits} ? 0 : {x} >> {by})"
        )
    if i.name == "shf":
        low, high, by = kernel.values(i, "b32", "b32", "u32")
        by = f"std::min({by}, 32u)" if i.has("clamp") else f"({by} & 31u)"
        word = f"((uint64_t){high} << 32 | {low})"
        return f"(uint32_t)({word} << {by} >> 32)" if i.has("l") else f"(uint32_t)({word} >> {by})"
    if i.name == "lop3":
        return f"logic({', '.join(kernel.values(i, 'b32', 'b32', 'b32', 'b32'))})"
    if i.name == "prmt" and len(i.parts) == 2:
        return f"permute_bytes({', '.join(kernel.values(i, 'b32', 'b32', 'b32'))})"
    if i.name == "bfe":
        return f"extract_bits<{c}>({', '.join(kernel.values(i, t, 'u32', 'u32'))})"
    if i.name == "bfi":
        return f"insert_bits<{c}>({', '.join(kernel.values(i, t, t, 'u32', 'u32'))})"
