"""The reproduction of a run, from the word that names it to the verdict."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rich.console import Console

from rlexp.config.stored import write_config
from rlexp.data.load import load_data
from rlexp.launch.launcher import launch
from rlexp.launch.new_run import new_folder
from rlexp.reproduction import terminal
from rlexp.reproduction.differences import EnvironmentDifference, environment_differences
from rlexp.reproduction.matching import Verdict, compare_metrics, overall_verdict
from rlexp.reproduction.plan import Stage, plan_reproduction
from rlexp.reproduction.recorded import COMPARED, Points, RecordedRun, read_recorded_run
from rlexp.reproduction.result import write_result
from rlexp.runtime.checkpoints import complete_checkpoints
from rlexp.runtime.run_folder import CHECKPOINTS, ORIGIN, PROVENANCE, SPOOL
from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.keys import value_at
from rlexp.spec.rows import rows_read
from rlexp.spec.run import RunSpec
from rlexp.tracking.provenance import manifest
from rlexp.tracking.provenance.environment import GitState, repository
from rlexp.tracking.provenance.manifest import Facts
from rlexp.tracking.query.records import Records
from rlexp.tracking.spool.spool import read_events


def reproduce(
    word: str,
    uri: str,
    experiment: str | None,
    words: list[str],
    *,
    changed_data: bool,
    dry_run: bool,
) -> Verdict | None:
    """Run a recorded run again and compare.

    Args:
        word: names the run.
        uri: resolved address of the tracking store, where the new run goes as well.
        experiment: where the run is looked for; None for all experiments.
        words: overrides of keys that move no number.
        changed_data: go on although the rows are not those of the run.
        dry_run: only tell what is other here.

    Returns:
        The verdict; None after a dry run.

    Raises:
        UserError: no such run, other data, or something that it needs is gone.
        RunFailed: the new run failed, after its metrics were compared.
    """
    console = Console(highlight=False)
    with Records.open(uri, experiment) as records:
        recorded = read_recorded_run(records, word)
    stages = plan_reproduction(recorded, words, uri)
    terminal.print_plan(recorded, stages[-1].held_to, console)
    differences = _check_environment(recorded, stages[-1], uri, changed_data, console)
    if dry_run:
        return None
    console.print()
    folder = new_folder()
    failure = _run(stages, folder)
    new_facts = manifest.read_attempts(folder / PROVENANCE / ORIGIN)[-1]
    later = environment_differences(recorded, new_facts, uri)
    late = [difference for difference in later if difference not in differences]
    whole = recorded.record.status == "FINISHED"
    matches = compare_metrics(recorded.metrics, _logged_metrics(folder), whole=whole)
    console.print()
    if late:
        terminal.print_differences(late, console, where="in the new run")
    terminal.print_matches(matches, console)
    write_result(folder, recorded, stages[-1], [*differences, *late], matches)
    if failure is not None:
        raise failure
    print(folder)
    return overall_verdict(matches)


def _check_environment(
    recorded: RecordedRun, stage: Stage, uri: str, changed_data: bool, console: Console
) -> list[EnvironmentDifference]:
    """Print what is other here. Raises `UserError` where the run cannot be reproduced with it."""
    current = manifest.collect_facts(stage.spec, GitState.of(repository()))
    _check_folders(recorded.origin, current, stage.config)
    current["data"] = _data_facts(stage.spec)
    differences = environment_differences(recorded, current, uri)
    terminal.print_differences(differences, console)
    if not changed_data:
        _check_data(recorded.origin, current["data"], stage.spec)
    return differences


def _data_facts(spec: RunSpec) -> dict[str, Any]:
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    rows = len(splits.train) + len(splits.heldout)
    return {"source": splits.source, "digest": splits.digest, "rows": rows}


def _check_data(then: Facts, current: Facts, spec: RunSpec) -> None:
    rows = then.get("data")  # none in a run that was killed while it began
    if rows is None or rows["digest"] == current["digest"]:
        return
    got = f"{current['source']}: {current['rows']} rows with the digest {current['digest']}"
    want = f"the rows of the run: {rows['rows']}, with the digest {rows['digest']}"
    moved = " (add data.path=PLACE if it lies elsewhere now)" * hasattr(spec.data, "path")
    remedy = f"Bring back {rows['source']}{moved}, or go on with other rows: --changed-data"
    raise UserError(Problem("data", got, want, remedy))


def _check_folders(then: Facts, current: Facts, config: dict[str, Any]) -> None:
    """A relative path that is gone would be taken for the name of a model on the hub."""
    problems = []
    for key, was in then["folders"].items():
        if key not in current["folders"]:
            got = f"{value_at(config, key)}, which is not there (it was {was['folder']})"
            remedy = f"Add {key}=FOLDER if it lies elsewhere now."
            problems.append(Problem(key, got, "the folder of the run's model", remedy))
    if problems:
        raise UserError(problems)


def _run(stages: list[Stage], folder: Path) -> RunFailed | None:
    """Run the stages; return how they failed, if they did: a failure can be what is reproduced."""
    for stage in stages:
        write_config(folder, stage.config)
        checkpoints = complete_checkpoints(folder / CHECKPOINTS)
        try:
            launch(stage.spec, folder, None, checkpoints[-1] if checkpoints else None)
        except (UserError, RunFailed) as error:
            if not (folder / SPOOL).exists():  # nothing had begun: leave nothing behind
                shutil.rmtree(folder)
                raise
            if isinstance(error, UserError):
                raise
            return error
    return None


def _logged_metrics(folder: Path) -> dict[str, Points]:
    metrics: dict[str, Points] = {}
    for event, _ in read_events(folder / SPOOL):
        for name, value in event.get("metrics", {}).items() if event["kind"] == "metrics" else ():
            if name.startswith(COMPARED):
                metrics.setdefault(name, {})[event["step"]] = float(value)
    return metrics
