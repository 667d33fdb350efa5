"""Reads notebooks as MyST, with their stored outputs. Sphinx runs no cell, and needs no Jupyter."""

import json
import re


def to_myst(notebook):
    parts, heading = [], ""  # the last heading is the text for readers who do not see the pictures
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            heading = (re.findall(r"^#+ (.*)", text, re.MULTILINE) or [heading])[-1]
        else:
            parts.append(f"```python\n{text}\n```")
            parts += [shown for output in cell["outputs"] for shown in outputs(output, heading)]
    return "\n\n".join(parts)


def outputs(output, heading):
    if output["output_type"] == "stream":
        yield f"```{{code-block}} none\n:class: output\n\n{''.join(output['text']).rstrip()}\n```"
    elif png := output.get("data", {}).get("image/png"):
        yield f"![{heading}](data:image/png;base64,{''.join(png).strip()})"


def setup(app):
    def read(app, name, source):
        if app.env.doc2path(name).suffix == ".ipynb":
            source[0] = to_myst(json.loads(source[0]))

    app.add_source_suffix(".ipynb", "markdown")
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
