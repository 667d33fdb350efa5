import re

from .arithmetic import arithmetic
from .conversion import conversion
from .memory import memory
from .operands import Operands
from .parser import Instruction, Places, UnknownInstruction, UnknownPart
from .synchronisation import control, synchronisation, warp

# Each function translates one kind of PTX instruction to C++. It returns None for an instruction of another kind.
TRANSLATIONS = (control, synchronisation, warp, memory, conversion, arithmetic)


class Kernel(Operands):
    def __init__(self, module, name, parameters, directives):
        super().__init__(module, parameters)
        cluster = re.search(r"\.reqnctapercluster\s+(\d+)", directives)
        self.name, self.cluster = name, cluster[1] if cluster else 1
        self.code, self.sites = [], []

    def translate(self, body):
        self.place_shared(body)
        label = re.compile(r"([\w$]+):")
        at = 0
        while at < len(body):
            if body[at].isspace() or body[at] in "{}":
                if body[at] == "{":
                    self.scopes.append({})
                elif body[at] == "}":
                    self.scopes.pop()
                at += 1
            elif m := Places.LOC.match(body, at):
                self.module.places.update(m)
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
            f"static Byte mutation_{n}[{count + 1}];",
            f"static void ptx_{n}(const void* args) {{",
            f"  Byte* const mutation = mutation_{n};",
            "  (void)args, (void)mutation;",
            *("  " + line for line in (*self.declarations, *self.code)),
            "}",
            f"static const Site sites_{n}[] = {{",
            *sites,
            "  {}};",
            f"[[maybe_unused]] static const bool added_{n} =",
            f'    (translated_kernels().push_back({{"{n}", ptx_{n}, {self.args_bytes}, {self.static_shared}, '
            f"{self.dynamic_shared}, {self.cluster}, sites_{n}, {count}, mutation_{n}}}), true);",
            "",
        ]

    def statement(self, text):
        if not text or text.startswith((".pragma", ".shared")):
            return
        try:
            if text.startswith((".reg", ".local")):
                self.declare(text)
                return
            i = Instruction(text)
            code = self.instruction(i)
        except (UnknownPart, KeyError, IndexError, StopIteration) as e:
            raise UnknownInstruction(f"{text} ({self.name}, {self.module.places.current}) {e}") from None
        if i.predicate:
            code = f"if ({i.predicate[0]}{self.register(i.predicate[1])[0]}) {{ {code} }}"
        self.code.append(code)

    def instruction(self, i):
        for translation in TRANSLATIONS:
            if code := translation(self, i):
                return code
        raise UnknownPart

    def label(self, name):
        return name.replace("$", "L_")

    @staticmethod
    def quote(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def place(self):
        return self.quote(self.module.places.current)

    def site(self, what, modes):
        self.sites.append((self.place(), what, modes))
        return f"active(mutation, {len(self.sites) - 1})"
