import re

SPACES = ("global", "shared", "local", "param", "const")


class UnknownInstruction(Exception):
    """An unknown instruction, with its kernel and source position."""


class Unknown(Exception):
    """The unknown part of an instruction."""


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
    """Source positions of .loc, as text from the innermost inlined function outwards."""

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
