from .parser import UnknownPart, elements
from .types import TYPES, size_of


def memory(kernel, i):
    t = i.type
    if i.name not in ("ld", "st"):
        return None
    cache_hints = [part for part in i.parts if part.startswith(("L1::", "L2::"))]
    known = ["ld", "st", "volatile", "nc", "cg", "v2", "v4", t, *cache_hints, i.space_name]
    if unknown := [part for part in i.parts if part not in known]:
        raise UnknownPart(".".join(unknown))
    size = size_of(t)
    data, pointer = i.operands if i.name == "ld" else reversed(i.operands)
    count, where = len(elements(data)), kernel.address(pointer, i)
    code = f"read_only_load(p, {kernel.place()}); " if i.has_modifier("nc") else ""
    if i.space in (None, "global", "shared"):
        code += f"access(p, {size * count}, {'true' if i.name == 'st' else 'false'}, {kernel.place()}); "
    if i.name == "ld":
        code += kernel.assign_all(data, f"load<{TYPES[t]}>(p + {size} * {{}})", t)
        return f"{{ const Byte* p = {where}; {code} }}"
    code += " ".join(f"store<{TYPES[t]}>(p + {size * k}, {kernel.value(x, t)});" for k, x in enumerate(elements(data)))
    guard = f"if (!{kernel.site('store to a peer', 'dropped')}) " if i.is_shared_cluster else ""
    return f"{guard}{{ Byte* p = {where}; {code} }}"
