"""Reports sentences of more than 40 words, and fragments that begin with words such as "Of".

It reads comments, docstrings and Markdown.
"""

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

FOLDERS = (".ci", ".github", "benchmarks", "build_tools", "csrc", "docs", "examples", "pixelrnn_ext", "tests")
MOST_WORDS = 40
FRAGMENT = re.compile(r"(Of|That of|Those of|As|What) ")


def python(text):
    """Yields (line, text) for each paragraph of a docstring and for each comment."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            yield from markdown(ast.get_docstring(node, clean=False), node.body[0].lineno)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = (token for token in tokens if token.type == tokenize.COMMENT)
    yield from join_comments((c.start[0], c.line[: c.start[1]].strip(), c.string[1:]) for c in comments)


def comment_reader(mark):
    comment = re.compile(rf"(|.*?\s){mark}(\s.*|)")
    return lambda text: join_comments(
        (n, found[1].strip(), found[2])
        for n, line in enumerate(text.splitlines(), 1)
        if (found := comment.fullmatch(line))
    )


def join_comments(comments):
    """Joins comments on adjacent lines. Leaves out indented lines, which belong to tables.

    ``comments`` yields (line, code before the comment, text).
    """
    found, last = [], -1
    for line, code, comment in comments:
        if code or line != last + 1 or not comment.strip():
            found.append((line, [comment]))
        elif not comment.startswith("  "):
            found[-1][1].append(comment)
        last = -1 if code else line
    return [(line, " ".join(lines)) for line, lines in found]


def markdown(text, first=1):
    """Yields (line, text) for each paragraph and list item. Leaves out code, tables, headings and formulas."""
    text = re.sub(
        r"^( *)(```|\$\$).*?^ *\2$", lambda code: "\n" * code[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL
    )
    prose = r"(?:^(?! *(?:\||#|>>>|\.\.\.|::|<|=)|    (?! *[-*\d])).*\S.*\n?)+"
    for paragraph in re.finditer(prose, text, flags=re.MULTILINE):
        line = first + text.count("\n", 0, paragraph.start())
        for item in re.split(r"^(?= *(?:[-*]|\d+\.) )", paragraph[0], flags=re.MULTILINE):
            yield line, re.sub(r"^ *(?:[-*]|\d+\.) ", "", item)
            line += item.count("\n")


READERS = {
    ".md": markdown,
    **dict.fromkeys((".py", ".pyi"), python),
    **dict.fromkeys((".h", ".cpp", ".cu", ".cuh"), comment_reader("//")),
    **dict.fromkeys((".yml", ".yaml", ".toml", ""), comment_reader("#")),
}


def find_faults(text):
    text = re.sub(r"``?[^`]+``?|\[([^]]*)\]\([^)]*\)", lambda code: code[1] or "code", " ".join(text.split()))
    sentences = re.split(r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?:])[)*\"']*\s+", text)
    fragments = [f"a fragment: {s[:80]}" for s in sentences if FRAGMENT.match(s) and not s.endswith("?")]
    return fragments + [f"{len(s.split())} words: {s[:80]}" for s in sentences if len(s.split()) > MOST_WORDS]


def main():
    paths = [path for folder in FOLDERS for path in sorted(Path(folder).rglob("*"))] + sorted(Path().iterdir())
    bad = False
    for path in paths:
        if path.suffix in READERS and path.is_file():
            for line, text in READERS[path.suffix](path.read_text()):
                for fault in find_faults(text):
                    print(f"{path}:{line}: {fault}")
                    bad = True
    return bad


if __name__ == "__main__":
    sys.exit(main())
