"""`model.path` of an earlier run: by its folder, its name or its id."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from runs import composed, problems_of

from rlexp.builtin import tiny
from rlexp.config.registry_choices import parse_pinned
from rlexp.spec.errors import UserError


def finished_run(name: str, run_id: str, folder: str, written: int = 0) -> Path:
    """What a run leaves that others look at, in the current folder."""
    run = Path(folder)
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("name: x\n", encoding="utf-8")
    card = run / "card.json"
    card.write_text(json.dumps({"run_id": run_id, "name": name}), encoding="utf-8")
    os.utime(card, (written, written))
    shutil.copytree(tiny.ensure_tiny_model(), run / "model")
    return run


def pinned_path(path: object) -> str:
    config, spec = parse_pinned(composed("model=local", f"model.path={path}"))
    assert spec.model.path == config["model"]["path"]
    return spec.model.path


@pytest.mark.usefixtures("here")
class TestModelOfRun:
    def test_a_run_is_named_as_other_verbs_name_it(self) -> None:
        """A run's name asked for on the hub, or an address that means nothing in another folder."""
        run = finished_run("happy", "ab12cd34ef", "outputs/2026-01-01/one")
        model = str((run / "model").resolve())
        for typed in ("happy", "run:happy", "ab12cd", "run:ab12", run, f"./{run}", run / "model"):
            assert Path(pinned_path(typed)).resolve() == Path(model), typed

    def test_of_one_name_the_newest_run_is_meant(self) -> None:
        """The model of the first of two runs that were typed alike."""
        finished_run("happy", "aaaa1111", "outputs/2026-01-01/b", written=200)
        finished_run("happy", "bbbb1111", "multirun/2026-01-01/0", written=300)
        finished_run("happy", "cccc1111", "outputs/2026-01-01/c", written=100)
        assert pinned_path("happy").endswith("multirun/2026-01-01/0/model")
        failed = finished_run("happy", "dddd1111", "outputs/2026-01-02/d", written=400)
        shutil.rmtree(failed / "model")
        assert pinned_path("happy").endswith("multirun/2026-01-01/0/model")

    def test_a_hub_id_stays_one(self) -> None:
        """Names of the hub that are taken for runs."""
        finished_run("happy", "ab12cd34ef", "outputs/2026-01-01/one")
        assert pinned_path("gpt2") == "gpt2"
        assert pinned_path("owner/happy") == "owner/happy"

    def test_a_run_that_was_cut_off_has_no_model(self) -> None:
        """A folder without a model that is called a folder without config.json."""
        run = Path("outputs/2026-01-01/cut")
        run.mkdir(parents=True)
        (run / "config.yaml").write_text("name: x\n", encoding="utf-8")
        told = problems_of("model=local", f"model.path={run}")["model.path"]
        assert f"python -m rlexp resume {run}" in told

    def test_a_name_of_no_run_lists_them(self) -> None:
        """`run:` and a typo sent to the hub."""
        with pytest.raises(UserError, match="python -m rlexp ls"):
            pinned_path("run:nobody")

    def test_a_checkpoint_is_named_by_its_run_and_step(self) -> None:
        """The run's last model in the place of an earlier one; a checkpoint that was cleared."""
        run = finished_run("happy", "ab12cd34ef", "outputs/2026-01-01/one")
        for step in ("step-000004", "step-000008"):
            shutil.copytree(run / "model", run / "checkpoints" / step)
        for typed in ("run:happy/step-000004", "run:ab12/step-000004"):
            assert pinned_path(typed) == str((run / "checkpoints" / "step-000004").resolve())
        with pytest.raises(UserError, match=r"model\.path=run:happy/step-000008"):
            pinned_path("run:happy/step-000002")
        with pytest.raises(UserError, match="python -m rlexp ls"):
            pinned_path("run:nobody/step-000002")
