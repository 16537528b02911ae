"""The reproduction of a run, from the word that names it to the verdict.

Which stands in `reproduction.json` in the new run's folder, and in a tag of its MLflow run.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from rlexp.config.stored import write_config
from rlexp.data.load import load_data
from rlexp.launch.launcher import launch, new_folder
from rlexp.reproduction import terminal
from rlexp.reproduction.differences import EnvironmentDifference, environment_differences
from rlexp.reproduction.matching import Match, Verdict, compare_metrics, overall_verdict
from rlexp.reproduction.plan import REPRODUCES, Stage, plan_reproduction
from rlexp.reproduction.recorded import RecordedRun, compared_metrics, read_recorded_run
from rlexp.runtime import lock
from rlexp.runtime.checkpoints import complete_checkpoints
from rlexp.runtime.run_folder import CHECKPOINTS, ORIGIN, PROVENANCE, SPOOL
from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.keys import value_at
from rlexp.spec.rows import rows_read
from rlexp.spec.run import RunSpec
from rlexp.tracking.provenance import manifest
from rlexp.tracking.provenance.environment import GitState, repository
from rlexp.tracking.provenance.manifest import Facts
from rlexp.tracking.query.folder_source import FolderRecords
from rlexp.tracking.query.records import Records
from rlexp.tracking.secrets import redacted, redacted_values
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool

RESULT = "reproduction.json"
VERDICT_TAG = "reproduced"
"""Tag of the new MLflow run: exactly, closely or differs."""

log = logging.getLogger(__name__)


def reproduce(
    word: str,
    store: tuple[str, str | None],
    words: list[str],
    *,
    changed_data: bool,
    dry_run: bool,
) -> tuple[Verdict, Path] | None:
    """Run a recorded run again and compare; return the verdict and the new run's folder.

    After a dry run there is neither.

    Args:
        word: names the run.
        store: resolved address, where the new run goes as well, and the experiment in which the run
            is looked for; None for all of them.
        words: overrides of keys that move no number.
        changed_data: go on although the rows are not those of the run.
        dry_run: only tell what is other here.

    Raises:
        UserError: no such run, other data, or something that it needs is gone.
        RunFailed: the new run failed, after its metrics were compared.
    """
    console, uri = Console(highlight=False), store[0]
    with Records.open(*store) as records:
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
    folders = FolderRecords()
    metrics = compared_metrics(folders.history(folders.read(folder)))
    matches = compare_metrics(recorded.metrics, metrics, whole=whole)
    console.print()
    if late:
        terminal.print_differences(late, console, where="in the new run")
    terminal.print_matches(matches, console)
    write_result(folder, recorded, stages[-1], [*differences, *late], matches)
    if failure is not None:
        raise failure
    print(folder)
    return overall_verdict(matches), folder


def _check_environment(
    recorded: RecordedRun, stage: Stage, uri: str, changed_data: bool, console: Console
) -> list[EnvironmentDifference]:
    """Print what is other here. Raises `UserError` where the run cannot be reproduced with it."""
    current = manifest.collect_facts(stage.spec, GitState.of(repository()))
    _check_folders(recorded.origin, current, stage.config)
    splits = load_data(stage.spec.data, rows_read(stage.spec.algo, stage.spec.data))
    rows = len(splits.train) + len(splits.heldout)
    current["data"] = {"source": splits.source, "digest": splits.digest, "rows": rows}
    differences = environment_differences(recorded, current, uri)
    terminal.print_differences(differences, console)
    if not changed_data:
        _check_data(recorded.origin, current["data"], stage.spec)
    return differences


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


def write_result(
    folder: Path,
    recorded: RecordedRun,
    stage: Stage,
    differences: Sequence[EnvironmentDifference],
    matches: Sequence[Match],
) -> None:
    """Write the result, and send it to MLflow behind the rest of the new run's spool."""
    verdict = overall_verdict(matches)
    result = {
        REPRODUCES: recorded.record.run_id,
        "name": recorded.record.name,
        VERDICT_TAG: verdict,
        "metrics": {match.name: _plain(match) for match in matches},
        "differences": [asdict(difference) for difference in differences],
        "held_to": stage.held_to,
    }
    text = json.dumps(redacted_values(result), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")
    with lock.exclusive(folder):
        with Spool(folder / SPOOL) as spool:
            spool.record("tags", tags={VERDICT_TAG: verdict})
            spool.record("artifact", path=RESULT, folder=None)
        tracking = stage.spec.tracking
        try:
            Shipper(folder, str(tracking.uri), tracking.experiment).ship()
        except Exception as error:  # the result is in the folder, whatever the store says
            cause = redacted(f"{type(error).__name__}: {error}".splitlines()[0])
            log.warning("The verdict is not in MLflow (%s). python -m rlexp sync %s", cause, folder)


def _plain(match: Match) -> dict[str, Any]:
    """Return a match as JSON holds it, which has no word for infinity: null."""
    values = asdict(match) | {"verdict": match.verdict}
    del values["name"]
    return {key: None if value == math.inf else value for key, value in values.items()}
