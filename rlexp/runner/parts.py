"""The parts of a run: policy, reward and scorer, prepared as its spec says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from rlexp.models.locate import local_folder
from rlexp.registry.versions import find_version
from rlexp.runner.resolved_settings import resolved_settings
from rlexp.scoring import Scorer
from rlexp.scoring.all_gather import AllGather, SingleProcess
from rlexp.spec.algo import Head
from rlexp.spec.run import RunSpec


def model_folder_resolver(spec: RunSpec) -> Callable[..., Path]:
    """`local_folder`, which asks the run's registry for paths that name a version there."""
    registry = spec.tracking.registry
    return partial(local_folder, registry=lambda path, key: find_version(path, registry, key))


def load_parts(
    spec: RunSpec,
    head: Head,
    device: Any,
    processes: Any,
    observer: Any,
    corpus: Callable[[], list[str]],
) -> Any:
    """The policy, with all parts of the run prepared; the observer, if there is one, is told."""
    from rlexp.models.load import load_policy
    from rlexp.tracking.provenance.manifest import describe_weights

    from_place = model_folder_resolver(spec)

    def located(path: str, revision: str | None, key: str) -> Path:
        folder = from_place(path, revision, key)
        if observer:
            observer.tracker.origin(weights={key: describe_weights(folder)})
        return folder

    bar = observer.terminal.bar("pre-training") if observer else nullcontext(lambda *told: None)
    # The first process makes or fetches the weights; the others find them.
    with processes.main_process_first(), bar as advance:
        policy = load_policy(
            spec,
            head,
            device,
            lambda a, b, loss: advance(a, b, f"loss {loss:.3f}"),
            from_place,
            corpus,
        )
        for part in (spec.algo, spec.reward, *spec.eval.gold_checked[0].values()):
            part.prepare(device, located)
    if observer:
        observer.notes += [*policy.notes, *spec.reward.notes()]
        observer.tracker.origin(**resolved_settings(spec, policy))
    return policy


def scorer_of(spec: RunSpec, processes: Any) -> Scorer:
    """What calls the run's reward, in all of its processes."""
    count = processes.num_processes
    return Scorer(spec.reward, spec.scoring, count, AllGather() if count > 1 else SingleProcess())
