"""Renders mathematics as MathML, which browsers show without a script."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert


def renderer(display):
    def visit(writer, node):
        writer.body.append(convert(node.astext(), display=display))
        raise SkipNode

    return visit, None


def setup(app):
    app.add_html_math_renderer("mathml", renderer("inline"), renderer("block"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
