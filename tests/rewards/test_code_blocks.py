"""Which part of a completion is the program."""

from __future__ import annotations

import pytest

from rlexp.rewards.common.code_blocks import code_of

F = "```"
P = "def f(x):\n    return x * x\n"
PART = "def g(x):\n    return x * x\n"
OTHER = "def f(x):\n    return 0\n"

SHAPES = {
    "plain": P,
    "label": f"{F}python\n{P}{F}",
    "capital": f"{F}Python\n{P}{F}",
    "version": f"{F}python3\n{P}{F}",
    "dotted version": f"{F}python3.11\n{P}{F}",
    "ipython": f"{F}ipython\n{P}{F}",
    "py": f"{F}py\n{P}{F}",
    "space before the label": f"{F} python\n{P}{F}",
    "no label": f"{F}\n{P}{F}",
    "unclosed": f"Here:\n{F}python\n{P}",
    "tilde": f"~~~python\n{P}~~~",
    "four back-ticks": f"{F}`python\n{P}{F}`",
    "four around three": f"{F}`python\n# {F}\n{P}{F}`",
    "carriage returns": f"{F}python\r\n{P}{F}\r\n".replace("\n", "\r\n").replace("\r\r", "\r"),
    "fence in a line": f"The code is {F}python\n{P}{F}",
    "closed in a line": f"{F}python\ndef f(x):\n    return x * x{F}",
    "in a list": f"1. Do this:\n   {F}python\n   def f(x):\n       return x * x\n   {F}",
    "quoted": f"{F}python\n    def f(x):\n        return x * x\n{F}",
    "attributes": f"{F}{{.python}}\n{P}{F}",
    "many attributes": f"{F}{{.python .numberLines startFrom='1'}}\n{P}{F}",
    "title": f'{F}python title="a.py"\n{P}{F}',
    "file name": f"{F}python:solution.py\n{P}{F}",
    "language-": f"{F}language-python\n{P}{F}",
    "output": f"{F}python\n{P}{F}\nOutput:\n{F}\n4\n{F}",
    "output with a label": f"{F}python\n{P}{F}\nOutput:\n{F}text\n4\n{F}",
    "summary": f"{F}python\n{P}{F}\n{F}markdown\n# Done\n{F}",
    "usage": f"{F}python\n{P}{F}\nUsage:\n{F}python\nprint(f(2))\n{F}",
    "usage that fails": f"{F}python\n{P}{F}\nTest:\n{F}python\nassert f(2) == 5\n{F}",
    "usage in names": f"{F}python\n{P}{F}\n{F}python\ny = f(3)\nprint(y)\n{F}",
    "two parts": f"{F}py\n{PART}{F}\n{F}py\ndef f(x):\n    return g(x)\n{F}",
    "a second attempt": f"{F}python\n{OTHER}{F}\nNo, wrong:\n{F}python\n{P}{F}",
    "shell": f"{F}python\n{P}{F}\n{F}bash\npip install x\n{F}",
    "shell first": f"{F}bash\npip install x\n{F}\n{F}python\n{P}{F}",
    "answer tag": f"<think>hm</think><answer>\n{F}python\n{P}{F}\n</answer>",
    "answer tag alone": f"<answer>\n{P}</answer>",
    "code tag": f"<code>\n{P}</code>",
    "[PYTHON]": f"[PYTHON]\n{P}[/PYTHON]",
    "[PYTHON] unclosed": f"[PYTHON]\n{P}",
    "reasoning": f"<think>\n{F}python\n{OTHER}{F}\n</think>\n{F}python\n{P}{F}",
    "reasoning that the prompt opens": f"{F}python\n{OTHER}{F}\n</think>\n{F}python\n{P}{F}",
    "reasoning after it": f"{F}python\n{P}{F}\n<think>{F}python\n{OTHER}{F}",
    "one line": f"{F}python def f(x): return x * x{F}",
    "BEGIN": f"BEGIN\n{P}DONE",
    "console": f"{F}python\n>>> def f(x):\n...     return x * x\n...\n>>> f(2)\n4\n{F}",
    "console's label": f"{F}pycon\n>>> def f(x):\n...     return x * x\n{F}",
    "fence in a string": f"{F}python\ndef f(x):\n    s = '''\n{F}\n'''\n    return x * x\n{F}",
    "notebook": f"{F}python\n%timeit 1\n!pip install x\n{P}{F}",
    "prose behind": f"{F}python\n{P}{F}\nIt uses `x * x`.",
    "inline code": f"Take `f`: {F}f(x){F} is:\n{F}python\n{P}{F}",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_right_program_is_found_in_every_shape(shape: str) -> None:
    """An output block taken for the program; an indentation that is no Python."""
    names: dict[str, object] = {}
    exec(code_of(shape, "last", fenced=False), names)
    assert names["f"](3) == 9  # pyright: ignore[reportCallIssue] - a function


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\n{F}python\n{P}",
        f"{F}bash\nls\n{F}",
        f"{F}cpp\nint main() {{}}\n{F}",
        f"{F}python\n{F}",
        "",
    ],
)
def test_there_may_be_none(text: str) -> None:
    """A draft in reasoning that was cut, or another language's block, run as the answer."""
    assert not code_of(text, "last", fenced=True).strip()


def test_what_runs_a_program_belongs_to_it() -> None:
    """A program by standard input without the line that starts it."""
    blocks = f"{F}python\ndef solve():\n    return 1\n{F}\nand\n{F}python\nsolve()\n{F}"
    assert code_of(blocks, "last", fenced=True).splitlines()[-1] == "solve()"
