import re

SPACES = ("global", "shared", "local", "param", "const")


class UnknownInstruction(Exception):
    """An instruction has no translation. The message has its kernel and source position."""


class UnknownPart(Exception):
    """Part of an instruction has no translation."""


def split(text):
    """Splits text at the commas outside brackets."""
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
    """The source position of the last .loc, as text from the innermost inlined function outwards."""

    def __init__(self, text):
        self.files = {m[1]: m[2].rsplit("/", 1)[-1] for m in re.finditer(r'\.file\s+(\d+)\s+"([^"]+)"', text)}
        self.caller = {}
        self.current = "?"

    LOC = re.compile(
        r"\.loc\s+(\d+)\s+(\d+)\s+(\d+)(?:\s*,\s*function_name\s+[^,]+,\s*inlined_at\s+(\d+)\s+(\d+)\s+(\d+))?[^\n]*"
    )

    def update(self, loc):
        position, caller = loc.group(1, 2, 3), loc.group(4, 5, 6)
        self.caller[position] = caller if caller[0] else None
        chain = []
        while position and len(chain) < 8:
            chain.append(f"{self.files.get(position[0], '?')}:{position[1]}")
            position = self.caller.get(position)
        self.current = " < ".join(chain)


class Instruction:
    def __init__(self, text):
        predicate = re.match(r"@(!?)(%\w+)\s+", text)
        self.predicate = predicate and predicate.group(1, 2)
        self.op, _, operands = (text[predicate.end() :] if predicate else text).partition(" ")
        self.parts = self.op.split(".")
        self.name, self.type = self.parts[0], self.parts[-1]
        self.operands = split(operands)
        self.space_name = next((part for part in self.parts if part.split("::")[0] in SPACES), None)
        self.space = self.space_name and self.space_name.split("::")[0]
        self.is_shared_cluster = self.space_name == "shared::cluster"

    def has_modifier(self, *names):
        return any(part in self.parts for part in names)
