import re

SPACES = ("global", "shared", "local", "param", "const")


class UnknownInstruction(Exception):
    """A PTX instruction cannot be translated. The message names its kernel and its position in the source."""


class UnknownPart(Exception):
    """A part of a PTX instruction cannot be translated."""


def split(text):
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
    """Keeps the source position of the current PTX instruction, from the directives .loc.

    "a.h:7 < b.cu:30" lies in a function that was inlined at b.cu:30.
    """

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
