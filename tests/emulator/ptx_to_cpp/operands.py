import re

from .parser import UnknownPart, elements, split
from .types import TYPES, container, size_of

SPECIAL = {
    "%tid": "thread_index()", "%ntid": "block_size()", "%ctaid": "block_index()", "%nctaid": "grid_size()",
    "%laneid": "lane()", "%cluster_ctarank": "cluster_rank()", "%cluster_nctarank": "cluster_size()", "WARP_SZ": "32",
    "%clock64": "0",
}  # fmt: skip


class Operands:
    def __init__(self, module, parameters):
        self.module = module
        self.scopes = [{}]  # {register: (C++ variable, C++ type)} of each scope
        self.local = set()
        self.declarations = []
        self.parameters, offset = {}, 0
        for m in re.finditer(
            r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr[^,]*?)?([\w$]+)(?:\[(\d+)\])?", parameters
        ):
            align = int(m[1] or size_of(m[2]))
            offset = (offset + align - 1) // align * align
            self.parameters[m[3]] = offset
            offset += int(m[4] or 1) * size_of(m[2])
        self.args_bytes = offset

    def place_shared(self, body):
        """Gives the kernel's shared variables their offsets, dynamic memory last.

        Dynamic memory begins at an odd multiple of its alignment, so that a kernel that relies on more than it declares
        fails.
        """
        self.shared, self.static_shared = {}, 0
        used = [name for name in self.module.shared if re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", body)]
        for name in used:
            align, size = self.module.shared[name]
            if size:
                offset = (self.static_shared + align - 1) // align * align
                self.shared[name], self.static_shared = offset, offset + size
        dynamic = [name for name in used if not self.module.shared[name][1]]
        align = max((self.module.shared[name][0] for name in dynamic), default=16)
        self.dynamic_shared = (self.static_shared + align - 1) // align // 2 * 2 * align + align
        self.shared |= dict.fromkeys(dynamic, self.dynamic_shared)

    def declare(self, text):
        if m := re.fullmatch(r"\.local \.align (\d+) \.b8 ([\w$]+)\[(\d+)\]", text):
            self.local.add(m[2])
            self.declarations.append(f"alignas({m[1]}) Byte {m[2]}[{m[3]}];")
            return
        m = re.match(r"\.reg \.(\w+) (.*)", text)
        if not m:
            raise UnknownPart("declaration")
        names = []
        for name in split(m[2]):
            numbered = re.fullmatch(r"(%?\w+)<(\d+)>", name)
            names += [f"{numbered[1]}{k}" for k in range(int(numbered[2]))] if numbered else [name]
        variables = []
        for name in names:
            variable = f"{name.strip('%')}_{len(self.scopes)}_{len(self.declarations)}"
            self.scopes[-1][name] = variable, container(m[1])
            variables.append(variable)
        self.declarations.append(f"{container(m[1])} {', '.join(variables)};")

    def register(self, name):
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def value(self, operand, t):
        """Returns C++ for an operand, read as PTX type ``t``."""
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
        if m := re.fullmatch(r"0(?:[fF]([0-9a-fA-F]{8})|[dD]([0-9a-fA-F]{16}))", operand):
            bits = f"0x{m[1]}u" if m[1] else f"0x{m[2]}ull"
            return f"__builtin_bit_cast({c}, {bits})" if t == ("f32" if m[1] else "f64") else bits
        if re.fullmatch(r"-?\d+U?|0[xX][0-9a-fA-F]+U?", operand):
            return f"({c})({operand.rstrip('U')}{'ll' if operand[0] == '-' else 'ull'})"
        if operand in self.shared:
            return f"({c}){self.shared[operand]}u"
        if operand in self.parameters:
            return f"({c})((uintptr_t)args + {self.parameters[operand]})"
        if operand in self.local or operand in self.module.constants:
            return f"({c})(uintptr_t){operand}"
        raise UnknownPart(f"operand {operand}")

    def values(self, i, *types):
        return [self.value(operand, t) for operand, t in zip(i.operands[1:], types, strict=True)]

    def assign(self, operand, expression, t):
        """Returns C++ that stores an expression of PTX type ``t`` in a register, sign-extended if ``t`` is signed."""
        if operand == "_":
            return f"(void)({expression});"
        if not self.register(operand):
            raise UnknownPart(f"operand {operand}")
        variable, word = self.register(operand)
        if word == "bool":
            return f"{variable} = {expression};"
        if t in ("f32", "f64"):
            return f"{variable} = __builtin_bit_cast({word}, ({TYPES[t]})({expression}));"
        return f"{variable} = ({word})({expression});"

    def assign_all(self, operand, expression, t):
        return " ".join(self.assign(d, expression.format(k), t) for k, d in enumerate(elements(operand)))

    @staticmethod
    def base_and_offset(operand):
        m = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+|0x[0-9a-fA-F]+))?\s*\]", operand)
        if not m:
            raise UnknownPart(f"address {operand}")
        return m[1], int(m[2] or "0", 0)

    def pointer(self, operand):
        base, offset = self.base_and_offset(operand)
        return f"{self.value(base, 'u64')} + {offset}ll"

    def shared_address(self, operand):
        return f"(uint32_t)({self.pointer(operand)})"

    def address(self, operand, i):
        base, offset = self.base_and_offset(operand)
        if i.space == "param" and base in self.parameters:
            return f"(const Byte*)args + {self.parameters[base] + offset}"
        if i.space == "shared":
            return f"{'cluster' if i.is_shared_cluster else 'own'}_shared({self.shared_address(operand)})"
        return f"(Byte*)({self.pointer(operand)})"
