"""Turns the PTX of nvcc into C++ on runtime.h. An instruction that is not known stops the translation.

Every entry NAME becomes `void ptx_NAME(const void* args)`, whose address is NAME_entry, and registers itself with its
synchronisation sites, which a mutation can break at run time.
"""

import re

TYPES = {
    "b8": "uint8_t", "u8": "uint8_t", "s8": "int8_t",
    "b16": "uint16_t", "u16": "uint16_t", "s16": "int16_t", "f16": "uint16_t", "bf16": "uint16_t",
    "b32": "uint32_t", "u32": "uint32_t", "s32": "int32_t", "f32": "float",
    "b64": "uint64_t", "u64": "uint64_t", "s64": "int64_t", "f64": "double",
    "f16x2": "uint32_t", "bf16x2": "uint32_t", "tf32": "uint32_t", "pred": "bool",
}  # fmt: skip
HALVES = ("f16", "bf16", "f16x2", "bf16x2")
SPACES = ("global", "shared", "local", "param", "const")
SPECIAL = {
    "%tid": "thread_index()", "%ntid": "block_size()", "%ctaid": "block_index()", "%nctaid": "grid_size()",
    "%laneid": "lane()", "%cluster_ctarank": "cluster_rank()", "%cluster_nctarank": "cluster_size()", "WARP_SZ": "32",
}  # fmt: skip
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
TO_INTEGER = {"rni": "std::nearbyint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}
FUNCTIONS = {
    "ex2": "std::exp2",
    "lg2": "std::log2",
    "sqrt": "std::sqrt",
    "tanh": "std::tanh",
    "rcp": "1 / ",
    "rsqrt": "1 / std::sqrt",
}
HALF_OPERATIONS = {
    "add": "[](double a, double b) { return a + b; }",
    "sub": "[](double a, double b) { return a - b; }",
    "mul": "[](double a, double b) { return a * b; }",
    "min": "[](double a, double b) { return std::fmin(a, b); }",
    "max": "[](double a, double b) { return std::fmax(a, b); }",
    "fma": "[](double a, double b, double c) { return a * b + c; }",
}


class UnknownInstruction(Exception):
    """Says which, of which kernel, and where."""


class Unknown(Exception):
    """What is not known about an instruction."""


def size_of(t):
    if t.endswith("x2") or t == "tf32":
        return 4
    return 2 if t == "bf16" else int(t[1:]) // 8


def container(t):
    """Registers are unsigned words; instructions say how they read them."""
    return "bool" if t == "pred" else f"uint{max(16, 8 * size_of(t))}_t"


def unsigned(t):
    return TYPES["u" + t[1:]]


def half_format(t):
    return f"{'Bf16' if t[0] == 'b' else 'Fp16'}, {2 if t.endswith('x2') else 1}"


def widen(value, t):
    return f"{'from_bf16' if t == 'bf16' else 'from_fp16'}({value})"


def split(text):
    """At the commas outside brackets."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "{[") - (c in "}]")
        if c == "," and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts if part.strip()]


def elements(operand):
    return split(operand[1:-1]) if operand.startswith("{") else [operand]


class Places:
    """The source positions of .loc, as text from the innermost inlined function outwards."""

    def __init__(self, text):
        self.files = {m[1]: m[2].rsplit("/", 1)[-1] for m in re.finditer(r'\.file\s+(\d+)\s+"([^"]+)"', text)}
        self.caller = {}
        self.now = "?"

    LOC = re.compile(
        r"\.loc\s+(\d+)\s+(\d+)\s+(\d+)(?:\s*,\s*function_name\s+[^,]+,\s*inlined_at\s+(\d+)\s+(\d+)\s+(\d+))?[^\n]*"
    )

    def see(self, loc):
        position, caller = loc.group(1, 2, 3), loc.group(4, 5, 6)
        self.caller[position] = caller if caller[0] else None
        chain = []
        while position and len(chain) < 8:
            chain.append(f"{self.files.get(position[0], '?')}:{position[1]}")
            position = self.caller.get(position)
        self.now = " < ".join(chain)


class Instruction:
    def __init__(self, text):
        self.text = text
        predicate = re.match(r"@(!?)(%\w+)\s+", text)
        self.predicate = predicate and predicate.group(1, 2)
        self.op, _, operands = (text[predicate.end() :] if predicate else text).partition(" ")
        self.parts = self.op.split(".")
        self.name, self.type = self.parts[0], self.parts[-1]
        self.operands = split(operands)
        self.space_name = next((part for part in self.parts if part.split("::")[0] in SPACES), None)
        self.space = self.space_name and self.space_name.split("::")[0]
        self.of_cluster = self.space_name == "shared::cluster"

    def has(self, *parts):
        return any(part in self.parts for part in parts)


class Module:
    def __init__(self, text):
        self.places = Places(text)
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S).split(".section")[0]
        self.text = text
        target = re.search(r"\.target\s+sm_(\d+)", text)
        self.target = target[1] if target else 0
        self.shared = {}  # static variables: alignment and size; size None: the dynamic memory
        for m in re.finditer(r"\.shared\s+\.align\s+(\d+)\s+\.(\w+)\s+([\w$]+)(\[(\d*)\])?", text):
            count = 1 if not m[4] else int(m[5]) if m[5] else None
            self.shared[m[3]] = int(m[1]), count and count * size_of(m[2])
        self.constants = {}
        for m in re.finditer(
            r"\.(?:global|const)\s+\.align\s+(\d+)\s+\.(\w+)\s+([\w$]+)\[(\d+)\]\s*=\s*\{([^}]*)\}", text
        ):
            self.constants[m[3]] = f"alignas({m[1]}) static const {TYPES[m[2]]} {m[3]}[{m[4]}] = {{{m[5]}}};"

    def translate(self):
        lines = [
            "// Written by ptx_to_cpp.py.",
            '#include "ptx.h"',
            "using namespace ptx;",
            *self.constants.values(),
            "",
        ]
        for m in re.finditer(r"\.entry\s+([\w$]+)\s*\((.*?)\)[^{]*\{", self.text, re.S):
            end, depth = m.end(), 1
            while depth:
                depth += (self.text[end] == "{") - (self.text[end] == "}")
                end += 1
            lines += Kernel(self, m[1], m[2]).translate(self.text[m.end() : end - 1])
        return "\n".join(lines) + "\n"


class Kernel:
    def __init__(self, module, name, parameters):
        self.module, self.name = module, name
        self.scopes = [{}]  # register -> C++ variable and its type
        self.declarations, self.code = [], []
        self.local, self.sites = set(), []
        self.parameters, offset = {}, 0
        for m in re.finditer(
            r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr[^,]*?)?([\w$]+)(?:\[(\d+)\])?", parameters
        ):
            align = int(m[1] or size_of(m[2]))
            offset = (offset + align - 1) // align * align
            self.parameters[m[3]] = offset
            offset += int(m[4] or 1) * size_of(m[2])

    def place_shared(self, body):
        """Lays out the static variables that the kernel names; the dynamic memory follows, as runtime.cpp has it."""
        self.shared, self.static_shared = {}, 0
        used = [name for name in self.module.shared if re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", body)]
        for name in used:
            align, size = self.module.shared[name]
            if size:
                offset = (self.static_shared + align - 1) // align * align
                self.shared[name], self.static_shared = offset, offset + size
        for name in used:
            if not self.module.shared[name][1]:
                self.shared[name] = (self.static_shared + 15) // 16 * 16

    def translate(self, body):
        self.place_shared(body)
        label = re.compile(r"([\w$]+):")
        at = 0
        while at < len(body):
            if body[at].isspace():
                at += 1
            elif body[at] == "{":
                self.scopes.append({})
                at += 1
            elif body[at] == "}":
                self.scopes.pop()
                at += 1
            elif m := Places.LOC.match(body, at):
                self.module.places.see(m)
                at = m.end()
            elif m := label.match(body, at):
                self.code.append(self.label(m[1]) + ":;")
                at = m.end()
            else:
                end = body.index(";", at)
                self.statement(" ".join(body[at:end].split()))
                at = end + 1
        return self.function()

    def function(self):
        n, count = self.name, len(self.sites)
        sites = [f"  {{{place}, {self.quote(what)}, {self.quote(modes)}}}," for place, what, modes in self.sites]
        return [
            f"static unsigned char mutation_{n}[{count + 1}];",
            f"static void ptx_{n}(const void* args) {{",
            f"  unsigned char* const mutation = mutation_{n};",
            "  (void)args, (void)mutation;",
            *("  " + line for line in self.declarations),
            *("  " + line for line in self.code),
            "}",
            f"static const Site sites_{n}[] = {{",
            *sites,
            "  {}};",
            f"[[maybe_unused]] static const bool added_{n} =",
            f'    (add_translated({{"{n}", {self.module.target}, ptx_{n}, {self.static_shared}, sites_{n}, {count}, mutation_{n}}}), true);',
            f'extern "C" const void* const {n}_entry = reinterpret_cast<const void*>(ptx_{n});',
            "",
        ]

    def statement(self, text):
        if not text or text.startswith((".pragma", ".shared")):
            return
        if text.startswith(".reg"):
            return self.declare_registers(text)
        if m := re.match(r"\.local \.align (\d+) \.b8 ([\w$]+)\[(\d+)\]", text):
            self.local.add(m[2])
            self.declarations.append(f"alignas({m[1]}) unsigned char {m[2]}[{m[3]}];")
            return
        try:
            i = Instruction(text)
            code = self.instruction(i)
        except (Unknown, KeyError, IndexError, StopIteration) as e:
            raise UnknownInstruction(f"{text} ({self.name}, {self.module.places.now}) {e}") from None
        if i.predicate:
            code = f"if ({i.predicate[0]}{self.register(i.predicate[1])[0]}) {{ {code} }}"
        self.code.append(code)

    def declare_registers(self, text):
        m = re.match(r"\.reg \.(\w+) (.*)", text)
        names = []
        for name in split(m[2]):
            several = re.fullmatch(r"(%?\w+)<(\d+)>", name)
            names += [f"{several[1]}{k}" for k in range(int(several[2]))] if several else [name]
        variables = []
        for name in names:
            variable = f"{name.strip('%')}_{len(self.scopes)}_{len(self.declarations)}"
            self.scopes[-1][name] = variable, container(m[1])
            variables.append(variable)
        self.declarations.append(f"{container(m[1])} {', '.join(variables)};")

    # ---- operands
    def register(self, name):
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def value(self, operand, t):
        """A C++ expression of the operand, read as the PTX type t."""
        c = TYPES[t]
        if t == "pred" and operand[0] == "!":
            return "!" + self.value(operand[1:], t)
        if found := self.register(operand):
            variable, word = found
            if c == word:
                return variable
            return f"__builtin_bit_cast({c}, {variable})" if t in ("f32", "f64") else f"({c}){variable}"
        name, _, axis = operand.partition(".")
        if name in SPECIAL:
            return f"({c})({SPECIAL[name]}{'.' + axis if axis else ''})"
        if re.fullmatch(r"0[fF][0-9a-fA-F]{8}", operand):
            return f"__builtin_bit_cast(float, 0x{operand[2:]}u)" if t == "f32" else f"0x{operand[2:]}u"
        if re.fullmatch(r"0[dD][0-9a-fA-F]{16}", operand):
            return f"__builtin_bit_cast(double, 0x{operand[2:]}ull)" if t == "f64" else f"0x{operand[2:]}ull"
        if re.fullmatch(r"-?\d+U?|0[xX][0-9a-fA-F]+U?", operand):
            return f"({c})({operand.rstrip('U')}{'ll' if operand[0] == '-' else 'ull'})"
        if operand in self.shared:
            return f"({c}){self.shared[operand]}u"
        if operand in self.parameters:
            return f"({c})((uintptr_t)args + {self.parameters[operand]})"
        if operand in self.local or operand in self.module.constants:
            return f"({c})(uintptr_t){operand}"
        raise Unknown(f"operand {operand}")

    def values(self, i, *types):
        return [self.value(operand, t) for operand, t in zip(i.operands[1:], types, strict=True)]

    def assign(self, operand, expression, t):
        """Stores an expression of the PTX type t; integers are extended to the register by their own sign."""
        if operand == "_":
            return f"(void)({expression});"
        if not self.register(operand):
            raise Unknown(f"operand {operand}")
        variable, word = self.register(operand)
        if word == "bool":
            return f"{variable} = {expression};"
        if t in ("f32", "f64"):
            return f"{variable} = __builtin_bit_cast({word}, ({TYPES[t]})({expression}));"
        return f"{variable} = ({word})({expression});"

    def assign_all(self, operand, expression, t):
        return " ".join(self.assign(d, expression.format(k), t) for k, d in enumerate(elements(operand)))

    def address(self, operand, i):
        m = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+|0x[0-9a-fA-F]+))?\s*\]", operand)
        if not m:
            raise Unknown(f"address {operand}")
        base, offset = m[1], int(m[2] or "0", 0)
        if i.space == "param" and base in self.parameters:
            return f"(const unsigned char*)args + {self.parameters[base] + offset}"
        if i.space == "shared":
            window = "cluster_shared" if i.of_cluster else "own_shared"
            return f"{window}((uint32_t)({self.value(base, 'u64')} + {offset}ll))"
        return f"(unsigned char*)({self.value(base, 'u64')} + {offset}ll)"

    def label(self, name):
        return name.replace("$", "L_")

    @staticmethod
    def quote(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def place(self):
        return self.quote(self.module.places.now)

    def site(self, what, modes):
        self.sites.append((self.place(), what, modes))
        return f"active(mutation, {len(self.sites) - 1})"

    # ---- instructions
    def instruction(self, i):
        for method in (self.control, self.synchronisation, self.warp, self.memory, self.conversion, self.arithmetic):
            if code := method(i):
                return code
        raise Unknown()

    def control(self, i):
        if i.op in ("bra", "bra.uni"):
            return f"goto {self.label(i.operands[0])};"
        if i.op in ("ret", "exit"):
            return "return;"
        if i.op == "trap":
            return f'fail(Kind::bad_use, "trap at " {self.place()});'

    def synchronisation(self, i):
        aligned = "true" if i.has("aligned") or i.op == "bar.sync" else "false"
        if i.op in ("bar.sync", "barrier.sync", "barrier.sync.aligned", "barrier.cta.sync", "barrier.cta.sync.aligned"):
            if i.operands != ["0"]:
                raise Unknown("a barrier of part of the block")
            return f"if (!{self.site('block barrier', 'dropped')}) block_barrier({aligned}, {self.place()});"
        if i.op == "bar.warp.sync":
            mask = self.value(i.operands[0], "b32")
            return f"if (!{self.site('warp barrier', 'dropped')}) warp_barrier({mask}, {self.place()});"
        if re.fullmatch(r"barrier\.cluster\.arrive(\.release|\.relaxed)?(\.aligned)?", i.op):
            release = "false" if i.has("relaxed") else "true"
            site = self.site("cluster arrive", "dropped relaxed block_barrier")
            return f"arrive({site}, {release}, {aligned}, {self.place()});"
        if re.fullmatch(r"barrier\.cluster\.wait(\.acquire)?(\.aligned)?", i.op):
            return f"if (!{self.site('cluster wait', 'dropped')}) cluster_wait({aligned}, {self.place()});"
        if i.op == "mapa.shared::cluster.u32":
            address, rank = self.values(i, "u32", "u32")
            return self.assign(
                i.operands[0], f"map({self.site('peer address', 'rank_0 rank_outside')}, {address}, {rank})", "u32"
            )

    def warp(self, i):
        if i.op.startswith("shfl.sync.") and i.type == "b32":
            mode = {"idx": "index", "up": "up", "down": "down", "bfly": "butterfly"}[i.parts[2]]
            result, _, in_range = i.operands[0].partition("|")
            value, by, clamp, mask = self.values(i, "b32", "b32", "b32", "b32")
            call = f"shuffle(Shuffle::{mode}, {value}, {by}, {clamp}, {mask}, &in_range, {self.place()})"
            code = (
                f"bool in_range; {self.assign(result, call, 'b32')} {self.assign(in_range or '_', 'in_range', 'pred')}"
            )
            return f"{{ {code} }}"
        if m := re.fullmatch(r"ldmatrix\.sync\.aligned\.m8n8\.x([24])\.shared(::cta)?\.b16", i.op):
            call = f"load_matrices({m[1]}, d, {self.address(i.operands[1], i)}, {self.place()});"
            return f"{{ uint32_t d[4]; {call} {self.assign_all(i.operands[0], 'd[{}]', 'b32')} }}"
        m = re.fullmatch(r"mma\.sync\.aligned\.(m16n8k16|m16n8k8)\.row\.col\.f32\.(bf16|f16|tf32)\.\2\.f32", i.op)
        if m and (m[1] == "m16n8k8") == (m[2] == "tf32"):
            types = zip(i.operands[1:], ("b32", "b32", "f32"), strict=True)
            a, b, c = [", ".join(self.value(x, t) for x in elements(operand)) for operand, t in types]
            declare = f"float d[4]; const uint32_t a[4] = {{{a}}}, b[2] = {{{b}}}; const float c[4] = {{{c}}};"
            matrix = {"bf16": "bf16", "f16": "fp16", "tf32": "tf32"}[m[2]]
            call = f"multiply_matrices(MatrixFormat::{matrix}, d, a, b, c, {self.place()});"
            return f"{{ {declare} {call} {self.assign_all(i.operands[0], 'd[{}]', 'f32')} }}"

    def memory(self, i):
        t = i.type
        if i.name not in ("ld", "st"):
            return None
        cache_hints = [part for part in i.parts if part.startswith(("L1::", "L2::"))]
        known = ["ld", "st", "volatile", "nc", "v2", "v4", t, *cache_hints, i.space_name]
        if unknown := [part for part in i.parts if part not in known]:
            raise Unknown(".".join(unknown))
        size = size_of(t)
        data, pointer = i.operands if i.name == "ld" else reversed(i.operands)
        count, where = len(elements(data)), self.address(pointer, i)
        code = f"read_only_load(p, {self.place()}); " if i.has("nc") else ""
        if i.space in (None, "global", "shared"):
            code += f"ACCESS(p, {size * count}, {'true' if i.name == 'st' else 'false'}, {self.place()}); "
        if i.name == "ld":
            code += self.assign_all(data, f"load<{TYPES[t]}>(p + {size} * {{}})", t)
            return f"{{ const unsigned char* p = {where}; {code} }}"
        code += " ".join(
            f"store<{TYPES[t]}>(p + {size * k}, {self.value(x, t)});" for k, x in enumerate(elements(data))
        )
        guard = f"if (!{self.site('store to a peer', 'dropped')}) " if i.of_cluster else ""
        return f"{guard}{{ unsigned char* p = {where}; {code} }}"

    def conversion(self, i):
        d, a, t = i.operands[0], i.operands[1:], i.type
        if i.name == "cvta":
            value = self.value(a[0], "u64")
            if i.space != "shared":
                return self.assign(d, value, t)
            return self.assign(
                d, f"{value} - (uint64_t)shared_window()" if i.has("to") else f"{value} + (uint64_t)shared_window()", t
            )
        if i.name == "mov":
            return self.move(d, a[0], t)
        if i.name != "cvt":
            return None
        to, rounding = i.parts[-2], next((TO_INTEGER[part] for part in i.parts if part in TO_INTEGER), None)
        if i.has("relu"):
            raise Unknown("relu")
        if to == "tf32":
            if not i.has("rna"):
                raise Unknown("rounding")
            return self.assign(d, f"round_to_tf32({self.value(a[0], 'f32')})", to)
        narrow = "to_bf16" if to.startswith("bf16") else "to_fp16"
        if to in ("f16x2", "bf16x2") and t == "f32":
            high, low = self.values(i, t, t)
            return self.assign(d, f"(uint32_t){narrow}({high}) << 16 | {narrow}({low})", to)
        if to.endswith("x2") or t.endswith("x2"):
            raise Unknown("pairs")
        value = widen(self.value(a[0], t), t) if t in HALVES else self.value(a[0], t)
        floating = t in HALVES or t[0] == "f"
        if to in HALVES:
            return self.assign(
                d, f"{narrow}({value})" if t == "f32" or t in HALVES else f"{narrow}((double){value})", to
            )
        if floating and to[0] in "us":
            return self.assign(d, f"saturate<{TYPES[to]}>({rounding}({value}))", to)
        if rounding:
            value = f"{rounding}({value})"
        if i.has("sat"):
            value = f"std::fmin(std::fmax({value}, 0), 1)"
        return self.assign(d, f"({TYPES[to]})({value})", to)

    def move(self, d, a, t):
        size = size_of(t) if t != "pred" else 0
        if d.startswith("{"):
            bits = 8 * size // len(elements(d))
            parts = self.assign_all(d, f"word >> ({bits} * {{}})", f"u{bits}")
            return f"{{ const uint64_t word = {self.value(a, f'b{8 * size}')}; {parts} }}"
        if a.startswith("{"):
            bits = 8 * size // len(elements(a))
            word = " | ".join(f"(uint64_t){self.value(x, f'u{bits}')} << {bits * k}" for k, x in enumerate(elements(a)))
            return self.assign(d, word, f"u{8 * size}")
        return self.assign(d, self.value(a, t), t)

    def arithmetic(self, i):
        if i.name == "setp":
            return self.compare(i)
        result = t = i.type
        if i.has("wide"):
            result = t[0] + str(2 * int(t[1:]))
        expression = (
            self.half_arithmetic if t in HALVES else self.float_arithmetic if t[0] == "f" else self.word_arithmetic
        )(i, t)
        if expression is None or i.has("sat") or i.has("relu"):
            return None
        return self.assign(i.operands[0], expression, result)

    def select(self, i, t):
        x, y, predicate = self.values(i, t, t, "pred")
        return f"({predicate} ? {x} : {y})"

    def half_arithmetic(self, i, t):
        operation = HALF_OPERATIONS.get(i.name)
        if i.name in FUNCTIONS:
            operation = f"[](double a) {{ return {FUNCTIONS[i.name]}(a); }}"
        if operation:
            return f"half<{half_format(t)}>({operation}, {', '.join(self.value(x, t) for x in i.operands[1:])})"
        if i.name in ("neg", "abs"):
            signs = "0x80008000u" if t.endswith("x2") else "0x8000"
            return f"{self.value(i.operands[1], t)} {'^' if i.name == 'neg' else '& ~'}{signs}"

    def float_arithmetic(self, i, t):
        c, values = TYPES[t], [self.value(x, t) for x in i.operands[1:]] if i.name != "selp" else []
        if i.name in ("add", "sub", "mul", "div"):
            return f"{values[0]} {INFIX[i.name]} {values[1]}"
        if i.name in ("min", "max", "fma") and not i.has("NaN", "xorsign"):
            return f"std::f{i.name.removeprefix('f')}({', '.join(values)})"
        if i.name in FUNCTIONS:
            return f"({c}){FUNCTIONS[i.name]}({values[0]})"
        if i.name == "selp":
            return self.select(i, t)
        if i.name == "copysign":
            return f"std::copysign({values[1]}, {values[0]})"
        return {"neg": f"-{values[0]}", "abs": f"std::fabs({values[0]})"}.get(i.name)

    def word_arithmetic(self, i, t):
        """Integers, bits and predicates. Signed arithmetic wraps, so it is done in unsigned words."""
        c, operands = TYPES[t], i.operands[1:]
        if t == "pred":
            values = [self.value(x, t) for x in operands]
            return f"!{values[0]}" if i.name == "not" else f"bool({values[0]} {INFIX[i.name]} {values[1]})"
        bits = 8 * size_of(t)
        if i.name in ("mul", "mad") and i.has("wide", "hi"):
            wide = {32: "int64_t", 64: "__int128", 16: "int32_t"}[bits]
            wide = wide if t[0] == "s" else "unsigned __int128" if bits == 64 else "u" + wide
            product = f"({wide}){self.value(operands[0], t)} * ({wide}){self.value(operands[1], t)}"
            addend = self.value(operands[2], t[0] + str(2 * bits) if i.has("wide") else t) if i.name == "mad" else "0"
            if i.has("wide"):
                u = f"uint{2 * bits}_t"
                return f"({wide})(({u})({product}) + ({u}){addend})"
            return f"(uint{bits}_t)(({product}) >> {bits}) + (uint{bits}_t){addend}"
        if i.name in ("mul", "mad") and not i.has("lo"):
            return None
        u = unsigned(t) if bits > 16 else "uint32_t"
        if i.name in ("add", "sub", "and", "or", "xor", "mul"):
            x, y = self.values(i, t, t)
            return f"({c})(({u}){x} {INFIX[i.name]} ({u}){y})"
        if i.name in ("div", "rem"):
            x, y = self.values(i, t, t)
            return f"{x} {INFIX[i.name]} {y}"
        if i.name == "mad":
            x, y, z = self.values(i, t, t, t)
            return f"({c})(({u}){x} * ({u}){y} + ({u}){z})"
        if i.name in ("min", "max"):
            x, y = self.values(i, t, t)
            return f"({x} {'<' if i.name == 'min' else '>'} {y} ? {x} : {y})"
        if i.name == "selp":
            return self.select(i, t)
        x = self.value(operands[0], t if i.name not in ("shf", "lop3", "prmt") else "b32")
        if i.name == "neg":
            return f"({c})(0u - ({u}){x})"
        if i.name == "abs":
            return f"({c})({x} < 0 ? 0u - ({u}){x} : ({u}){x})"
        if i.name in ("not", "popc", "clz"):
            return {"not": f"({c})~{x}", "popc": f"std::popcount({x})", "clz": f"std::countl_zero({x})"}[i.name]
        if i.name == "shl":
            by = self.value(operands[1], "u32")
            return f"({c})({by} >= {bits} ? 0 : {x} << {by})"
        if i.name == "shr":
            by = self.value(operands[1], "u32")
            return (
                f"({c})({x} >> std::min({by}, {bits - 1}u))"
                if t[0] == "s"
                else f"({c})({by} >= {bits} ? 0 : {x} >> {by})"
            )
        if i.name == "shf":
            low, high, by = self.values(i, "b32", "b32", "u32")
            by = f"std::min({by}, 32u)" if i.has("clamp") else f"({by} & 31u)"
            word = f"((uint64_t){high} << 32 | {low})"
            return f"(uint32_t)({word} << {by} >> 32)" if i.has("l") else f"(uint32_t)({word} >> {by})"
        if i.name == "lop3":
            return f"logic({', '.join(self.values(i, 'b32', 'b32', 'b32', 'b32'))})"
        if i.name == "prmt" and len(i.parts) == 2:
            return f"permute_bytes({', '.join(self.values(i, 'b32', 'b32', 'b32'))})"
        if i.name == "bfe":
            return f"extract_bits<{c}>({', '.join(self.values(i, t, 'u32', 'u32'))})"
        if i.name == "bfi":
            return f"insert_bits<{c}>({', '.join(self.values(i, t, t, 'u32', 'u32'))})"

    def compare(self, i):
        comparison, t = i.parts[1], i.type
        x, y = (self.value(operand, t) for operand in i.operands[1:3])
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
            result = f"bool({result} {INFIX[combine]} {self.value(i.operands[3], 'pred')})"
        positive, _, negative = i.operands[0].partition("|")
        if negative:
            both = self.assign(positive, "result", "pred") + " " + self.assign(negative, "!result", "pred")
            return f"{{ const bool result = {result}; {both} }}"
        return self.assign(positive, result, "pred")


def translate(ptx):
    return Module(ptx).translate()
