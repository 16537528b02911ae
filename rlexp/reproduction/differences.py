"""Differences of the environment: what is other than it was for the run, and how to undo it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from rlexp.reproduction.recorded import RecordedRun
from rlexp.runtime.run_folder import GIT_DIFF, PACKAGES, SOURCES
from rlexp.tracking.provenance import environment
from rlexp.tracking.provenance.manifest import Facts
from rlexp.tracking.secrets import redacted

NUMBERS = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "bitsandbytes",
    "vllm",
    "deepspeed",
    "triton",
    "numpy",
    "scipy",
    "datasets",
    "vadersentiment",
)
"""Packages whose version can move a run's numbers; the others are listed after these."""

Fetch = Callable[[str], str]
"""From the path of an artifact to the command that downloads it into `_FETCHED`."""
_FETCHED = "was"


@dataclass(frozen=True)
class EnvironmentDifference:
    """One thing that is not as it was. Its fields are those of `reproduction.json`."""

    what: str
    then: str
    here: str
    remedy: str = ""


def environment_differences(
    recorded: RecordedRun, current: Facts, uri: str
) -> list[EnvironmentDifference]:
    """Return all in which `current` is not as the run's last attempt; what moves numbers first.

    The facts are as `tracking.provenance.manifest` tells them; others are not compared. Commands
    fetch files from the run's store at `uri`.
    """
    then = recorded.origin

    def fetch(artifact: str) -> str:
        run, path = recorded.record.run_id, shlex.quote(artifact)
        download = f"mlflow artifacts download -r {run} -a {path} -d {_FETCHED}"
        return f"MLFLOW_TRACKING_URI={shlex.quote(redacted(uri))} {download}"

    return [
        *_code(then, current, fetch),
        *_sources(then, current, fetch),
        *_files(then, current),
        *_weights(then, current),
        *_data(then, current),
        *_packages(recorded.packages, fetch),
        *_machine(then, current),
        *_environment(then, current),
    ]


def differing_attempts(recorded: RecordedRun) -> list[str]:
    """Return, in words, what changed between the attempts of a run that was resumed."""
    notes = []
    names = {"code": "the code", "cpu": "the CPU", "python": "Python", "gpus": "the GPUs"}
    for number, (a, b) in enumerate(zip(recorded.attempts, recorded.attempts[1:], strict=False), 1):
        changed = [name for key, name in names.items() if a.get(key) != b.get(key)]
        before, after = (attempt.get("resolved", {}) for attempt in (a, b))
        changed += [key for key in before.keys() & after.keys() if before[key] != after[key]]
        if changed:
            listed = ", ".join(changed)
            notes.append(f"attempt {number + 1} went on with other conditions: {listed}")
    return notes


def _differing(then: Facts, current: Facts) -> list[str]:
    return sorted(key for key in then.keys() & current.keys() if then[key] != current[key])


def _code(then: Facts, current: Facts, fetch: Fetch) -> Iterator[EnvironmentDifference]:
    a, b = then["git"], current["git"]
    if then["code"] != current["code"]:
        what, was, now = "rlexp's own code and configs", _state(then), _state(current)
        install = "" if a else "Install the version of rlexp that the run had."
        yield EnvironmentDifference(what, was, now, install)
    if a is None or b is None:
        return
    # What stands here must be out of the way first.
    tidy = "git stash --include-untracked && " if b["diff"] else ""
    if a["commit"] != b["commit"]:
        checkout = f"{tidy}git checkout {a['commit']}" if a["commit"] else ""
        yield EnvironmentDifference("commit", _short(a["commit"]), _short(b["commit"]), checkout)
        tidy = ""
    if a["diff"] != b["diff"]:
        apply = f"{fetch(GIT_DIFF)} && git apply {_FETCHED}/{GIT_DIFF}"
        remedy = tidy + apply if a["diff"] else tidy.removesuffix(" && ")
        if a["diff"] and not a["restorable"]:
            remedy = "The run's git.diff lacks secrets, or its end: to be read, not to be applied."
        what = "uncommitted changes"
        yield EnvironmentDifference(what, _short(a["diff"]), _short(b["diff"]), remedy)


def _state(facts: Facts) -> str:
    git = facts["git"]
    if git is None:
        return _short(facts["code"])
    return _short(git["commit"]) + (" and changes" if git["diff"] else "")


def _short(digest: str | None) -> str:
    return digest[:8] if digest else "none"


