"""Configuration of Sphinx for `make docs`. Sphinx reads the API from the sources without an import, and the site
fetches nothing from other sites."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

project = "pixelrnn_ext"
author = "The pixelrnn_ext authors"
copyright = author
release = version = re.search(r'^version = "(.*)"$', (HERE.parent / "pyproject.toml").read_text(), re.MULTILINE)[1]

extensions = ["myst_parser", "sphinx.ext.napoleon", "autoapi.extension", "mathml", "notebook"]

# The same as on GitHub: dollars enclose mathematics, and anchors are named after headings.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autoapi_dirs = ["../pixelrnn_ext"]
autoapi_generate_api_docs = False  # the pages in api/ say what is public, and in which order
autoapi_member_order = "bysource"
autoapi_python_class_content = "class"
autoapi_add_toctree_entry = False
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
add_module_names = False
suppress_warnings = ["autoapi.python_import_resolution"]  # of constants, which are on no page
napoleon_use_rtype = False
napoleon_preprocess_types = False

# A broken reference in a docstring is an error. References to torch and Python have no target on this site.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(torch|nn|collections|pathlib|typing)\..*"),
    ("py:class", r"pixelrnn_ext\.(incremental|models\.(autoregressive|blocks))\..*"),
    ("py:class", r"(.*\.)?(Progress|SamplerFunction|SampledModel|Matrix|Packed)"),
    ("py:.*", r"(Tensor|Device|Any|Callable|Iterable|None|bool|dict|float|int|str|tuple|list|object)"),
    ("py:exc", r".*(Error|Interrupt)"),
]

highlight_language = "none"  # a block without a language has commands
html_theme = "furo"
html_title = f"{project} {version}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]


# {file that a page includes: the page}. Links name the file, for GitHub.
INCLUDED = {
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
    "../pixelrnn_ext/pretrained/README.md": "pretrained.md",
}


def setup(app):
    def lead_to_the_page(_, page, source):
        for file, including in INCLUDED.items():
            source[0] = source[0].replace(f"]({file}", f"]({including}")

    app.connect("source-read", lead_to_the_page)
