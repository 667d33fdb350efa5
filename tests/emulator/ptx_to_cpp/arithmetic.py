from .types import HALVES, TYPES, size_of, unsigned, widen

INFIX = {"add": "+", "sub": "-", "and": "&", "or": "|", "xor": "^", "mul": "*", "div": "/", "rem": "%"}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
FUNCTIONS = {"sqrt": "std::sqrt", "rcp": "1 / "}
APPROXIMATIONS = {"ex2.approx.ftz.f32": "exp2_approx", "rcp.approx.ftz.f32": "reciprocal_approx"}
HALF_OPERATIONS = {
    **{name: f"[](double a, double b) {{ return a {INFIX[name]} b; }}" for name in ("add", "sub", "mul")},
    **{name: f"[](double a, double b) {{ return std::f{name}(a, b); }}" for name in ("min", "max")},
    "fma": "[](double a, double b, double c) { return a * b + c; }",
}
# Maps each PTX operation on integers to the types of its operands and to C++. t is the instruction's type, {c} its C++
# type, {bits} its number of bits, and {last} one less. {u} is unsigned, because signed overflow is undefined in C++.
WORDS = {
    **{
        name: ("t t", f"({{c}})(({{u}}){{0}} {INFIX[name]} ({{u}}){{1}})")
        for name in ("add", "sub", "and", "or", "xor")
    },
    "mul.lo": ("t t", "({c})(({u}){0} * ({u}){1})"),
    "mad.lo": ("t t t", "({c})(({u}){0} * ({u}){1} + ({u}){2})"),
    "div": ("t t", "{0} / {1}"),
    "rem": ("t t", "{0} % {1}"),
    "min": ("t t", "({0} < {1} ? {0} : {1})"),
    "max": ("t t", "({0} > {1} ? {0} : {1})"),
    "selp": ("t t pred", "({2} ? {0} : {1})"),
    "neg": ("t", "({c})(0u - ({u}){0})"),
    "abs": ("t", "({c})({0} < 0 ? 0u - ({u}){0} : ({u}){0})"),
    "not": ("t", "({c})~{0}"),
    "shl": ("t u32", "({c})({1} >= {bits} ? 0 : {0} << {1})"),
    "shr": ("t u32", "({c})({1} >= {bits} ? 0 : {0} >> {1})"),
    "shr signed": ("t u32", "({c})({0} >> std::min({1}, {last}u))"),
    "shf.l.wrap": ("b32 b32 u32", "(uint32_t)(((uint64_t){1} << 32 | {0}) << ({2} & 31u) >> 32)"),
    "bfi": ("t t u32 u32", "insert_bits<{c}>({0}, {1}, {2}, {3})"),
}


def arithmetic(kernel, i):
    if i.name == "setp":
        return compare(kernel, i)
    result = t = i.type
    if i.has_modifier("wide"):
        result = t[0] + str(2 * int(t[1:]))
    translate = half_arithmetic if t in HALVES else float_arithmetic if t[0] == "f" else word_arithmetic
    expression = translate(kernel, i, t)
    if expression is None or i.has_modifier("sat", "relu", "f16x2", "bf16x2"):
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
    return kernel.assign(i.operands[0], result, "pred")


def half_arithmetic(kernel, i, t):
    values = [kernel.value(x, t) for x in i.operands[1:]]
    if operation := HALF_OPERATIONS.get(i.name):
        return f"half<{'Bf16' if t == 'bf16' else 'Fp16'}>({operation}, {', '.join(values)})"
    return {"neg": f"{values[0]} ^ 0x8000", "abs": f"{values[0]} & ~0x8000"}.get(i.name)


def float_arithmetic(kernel, i, t):
    if i.name == "selp":
        return word_arithmetic(kernel, i, t)
    values = [kernel.value(x, t) for x in i.operands[1:]]
    if i.name in ("add", "sub", "mul", "div"):
        return f"{values[0]} {INFIX[i.name]} {values[1]}"
    if i.name in ("min", "max", "fma") and not i.has_modifier("NaN", "xorsign"):
        return f"std::f{i.name.removeprefix('f')}({', '.join(values)})"
    if i.op in APPROXIMATIONS:
        return f"{APPROXIMATIONS[i.op]}({values[0]})"
    if i.name in FUNCTIONS:
        return f"({TYPES[t]}){FUNCTIONS[i.name]}({values[0]})"
    if i.name == "copysign":
        return f"std::copysign({values[1]}, {values[0]})"
    return {"neg": f"-{values[0]}", "abs": f"std::fabs({values[0]})"}.get(i.name)


def word_arithmetic(kernel, i, t):
    if t == "pred":
        values = [kernel.value(x, t) for x in i.operands[1:]]
        return f"!{values[0]}" if i.name == "not" else f"bool({values[0]} {INFIX[i.name]} {values[1]})"
    bits = 8 * size_of(t)
    if i.name in ("mul", "mad") and i.has_modifier("wide", "hi"):
        return wide_product(kernel, i, t, bits)
    name = "shr signed" if i.name == "shr" and t[0] == "s" else i.op.rpartition(".")[0]
    if name not in WORDS:
        return None
    types, expression = WORDS[name]
    values = kernel.values(i, *(t if operand_type == "t" else operand_type for operand_type in types.split()))
    return expression.format(*values, c=TYPES[t], u=unsigned(t) if bits > 16 else "uint32_t", bits=bits, last=bits - 1)


def wide_product(kernel, i, t, bits):
    """Returns C++ for `mul` and `mad` with `wide` (the full product of two integers) or `hi` (its upper half)."""
    operands = i.operands[1:]
    wide = {32: "int64_t", 64: "__int128", 16: "int32_t"}[bits]
    wide = wide if t[0] == "s" else "unsigned __int128" if bits == 64 else "u" + wide
    product = f"({wide}){kernel.value(operands[0], t)} * ({wide}){kernel.value(operands[1], t)}"
    is_wide = i.has_modifier("wide")
    addend = kernel.value(operands[2], t[0] + str(2 * bits) if is_wide else t) if i.name == "mad" else "0"
    if is_wide:
        u = f"uint{2 * bits}_t"
        return f"({wide})(({u})({product}) + ({u}){addend})"
    return f"(uint{bits}_t)(({product}) >> {bits}) + (uint{bits}_t){addend}"