def _sources(then: Facts, current: Facts, fetch: Fetch) -> Iterator[EnvironmentDifference]:
    a, b = then["sources"], current["sources"]
    for name in _differing(a, b):
        path = f"{SOURCES}/{name}"
        copy = f"cp {shlex.quote(f'{_FETCHED}/{path}')} {shlex.quote(name)}"
        what, remedy = f"your code in {name}", f"{fetch(path)} && {copy}"
        yield EnvironmentDifference(what, _short(a[name]), _short(b[name]), remedy)


def _files(then: Facts, current: Facts) -> Iterator[EnvironmentDifference]:
    a, b = then["files"], current["files"]
    for key in _differing(a, b):
        was, now = _short(a[key]), _short(b[key])
        yield EnvironmentDifference(f"file of {key}", was, now, "Bring it back.")


def _weights(then: Facts, current: Facts) -> Iterator[EnvironmentDifference]:
    """Compare the folders that the config names, before the run; what was loaded, after it."""
    for kind, what in (("folders", "model in {}"), ("weights", "weights loaded for {}")):
        a, b = then.get(kind, {}), current.get(kind, {})
        for key in _differing(a, b):
            if a[key]["digest"] == b[key]["digest"]:
                continue
            remedy = ""
            if a[key]["commit"]:
                remedy = f"It was commit {a[key]['commit']} on the hub."
            elif kind == "folders":
                remedy = f"It was {a[key]['folder']}; add {key}=FOLDER if it lies elsewhere now."
            was, now = _short(a[key]["digest"]), _short(b[key]["digest"])
            yield EnvironmentDifference(what.format(key), was, now, remedy)


def _data(then: Facts, current: Facts) -> Iterator[EnvironmentDifference]:
    a, b = then.get("data"), current.get("data")
    if a and b and a["digest"] != b["digest"]:
        was, now = (f"{rows['rows']} rows, {_short(rows['digest'])}" for rows in (a, b))
        remedy = f"Bring back the rows of {a['source']} as they were."
        yield EnvironmentDifference("data", was, now, remedy)


def _packages(then: dict[str, str], fetch: Fetch) -> Iterator[EnvironmentDifference]:
    installed = dict(line.split("==", 1) for line in environment.installed_packages())
    a, b = (
        {str(canonicalize_name(name)): version for name, version in versions.items()}
        for versions in (then, installed)
    )
    changed = [name for name in a if a[name] != b.get(name) and name != "rlexp"]
    first = [name for name in NUMBERS if name in changed]
    first += sorted(name for name in changed if name.startswith("nvidia-"))
    others = sorted(set(changed) - set(first))
    wanted = " ".join(f"{name}=={a[name]}" for name in first)
    install = f"{fetch(PACKAGES)} && python -m pip install -r {_FETCHED}/{PACKAGES}"
    remedies = [(first, f"python -m pip install {wanted}"), (others, install)]
    for names, remedy in remedies:
        for name in names:
            yield EnvironmentDifference(name, a[name], b.get(name, "not installed"), remedy)


def _machine(then: Facts, current: Facts) -> Iterator[EnvironmentDifference]:
    if then["python"] != current["python"]:
        remedy = f"Make an environment with Python {then['python']}."
        yield EnvironmentDifference("Python", then["python"], current["python"], remedy)
    names = {"system": "system", "cpu": "CPU", "gpus": "GPUs"}
    for key, name in names.items():
        if then[key] != current[key]:
            yield EnvironmentDifference(name, _text(then[key]), _text(current[key]))
    built = then.get("torch", {})
    for key, value in current.get("torch", {}).items():
        if built.get(key) != value:
            yield EnvironmentDifference(f"torch's {key}", _text(built.get(key)), _text(value))
    a, b = then.get("resolved", {}), current.get("resolved", {})
    for key in _differing(a, b):
        remedy = f"Leave {key} to the run's own."
        yield EnvironmentDifference(key, _text(a[key]), _text(b[key]), remedy)


def _environment(then: Facts, current: Facts) -> Iterator[EnvironmentDifference]:
    a, b = then["environment"], current["environment"]
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            export = f"export {name}={shlex.quote(a[name])}" if name in a else f"unset {name}"
            was, now = a.get(name, "not set"), b.get(name, "not set")
            yield EnvironmentDifference(name, was, now, export)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(_text(part) for part in value.values() if part not in (None, [], ""))
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "not known" if value is None else str(value)
