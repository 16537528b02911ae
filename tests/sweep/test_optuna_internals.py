"""What Optuna keeps to itself is used in one module, and is still there."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState

import rlexp
from rlexp.sweep import optuna_internals as internals

ADAPTER = Path(internals.__file__)
PACKAGE = Path(rlexp.__file__).parent
PRIVATE = {
    "_storage": ("optuna.Study", "storage_of"),
    "_study_id": ("optuna.Study", "id_of_number, stale_trial_ids"),
    "_trial_id": ("optuna.trial.FrozenTrial", "id_of_trial"),
    "_suggest": ("optuna.trial.Trial", "suggest"),
    "_get_stale_trial_ids": ("optuna.storages.RDBStorage", "stale_trial_ids"),
}
"""What is private, the class that has it, and the functions that break without it."""
FOR_STORAGES = (
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "record_heartbeat",
    "set_trial_state_values",
    "set_trial_user_attr",
)
"""Methods of the storage that have no underscore, but are meant for Optuna's own classes."""

MODULE = re.compile(r"optuna(\.\w+)*\._\w+(\.\w+)*")


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db", heartbeat_interval=60)
    return optuna.create_study(storage=storage)


def objects(study: optuna.Study) -> dict[str, object]:
    """One of each class of Optuna that a sweep has in its hands."""
    trial = study.ask()
    return {
        "optuna.Study": study,
        "optuna.trial.Trial": trial,
        "optuna.trial.FrozenTrial": study.trials[0],
        "optuna.storages.RDBStorage": internals.storage_of(study),
    }


@pytest.mark.parametrize("name", PRIVATE)
def test_optuna_still_has(name: str, study: optuna.Study) -> None:
    """A release of Optuna that drops it: an AttributeError in the middle of a sweep."""
    owner, functions = PRIVATE[name]
    assert hasattr(objects(study)[owner], name), (
        f"Optuna {optuna.__version__} has no {owner}.{name} any more; rlexp.sweep.optuna_internals "
        f"needs another way for {functions}"
    )


@pytest.mark.parametrize("name", FOR_STORAGES)
def test_the_storage_still_has(name: str, study: optuna.Study) -> None:
    """A release of Optuna whose storages are asked otherwise."""
    assert hasattr(internals.storage_of(study), name), (
        f"Optuna {optuna.__version__} has no storage method {name} any more; "
        "rlexp.sweep.optuna_internals needs another way"
    )


def test_the_list_above_is_the_adapters() -> None:
    """A private name that the adapter uses and this file does not watch."""
    tree = ast.parse(ADAPTER.read_text(encoding="utf-8"))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {name for name in attributes if name.startswith("_")} == set(PRIVATE)
    assert set(FOR_STORAGES) <= attributes


def test_nobody_else_reaches_into_optuna(study: optuna.Study) -> None:
    """A private name of Optuna that is used where no test watches it."""
    private = {
        name
        for each in objects(study).values()
        for name in dir(each)
        if name.startswith("_") and not name.startswith("__")
    }
    uses = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != ADAPTER
        for line, name in private_uses(path, private)
    ]
    assert uses == []


def private_uses(path: Path, private: set[str]) -> Iterator[tuple[int, str]]:
    """Lines that use such an attribute of another object, or name a private module of Optuna."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue  # the class's own
            case ast.Attribute(attr=name) if name in private:
                yield node.lineno, name
            case ast.Import(names=names):
                yield from ((node.lineno, each.name) for each in names if MODULE.match(each.name))
            case ast.ImportFrom(module=str(module), names=names):
                imported = [f"{module}.{each.name}" for each in names]
                yield from ((node.lineno, name) for name in imported if MODULE.match(name))
            case ast.Constant(value=str(text)) if MODULE.fullmatch(text):
                yield node.lineno, text


class TestAdapter:
    """Each function does what the trial's public object would have done."""

    def test_a_trial_is_found_by_its_number(self, study: optuna.Study) -> None:
        """Ids taken for numbers: in a data base with several studies another one's trial."""
        other = optuna.create_study(storage=internals.storage_of(study), study_name="other")
        other.ask()
        trial = study.ask()
        trial_id = internals.id_of_number(study, trial.number)
        assert trial_id == internals.id_of_trial(trial) != trial.number
        assert internals.current_trial(study, trial_id).number == trial.number
        with pytest.raises(KeyError):
            internals.id_of_number(study, 7)

    def test_a_waiting_trial_is_claimed_once(self, study: optuna.Study) -> None:
        """Two machines that run the same trial."""
        study.enqueue_trial({})
        trial_id = internals.id_of_number(study, 0)
        claims = [internals.set_trial_state(study, trial_id, TrialState.RUNNING) for _ in range(2)]
        assert claims == [True, False]
        assert internals.current_state(study, trial_id) == TrialState.RUNNING

    def test_attributes_and_reports_reach_the_data_base(self, study: optuna.Study) -> None:
        """A result that only the process knows which has it."""
        trial_id = internals.id_of_trial(study.ask())
        internals.set_trial_attribute(study, trial_id, "run_id", "abc")
        trial = internals.live_trial(study, trial_id)
        value = internals.suggest(trial, "x", FloatDistribution(0.0, 1.0))
        trial.report(0.5, step=3)
        assert not trial.should_prune()
        stored = internals.current_trial(study, trial_id)
        assert stored.user_attrs == {"run_id": "abc"} and stored.params == {"x": value}
        assert stored.intermediate_values == {3: 0.5}

    def test_only_a_heartbeat_of_long_ago_is_stale(
        self, study: optuna.Study, tmp_path: Path
    ) -> None:
        """A trial that lives and is given to another machine; a dead one that nobody finds."""
        alive, dead, _never = (internals.id_of_trial(study.ask()) for _ in range(3))
        for trial_id in (alive, dead):
            internals.record_heartbeat(study, trial_id)
        with sqlite3.connect(tmp_path / "study.db") as data_base:
            old = "UPDATE trial_heartbeats SET heartbeat = '2001-01-01 00:00:00' WHERE trial_id = ?"
            data_base.execute(old, [dead])
        assert internals.stale_trial_ids(study) == {dead}
