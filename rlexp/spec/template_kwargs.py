"""Variables of a chat template: which ones it reads, and how they are set once for every caller.

Trainers, samplers and servers call a tokenizer's template in ways of their own, and some of TRL's
trainers take no variables for it. So the values become defaults inside of the template, which all
of them read alike: it then writes what it would if each call passed them. A caller who passes
another value is still heard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import model_of_run
from rlexp.spec.model import ModelSpec

KEY = "model.chat_template_kwargs"
PASSED = frozenset(
    ("messages", "tools", "documents", "add_generation_prompt", "continue_final_message")
)
"""What transformers passes to a template itself, beside the special tokens."""
FUNCTIONS = frozenset(("raise_exception", "strftime_now"))


def with_defaults(template: str, values: Mapping[str, Any]) -> str:
    """Return a chat template in which variables have these values where a caller passes none.

    >>> print(with_defaults("{{ mood }}", {"mood": "calm"}))
    {% if mood is not defined %}{% set mood = 'calm' %}{% endif %}
    {{ mood }}
    """
    # transformers' templates drop the line break behind a tag: the first line is as it was
    defaults = "".join(
        f"{{% if {name} is not defined %}}{{% set {name} = {value!r} %}}{{% endif %}}\n"
        for name, value in values.items()
    )
    return template if template.startswith(defaults) else defaults + template


def template_variables(template: str) -> set[str]:
    """Return the variables of a chat template that a caller can set.

    Raises:
        jinja2.TemplateSyntaxError: it is no template.
    """
    from jinja2 import meta
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Takes `{% generation %}`, which marks what a model has written, for what is in it."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    extensions = [Generation, "jinja2.ext.loopcontrols"]
    environment = ImmutableSandboxedEnvironment(extensions=extensions)
    read = meta.find_undeclared_variables(environment.parse(template))
    known = PASSED | FUNCTIONS | environment.globals.keys()
    return {name for name in read - known if not name.endswith("_token")}


def unread_kwargs(template: str, values: Mapping[str, Any]) -> list[Problem]:
    """Return a problem for each value that a chat template never reads.

    Args:
        template: Jinja; an empty one reads nothing.
        values: by the names of variables.
    """
    if not values:
        return []
    from jinja2 import TemplateSyntaxError

    try:
        known = template_variables(template)
    except TemplateSyntaxError as error:
        got = f"a template with a mistake in line {error.lineno}: {error.message}"
        return [Problem("model.chat_template", got, "a Jinja template", "Mend that line.")]
    problems = []
    for name in values:
        if name in known:
            continue
        near = get_close_matches(name, known, n=1)
        want = (
            f"a variable that the chat template reads: {', '.join(sorted(known)) or 'it has none'}"
        )
        remedy = f"Did you mean {KEY}.{near[0]}?" if near else "Leave it out."
        problems.append(
            Problem(f"{KEY}.{name}", "a name that the template never reads", want, remedy)
        )
    return problems


def local_template(model: ModelSpec) -> str | None:
    """Return the chat template of a model where it can be read without a tokenizer; else None.

    That is empty where a template without variables is taken or lent: rlexp's own.
    """
    if model.chat_template in ("plain", "chatml"):
        return ""
    if model.chat_template is not None:
        file = Path(model.chat_template).expanduser()
        return file.read_text(encoding="utf-8") if file.is_file() else None
    if model.tokenizer is None and model.path.startswith("builtin:"):
        return ""
    try:
        of_run = None if model.tokenizer else model_of_run(model.path, "model.path")
    except UserError:  # the check of the path has told of it
        return None
    return _folder_template(of_run or Path(model.tokenizer or model.path).expanduser())


def _folder_template(folder: Path) -> str | None:
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text(encoding="utf-8")
    if not (file := folder / "tokenizer_config.json").is_file():
        return None
    template = json.loads(file.read_text(encoding="utf-8")).get("chat_template") or ""
    return template if isinstance(template, str) else None
