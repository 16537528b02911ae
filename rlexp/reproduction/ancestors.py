"""A run again together with all that it was made from, eldest first.

Each ancestor is reproduced from the tracking store as by itself, except that what it began with are
the new runs. So a run whose ancestors' weights are gone can be had again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rlexp.config.stored import read_config
from rlexp.pipelines.family.lineage import inputs_of, lineage_of
from rlexp.reproduction.matching import Verdict
from rlexp.reproduction.reproduce import reproduce
from rlexp.runtime.run_folder import CONFIG
from rlexp.spec.keys import value_at


def reproduce_family(
    run: Path, store: tuple[str, str | None], *, changed_data: bool, dry_run: bool
) -> Verdict | None:
    """Run a run's ancestors again, and then the run itself; return the least good verdict.

    Args:
        run: the run's folder.
        store: as of `reproduce`.
        changed_data: go on although rows are not those of the runs.
        dry_run: only tell what is other here; None is returned.

    Raises:
        UserError, RunFailed: as `reproduce` does for any of them.
    """
    again: dict[Path, Path] = {}
    verdicts: list[Verdict] = []
    for stage in lineage_of(run).stages:
        print(f"\n{stage.name}: {stage.folder}")
        words = list(_moved(stage.folder, again))
        done = reproduce(stage.run_id, store, words, changed_data=changed_data, dry_run=dry_run)
        if done is not None:
            verdict, again[stage.folder] = done
            verdicts.append(verdict)
    order: tuple[Verdict, ...] = ("differs", "closely", "exactly")
    return min(verdicts, key=order.index) if verdicts else None


def _moved(run: Path, again: Mapping[Path, Path]) -> Iterator[str]:
    """Yield the words that say where what a run began with is made anew."""
    config = read_config(run / CONFIG)
    for key in dict.fromkeys(key for key, _ in inputs_of(run, config)):
        value = value_at(config, key)
        paths = value if isinstance(value, list) else [value]
        moved = [str(_new_place(Path(path), again)) for path in paths]
        yield f"{key}={moved[0]}" if isinstance(value, str) else f"{key}=[{','.join(moved)}]"


def _new_place(path: Path, again: Mapping[Path, Path]) -> Path:
    for old, new in again.items():
        if path.resolve().is_relative_to(old):
            return new / path.resolve().relative_to(old)
    return path
