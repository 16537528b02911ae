"""What an error advises, done as it is written: commands are run, keys set, flags left away.

A remedy is read as a reader would: `key=value` is typed in the place of what was typed for that
key, `python -m rlexp …` is run, "Did you mean X?" is X in the place of the wrong word. Where a
remedy offers several ways, each of them must lead past the error.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import hydra
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

import rlexp
from rlexp.__main__ import verbs
from rlexp.cli import exit_status, pipeline
from rlexp.cli.command_line import check_command
from rlexp.cli.flags import check_flags
from rlexp.cli.pipeline import is_pipeline
from rlexp.launch import launcher
from rlexp.spec.errors import Problem, UserError

PACKAGE = Path(rlexp.__file__).parent
COMMAND_LIKE = re.compile(
    r"python -m rlexp|pip install|mkdir|export |--\w|[a-z_]+(?:[./][\w<>]+)*=[^\s=]"
)
_COMMAND = re.compile(
    r"python -m rlexp((?: (?!to |lists|and |shows|tells|sets|there)(?:'[^']*'|[^\s`;,'])+)*)"
)
_SETTING = re.compile(r"'([^']+=[^']*)'|(?<![\w.$/])(\+?[a-z][\w./@]*=(?:\[[^]]*\]|[^\s,;`')]+))")
_MEANT = re.compile(r"Did you mean (\S+)\?")
_WAYS = re.compile(r",? or (?=[a-z+'`-])|; or |; |(?<=\w)\. (?=[A-Z])")


@dataclass(frozen=True)
class Typed:
    """A command: its words, and variables of the environment."""

    words: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)

    def setting(self, word: str) -> Typed:
        """The command with a setting in the place of others of its key."""
        key = word.lstrip("+").partition("=")[0]
        kept = [old for old in self.words if old.lstrip("+~").partition("=")[0] != key]
        return Typed((*kept, word), self.variables)

    def without(self, word: str) -> Typed:
        """The command without a word, or without a key."""
        kept = [old for old in self.words if word not in (old, old.lstrip("+").partition("=")[0])]
        return Typed(tuple(kept), self.variables)


Told = dict[tuple[str, str], Problem]
"""The mistakes that a command was told, by key and by the place in the code that words them."""


_composed: dict[tuple[object, ...], Any] = {}


@contextmanager
def composed_once() -> Iterator[None]:
    """In the block, Hydra composes the same choices of groups no second time.

    Values (`++key=value`) are put on top by what Hydra itself does that with, as its last step.
    """
    compose = hydra.compose

    def remembered(name: str, overrides: list[str], return_hydra_config: bool = False) -> Any:
        loader = GlobalHydra.instance().config_loader()
        values = [override for override in overrides if override.startswith("++")]
        chosen = [override for override in overrides if override not in values]
        key = (*map(repr, loader.get_search_path().get_path()), name, *chosen, return_hydra_config)
        if key not in _composed:
            _composed[key] = compose(name, chosen, return_hydra_config)
        config = deepcopy(_composed[key])
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(values)
        ConfigLoaderImpl._apply_overrides_to_config(parsed, config)
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hydra, "compose", remembered)
        yield


@contextmanager
def recorded_sites() -> Iterator[dict[str, str]]:
    """The places (`file:function`) in which the mistakes made in the block were put in words."""
    sites: dict[str, str] = {}
    original = Problem.__init__

    def recording(self: Problem, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        frame: Any = sys._getframe(1)
        while frame and not frame.f_code.co_filename.startswith(str(PACKAGE)):
            frame = frame.f_back
        if frame:
            path = Path(frame.f_code.co_filename).relative_to(PACKAGE.parent)
            function = frame.f_code.co_qualname.partition(".<locals>.<")[0].rpartition(".")[2]
            sites.setdefault(f"{self.got}\n{self.want}", f"{path}:{function}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Problem, "__init__", recording)
        yield sites


def told(typed: Typed) -> Told:
    """What is said of a command in the current folder; a run is checked and not begun."""
    with recorded_sites() as sites, composed_once(), pytest.MonkeyPatch.context() as patch:
        for name, value in typed.variables.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["rlexp", *typed.words])
        patch.setattr(exit_status, "_report", _raise)
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                _check(list(typed.words))
        except UserError as error:
            return {
                (problem.key, sites.get(f"{problem.got}\n{problem.want}", "")): problem
                for problem in error.problems
            }
    return {}


def _raise(headline: str, error: Exception) -> NoReturn:
    """Let what a verb would print be looked at."""
    raise error


class Begun(Exception):
    """A run that would begin now: its command was right."""


def _begin(*arguments: object) -> NoReturn:
    raise Begun


def _check(words: list[str]) -> None:
    if {"-h", "--help"} & set(words):
        return
    if words and words[0] in verbs():
        with pytest.MonkeyPatch.context() as patch, suppress(Begun):
            patch.setattr(launcher, "launch", _begin)
            patch.setattr(launcher, "launch_new_run", _begin)
            import_module(f"rlexp.commands.{words[0]}").run(words[1:])
        return
    if is_pipeline(words):
        pipeline.run_words([*words, "--cfg", "job"])
        return
    from hydra._internal.utils import get_args_parser

    arguments = get_args_parser().parse_args(words)
    check_flags(arguments)
    check_command(arguments)


def ways(problem: Problem, typed: Typed, values: Mapping[str, str]) -> dict[str, Typed]:
    """The commands that a remedy advises, each by its words in the remedy.

    Args:
        problem: with its remedy.
        typed: the command that has it.
        values: what a reader would put for placeholders such as FOLDER.
    """
    remedy = problem.remedy
    for name, value in values.items():
        remedy = remedy.replace(name, value)
    found: dict[str, Typed] = {}
    for match in _COMMAND.finditer(remedy):
        found[match[0]] = Typed(tuple(shlex.split(match[1])), typed.variables)
    for way in _WAYS.split(_COMMAND.sub("", remedy)):
        changed = _followed(way, problem, typed)
        if changed != typed:
            found[way] = changed
    return found


def _followed(way: str, problem: Problem, typed: Typed) -> Typed:
    if match := re.search(r"[Ll]eave (?!it |all )(\S+) away", way):
        return typed.without(match[1])
    if way.startswith("Leave it out"):
        return typed.without(problem.key)
    if match := re.match(r"(\d+) is the nearest", way):
        return typed.setting(f"{problem.key}={match[1]}")
    if match := re.search(r"Type (--[\w-]+) (\S+?)[,.]?$", way):
        at = typed.words.index(match[1]) + 1
        return Typed((*typed.words[:at], match[2], *typed.words[at + 1 :]), typed.variables)
    if match := re.search(r"export (\w+)=(\S+)", way):
        return Typed(typed.words, {**typed.variables, match[1]: match[2].rstrip(".")})
    if match := re.search(r"mkdir -p ([^)]+)", way):
        Path(shlex.split(match[1])[0]).mkdir(parents=True, exist_ok=True)
        return Typed(typed.words, {**typed.variables, "MADE": "1"})
    if match := re.search(r"Add (-[-\w]+(?: job)?)", way):
        verb = typed.words[:1] if typed.words[0] in verbs() else ()
        return Typed((*verb, *match[1].split(), *typed.words[len(verb) :]), typed.variables)
    if (match := _MEANT.search(way)) and "=" not in match[1]:
        return _with_meant(match[1].strip("…="), problem, typed)
    if "in its place" in way:
        typed = typed.without(problem.key)
    for match in _SETTING.finditer(way):
        word = (match[1] or match[2]).rstrip(".?:")
        if "…" not in word:
            typed = typed.setting(word)
    return typed


def _with_meant(meant: str, problem: Problem, typed: Typed) -> Typed:
    """The command with what was meant in the place of a wrong value, or of a wrong key."""
    words = {word.lstrip("+").partition("=")[0]: word for word in typed.words}
    key, _, value = words.get(problem.key, "").partition("=")
    if value and value == problem.got:
        return typed.setting(f"{key}={meant}")
    return typed.without(key).setting(f"{meant}={value}")


def advising_sites() -> dict[str, str]:
    """Each place (`file:function`) that words an error with a command-like remedy; the remedy."""
    trees = {file: ast.parse(file.read_text()) for file in sorted(PACKAGE.rglob("*.py"))}
    sites: dict[str, str] = {}
    for file, tree in trees.items():
        constants = _assigned(tree.body)
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                known = constants | _assigned(ast.walk(function))
                for call in ast.walk(function):
                    remedy = _remedy_of(call)
                    if remedy is not None and COMMAND_LIKE.search(text := _text(remedy, known)):
                        sites[f"{file.relative_to(PACKAGE.parent)}:{function.name}"] = text
    return sites


def _remedy_of(node: ast.AST) -> ast.expr | None:
    place = {"Problem": 3, "RunFailed": 2}
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return None
    index = place.get(node.func.id, len(node.args))
    return node.args[index] if index < len(node.args) else None


def _assigned(nodes: Sequence[ast.stmt] | Iterator[ast.AST]) -> dict[str, list[ast.expr]]:
    values: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=True))
                for name, value in pairs:
                    if isinstance(name, ast.Name):
                        values.setdefault(name.id, []).append(value)
    return values


def _text(expression: ast.expr, known: Mapping[str, list[ast.expr]]) -> str:
    """The literal parts of an expression, those of the names in it included."""
    parts: list[str] = []
    for node in ast.walk(expression):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts.append(node.value)
        elif isinstance(node, ast.Name):
            parts += [_text(value, {}) for value in known.get(node.id, [])]
    return " ".join(parts)
