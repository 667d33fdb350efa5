TYPES = {
    "b8": "uint8_t", "u8": "uint8_t", "s8": "int8_t",
    "b16": "uint16_t", "u16": "uint16_t", "s16": "int16_t", "f16": "uint16_t", "bf16": "uint16_t",
    "b32": "uint32_t", "u32": "uint32_t", "s32": "int32_t", "f32": "float",
    "b64": "uint64_t", "u64": "uint64_t", "s64": "int64_t", "f64": "double",
    "f16x2": "uint32_t", "bf16x2": "uint32_t", "tf32": "uint32_t", "pred": "bool",
}  # fmt: skip
HALVES = ("f16", "bf16")


def size_of(t):
    if t.endswith("x2") or t == "tf32":
        return 4
    return 2 if t == "bf16" else int(t[1:]) // 8


def container(t):
    """Returns a register's C++ type: `bool` for a predicate, otherwise unsigned, since each instruction chooses how to
    read it."""
    return "bool" if t == "pred" else f"uint{max(16, 8 * size_of(t))}_t"


def unsigned(t):
    return TYPES["u" + t[1:]]


def widen(value, t):
    return f"{'from_bf16' if t == 'bf16' else 'from_fp16'}({value})"
