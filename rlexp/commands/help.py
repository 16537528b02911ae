"""What there is to choose from, and how to start"""

from __future__ import annotations

import ast
import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import yaml

from rlexp.config.hydra import choice_files
from rlexp.runtime.paths import CONF

FIRST_COMMANDS = {
    "python -m rlexp": "happy film reviews from a tiny model, on any laptop, in about a minute",
    "python -m rlexp algo=dpo seed=1": "another algorithm, another seed",
    "python -m rlexp -m algo=grpo,dpo seed=0,1": "all combinations, one run after the other",
    "python -m rlexp -m sweep=dpo_basics": "search for good settings with Optuna, in minutes",
    "python -m rlexp reward=python reward.function=my_reward:score": "a reward of your own",
    "python -m rlexp algo=dpo --cfg job": "the whole config with every key, without running it",
}
KEYS = {
    "seed": "of everything random",
    "train.max_steps": "optimizer steps",
    "train.batch_size": "sequences (or pairs) a step",
    "algo.learning_rate": "peak learning rate",
    "algo.beta": "how strongly the policy is held to where it started",
    "model.path": "folder or hub id of any model",
    "model.dtype": "of the weights",
    "data.path": "file or hub id of any data set",
    "reward.*": "the knobs of the chosen reward",
    "hardware.processes": "data-parallel processes",
    "tracking.uri": "MLflow's store",
    "eval.prompts": "held-out prompts that the card is made from",
    "sweep.n_trials": "trials of a sweep that end or are pruned",
    "sweep.n_jobs": "trials at once",
}


def run(argv: list[str]) -> int:
    """Print the help; return the exit status, 0."""
    print("\n".join(_lines()))
    return 0


def _lines() -> Iterator[str]:
    yield "rlexp: experiments with language models and reinforcement learning, from one command"
    yield "\n  python -m rlexp [group=choice] [key=value] …"
    yield "\nTo start from"
    for command, meaning in FIRST_COMMANDS.items():
        yield f"  {command}\n      {meaning}"
    for group, default in groups().items():
        chosen = "" if default is None else f"{default} unless you say otherwise"
        yield f"\n{group}={chosen}"
        yield from _table(choices(group))
    yield "\nKeys that everybody types"
    yield from _table(KEYS)
    yield "\nOther commands: python -m rlexp VERB"
    yield from _table(_verbs())


def groups() -> dict[str, str | None]:
    """Return each config group with its default choice; those that decide most first.

    In `config.yaml` what stands later wins.
    """
    config = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    defaults: dict[str, str] = {}
    for entry in config["defaults"]:
        defaults |= entry if isinstance(entry, dict) else {}
    folders = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())
    names = [group for group in reversed(defaults) if group in folders]
    names += [group for group in folders if group not in defaults and group != "hydra"]
    return {group: defaults.get(group) for group in names}


def choices(group: str) -> dict[str, str]:
    """Return the choices of a group, each with the first comment line of its yaml."""
    return {file.stem: _description(file) for file in choice_files(group)}


def _description(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        comments = (line.lstrip("# ").strip() for line in lines if line.startswith("#"))
        first = next((comment for comment in comments if not comment.startswith("@")), "")
    return re.sub(rf"^python -m rlexp (-m )?{file.parent.name}={re.escape(file.stem)}: ", "", first)


def _verbs() -> dict[str, str]:
    summaries = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        summaries[file.stem] = docstring.partition("\n")[0].rstrip(".")
    del summaries["__init__"]
    return summaries


def _table(rows: dict[str, str]) -> Iterator[str]:
    indent = 4 + max(map(len, rows), default=0)
    width = max(60, min(100, shutil.get_terminal_size().columns))
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    wrapper.subsequent_indent = " " * indent
    for name, meaning in rows.items():
        wrapper.initial_indent = f"  {name}".ljust(indent)
        yield wrapper.fill(meaning)
