"""The config to run now: the recorded one, held to what it turned out to mean then.

`hardware.threads: null`, say, took two threads on a machine of two cores, and the numbers depend on
it. Beyond that only what moves no number may be changed: where files lie now, the secrets that the
store does not hold, and the hardware.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlexp.config.stored import missing_secrets
from rlexp.reproduction.recorded import RecordedRun
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_paths, value_at
from rlexp.spec.peft import NoPeft
from rlexp.spec.run import RunSpec
from rlexp.tracking.provenance.manifest import Facts, code_digest
from rlexp.tracking.secrets import HIDDEN

PLACES = (
    "path",
    "heldout_path",
    "texts_path",
    "tokenizer",
    "chat_template",
    "teacher",
    "critic_path",
    "function",
)
"""Last names of keys that say where something lies."""
REPRODUCES = "reproduces"
"""Tag of the new MLflow run: the id of the one that it reproduces."""


@dataclass(frozen=True)
class Stage:
    """Config that is run in one go; a run that was extended has several."""

    config: dict[str, Any]
    spec: RunSpec
    held_to: dict[str, Any]
    """Keys that were left open, with what they turned out to be."""


def plan_reproduction(recorded: RecordedRun, words: list[str], uri: str) -> list[Stage]:
    """Return what to run, one after the other, to have the run again in the store at `uri`.

    Raises `UserError` for a word that would make it another run, a secret that is missing, or a
    config that is not valid here, as when a file is gone.
    """
    return [_stage(recorded, attempt, words, uri) for attempt in recorded.stages()]


def _stage(recorded: RecordedRun, attempt: Facts, words: list[str], uri: str) -> Stage:
    config = deepcopy(recorded.config) | deepcopy(attempt["settings"])
    tracking = config["tracking"]
    if tracking["registry"] == tracking["uri"]:
        tracking["registry"] = uri
    tracking["uri"] = uri
    tracking["tags"][REPRODUCES] = recorded.record.run_id
    resolved = attempt.get("resolved", {}).items()
    left_open = {key: value for key, value in resolved if value_at(config, key) != value}
    for key, value in left_open.items():
        _set_value(config, key, value)
    if left_open.get("peft.kind") == "none":
        config["peft"] = {name: config["peft"][name] for name in NoPeft.model_fields}
    changed = _overrides(words, config)
    for key, value in changed.items():
        _set_value(config, key, value)
    if missing := missing_secrets(config):
        raise UserError(missing)
    held_to = {key: value for key, value in left_open.items() if key not in changed}
    try:
        return Stage(config, RunSpec.parse(config), held_to)
    except UserError as error:
        explained = (_explained(problem, recorded.origin) for problem in error.problems)
        raise UserError(explained) from error


def _set_value(config: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        config = config[name]
    config[last] = value


def _overrides(words: list[str], config: dict[str, Any]) -> dict[str, Any]:
    known = list(key_paths(config))
    changed: dict[str, Any] = {}
    problems = []
    for word in words:
        key, equals, _ = word.partition("=")
        if not equals or key not in known:
            near = get_close_matches(key, known, n=1)
            remedy = f"Did you mean {near[0]}=…?" if near else ""
            problems.append(Problem(word, "no key of the run's config", "key=value", remedy))
            continue
        is_secret = isinstance(value := value_at(config, key), str) and HIDDEN in value
        if not (is_secret or key.startswith("hardware.") or key.rpartition(".")[2] in PLACES):
            want = f"what moves no number: hardware.*, a secret, or a place (…{', …'.join(PLACES)})"
            remedy = "With other settings it is another run: python -m rlexp …"
            problems.append(Problem(key, word, want, remedy))
            continue
        try:
            changed[key] = value_at(OmegaConf.to_container(OmegaConf.from_dotlist([word])), key)
        except OmegaConfBaseException as error:
            cause = str(error).splitlines()[0]
            problems.append(Problem(key, cause, "a value", "Put it in quotes."))
    if problems:
        raise UserError(problems)
    return changed


def _explained(problem: Problem, origin: Facts) -> Problem:
    """Return the problem, which also says where the run had its files."""
    remedy = ""
    if problem.key.rpartition(".")[2] in PLACES:
        elsewhere = f"add {problem.key}=PLACE if it lies elsewhere now."
        remedy = f"The run was started in {origin['directory']}; {elsewhere}"
    elif origin["code"] != code_digest():
        commit = (origin["git"] or {}).get("commit")
        checkout = f": git checkout {commit}" if commit else ""
        remedy = f"The code here is not that of the run{checkout}"
    return replace(problem, remedy=f"{problem.remedy} {remedy}".strip())
