"""The program in what a model wrote: fences, tags, prompts of a console, and prose around it."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from typing import Literal, NamedTuple

from rlexp.rewards.base import without_reasoning

_OPENING = re.compile(
    r"```(?:python3?|py)[ \t]+(?P<line>[^\n`]+)```|```(?P<inline>[^\n`]+)```"
    r"|(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^\n`]*)(?:\n|\Z)",
    re.IGNORECASE,
)
_PYTHON = re.compile(
    r"(?i:[^\w]*(?:language-|lang-)?(?:i?python[23]?(?:\.\d+)?|py[23]?|pycon|python-repl|sage)\b)"
)
_TAGS = re.compile(
    r"\[PYTHON\]\s*\n?(.*?)(?:\[/PYTHON\]|\Z)|<(answer|code|python|solution)>\s*\n?(.*?)</\2>"
    r"|^BEGIN\n(.*?)(?:^(?:DONE|END)\b|\Z)",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_PROMPTS = re.compile(r"^(?:>>> ?|\.\.\. ?)", re.MULTILINE)
_INPUT_LINES = re.compile(r"^(?:>>>|\.\.\.)", re.MULTILINE)
_MAGIC = re.compile(r"^[ \t]*[%!?][^\n=]*$", re.MULTILINE)


class _Block(NamedTuple):
    code: str
    is_labelled: bool
    """Whether its language is said, and is Python."""


def code_of(text: str, block: Literal["first", "last"], fenced: bool) -> str:
    """Return the program in a text: its first or last fenced block of Python.

    Reasoning is left out. Blocks that are labelled Python go before those without a language, which
    are often a program's output. A fence that is never closed goes to the end. A block that only
    tries out what an earlier one defines is none of its own, unless it is what runs it.

    Args:
        text: what the policy wrote.
        block: which one, of several.
        fenced: whether a text without any has no program; otherwise it is one itself.
    """
    text = without_reasoning(text.replace("\r\n", "\n"))
    blocks = _blocks(text)
    if not blocks and (tagged := list(_TAGS.finditer(text))):
        codes = [
            next(group for group in match.groups()[::-1] if group) for match in tagged if match[0]
        ]
        inside = [inner for code in codes for inner in _blocks(code)]
        blocks = inside or [_Block(code, True) for code in codes]
    if not blocks:
        if fenced:
            return ""
        return text if text[:1].isspace() else _mended(text)  # the body of what a prompt begins
    labelled = [each.code for each in blocks if each.is_labelled]
    codes = [_mended(code) for code in labelled or [each.code for each in blocks]]
    return codes[0] if block == "first" else _last_program(codes)


def _blocks(text: str) -> list[_Block]:
    """Return the blocks of Python, or of no language, in their order."""
    blocks, position = [], 0
    while (opening := _OPENING.search(text, position)) is not None:
        if opening["fence"] is None:
            blocks += [_Block(opening["line"], True)] if opening["line"] else []
            position = opening.end()
            continue
        info = opening["info"].strip()
        is_python = _PYTHON.match(info) is not None
        code, position = _content(text, opening.end(), opening["fence"], is_python)
        if is_python or not re.search(r"\w", info):
            blocks.append(_Block(code, is_python))
    return blocks


def _content(text: str, start: int, fence: str, is_python: bool) -> tuple[str, int]:
    """Return what stands before the closing fence, and where that ends.

    A fence inside of a string is none: of several the first one before which Python can be read.
    """
    closing = re.compile(
        rf"^[ \t]*{re.escape(fence)}{fence[0]}*[ \t]*$|{re.escape(fence)}", re.MULTILINE
    )
    ends = list(closing.finditer(text, start))
    alone = [end for end in ends if re.fullmatch(r"\s*[`~]+\s*", _line_at(text, end.start()))]
    candidates = alone or ends
    if not candidates:
        return text[start:], len(text)
    chosen = candidates[0]
    if is_python and not _parses(_mended(text[start : chosen.start()])):
        readable = (end for end in candidates if _parses(_mended(text[start : end.start()])))
        chosen = next(readable, min(ends, key=lambda end: end.start()))
    return text[start : chosen.start()], chosen.end()


def _line_at(text: str, position: int) -> str:
    end = text.find("\n", position)
    return text[text.rfind("\n", 0, position + 1) + 1 : end if end >= 0 else len(text)]


def _mended(code: str) -> str:
    """Return code without what keeps it from being Python: indentation, prompts, magic words."""
    if _parses(code):
        return code
    dedented = textwrap.dedent(code.strip("\n")).rstrip() + "\n"
    if _INPUT_LINES.match(dedented):
        lines = [line for line in dedented.splitlines() if _INPUT_LINES.match(line)]
        dedented = _PROMPTS.sub("", "\n".join(lines) + "\n")
    without_magic = _MAGIC.sub("", dedented)
    return next((each for each in (dedented, without_magic) if _parses(each)), code)


def _parses(code: str) -> bool:
    return _tree(code) is not None


def _tree(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _last_program(codes: list[str]) -> str:
    """Return the last block that is a program, with the earlier ones that it needs before it."""
    defined = [_defines(code) for code in codes]
    for index in range(len(codes) - 1, 0, -1):
        tree = _tree(codes[index])
        if tree is None:
            return codes[index]
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - defined[index]
        needed = [code for code, names in zip(codes[:index], defined, strict=False) if used & names]
        if not needed:
            return codes[index]
        earlier = set[str]().union(*defined[:index])
        if any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body):
            return "\n".join([*needed, codes[index]])
        if _runs_program(tree, earlier):
            return "\n".join([*needed, codes[index]])
    return codes[0]


def _defines(code: str) -> set[str]:
    tree = _tree(code)
    nodes = tree.body if tree else []
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _runs_program(tree: ast.Module, earlier: set[str]) -> bool:
    """Return whether a block reads standard input, or calls the whole of what stands before."""
    names = {
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)
    }
    if names & {"input", "sys.stdin", "__name__"}:
        return True
    calls = [node.value for node in tree.body if isinstance(node, ast.Expr)]
    return any(
        isinstance(call, ast.Call) and ast.unparse(call.func) in earlier and not call.args
        for call in calls
    )
