"""Run the config of an earlier run again, as it stands or with changes

`python -m rlexp rerun FILE|RUN [key=value …]`: FILE is a run's config.yaml or a sweep's best.yaml;
RUN is a run's folder, its MLflow id or the id's beginning, or its name; the folder of a sweep means
its best trial. The run gets a folder of its own. On the same CPU it comes to the same numbers, bit
for bit, as long as code, packages and data are the same: whether they are is not looked at, which
`python -m rlexp reproduce` does.

Any key may be changed behind it, and curriculum=, data=, eval=, hardware=, peft=, reward= and
tracking= be chosen anew. `tracking.uri=URI` is where the new run goes, and where an id or a name is
looked up.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rlexp.cli.arguments import Parser, lookup_store
from rlexp.cli.exit_status import import_from_here, reported
from rlexp.config.overrides import overridden
from rlexp.config.registry_choices import parse_pinned
from rlexp.config.stored import Config, missing_secrets, read_config
from rlexp.runtime.run_folder import BEST_CONFIG, CONFIG
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_paths, value_at
from rlexp.spec.run import RunSpec

GROUPS = ("curriculum", "data", "eval", "guards", "hardware", "peft", "reward", "tracking")
"""Those that no other key followed from when the config was composed."""
RERUN_OF = "rerun_of"
"""Tag of the new MLflow run: the id of the earlier one, or the file."""


def run(argv: list[str]) -> int:
    """Run it; return the exit status, as for a new run."""
    return reported(lambda: _rerun(argv))


def _rerun(argv: Sequence[str]) -> None:
    from rlexp.launch.launcher import launch_new_run

    parser = Parser("rerun", __doc__)
    parser.add_argument("what", metavar="FILE|RUN")
    parser.add_argument("overrides", metavar="key=value", nargs="*")
    arguments = parser.parse_args(argv)
    before, origin = _stored(arguments.what, arguments.overrides)
    import_from_here()
    config, spec = _planned(before, arguments.overrides, arguments.what)
    tags = {**config["tracking"]["tags"], RERUN_OF: origin}
    config["tracking"] = {**config["tracking"], "tags": tags}
    tracking = spec.tracking.model_copy(update={"tags": tags})
    print(launch_new_run(config, spec.model_copy(update={"tracking": tracking})))


def _stored(word: str, overrides: Sequence[str]) -> tuple[Config, str]:
    """Return the config that a word means, and what the new run will say that it is a rerun of."""
    place = Path(word)
    if place.is_dir():
        files = [file for file in (place / CONFIG, place / BEST_CONFIG) if file.is_file()]
        if not files:
            want = f"the folder of a run, with its {CONFIG}, or of a sweep, with its {BEST_CONFIG}"
            report = f"python -m rlexp report {shlex.quote(word)}"
            remedy = f"A sweep writes it at its end; before that: {report}"
            raise UserError(Problem(word, f"a folder without {CONFIG}", want, remedy))
        return read_config(files[0]), str(files[0])
    if place.is_file():
        return read_config(place), word
    if os.sep in word or place.suffix in (".yaml", ".yml"):
        want = "a config.yaml, a best.yaml, the folder of a run, or a run's id or name"
        raise UserError(Problem(word, "no such file", want, "`python -m rlexp ls` lists the runs."))
    return _tracked(word, overrides)


def _tracked(word: str, overrides: Sequence[str]) -> tuple[Config, str]:
    """Return the config of a run that MLflow knows, from its folder where that is here."""
    from rlexp.tracking.query.records import Records

    with Records.open(*lookup_store(overrides)) as records:
        record = records.select_one(word)
        if record.is_sweep:
            best = record.folder / BEST_CONFIG if record.folder else None
            if best is None or not best.is_file():
                want = "one run, or a sweep whose best.yaml is on this machine"
                remedy = f"Name one of its trials: python -m rlexp ls {shlex.quote(word)}"
                raise UserError(Problem(word, f"the sweep {record.name}", want, remedy))
            return read_config(best), str(best)
        if record.folder and (record.folder / CONFIG).is_file():
            return read_config(record.folder / CONFIG), record.run_id
        try:
            return read_config(records.artifact(record, CONFIG)), record.run_id
        except FileNotFoundError as error:
            got = f"{record.name}, of which neither its folder nor MLflow has the config"
            raise UserError(Problem(word, got, "a run with a config.yaml")) from error


def _planned(before: Config, overrides: Sequence[str], word: str) -> tuple[Config, RunSpec]:
    """Return the config to run, and its spec. Raises `UserError` with all that is wrong with it."""
    problems: list[Problem] = []
    config = overridden(before, overrides, GROUPS, lambda key: True, problems)
    problems += missing_secrets(config)
    try:
        config, spec = parse_pinned(config, list(key_paths(before)))
    except UserError as error:
        problems += _explained(error.problems, before, config, word)
        raise UserError(problems) from error
    if problems:
        raise UserError(problems)
    return config, spec


def _explained(
    problems: Sequence[Problem], before: Config, config: Config, word: str
) -> Iterator[Problem]:
    """Yield the problems; of those that nobody has typed, with what they may come from."""
    for problem in problems:
        value = value_at(config, problem.key)
        if value is None or value != value_at(before, problem.key):
            yield problem
            continue
        remedy = f"So it stands in {word}: set {problem.key}=… behind it."
        if problem.key.endswith("path") and not Path(str(value)).is_absolute():
            remedy = f"Relative paths begin in the folder where you type this. {remedy}"
        yield replace(problem, remedy=f"{problem.remedy} {remedy}".strip())
