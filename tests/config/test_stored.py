"""`config.yaml` of a run: written whole, read as it was, and under today's names of its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from runs import composed

from rlexp.config.overrides import overridden
from rlexp.config.stored import missing_secrets, read_config, write_config
from rlexp.runtime.run_folder import CONFIG
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import RENAMED, key_values
from rlexp.spec.run import RunSpec


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return composed("algo=dpo", "reward=mix", "tracking=none")


def before_the_renaming(config: dict[str, Any]) -> dict[str, Any]:
    """The config as a run of that time has left it."""
    guards = {"together" if k == "threshold" else k: v for k, v in config["guards"].items()}
    return config | {"guards": guards}


def test_what_is_written_is_read(config: dict[str, Any], tmp_path: Path) -> None:
    """A value that a worker process reads as another one: `off`, 1e-05, null."""
    write_config(tmp_path, config)
    assert read_config(tmp_path / CONFIG) == config
    assert [file.name for file in tmp_path.iterdir()] == [CONFIG]


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "\x00", "a: ${b}"])
def test_a_file_that_holds_no_config(text: str, tmp_path: Path) -> None:
    """A traceback where a file was cut off, or is another one."""
    (tmp_path / CONFIG).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_config(tmp_path / CONFIG)
    assert caught.value.problems[0].key == str(tmp_path / CONFIG)


class TestOldNames:
    def test_a_stored_config_is_read_under_todays_names(
        self, config: dict[str, Any], tmp_path: Path
    ) -> None:
        """A run of before the renaming that cannot be resumed, rerun or evaluated any more."""
        old = before_the_renaming(config)
        (tmp_path / CONFIG).write_text(yaml.safe_dump(old), encoding="utf-8")
        stored = read_config(tmp_path / CONFIG)
        assert dict(key_values(stored)) == dict(key_values(config))
        problems: list[Problem] = []
        changed = overridden(stored, ["guards.threshold=3.5"], (), lambda key: False, problems)
        assert RunSpec.parse(changed).guards.threshold == 3.5
        assert problems == []

    def test_a_worker_reads_the_file_as_it_stands(self, config: dict[str, Any]) -> None:
        """A trial of before the renaming, resumed in several processes, each of which refuses."""
        assert RunSpec.parse(before_the_renaming(config)) == RunSpec.parse(config)

    def test_both_names_are_a_mistake(self, config: dict[str, Any]) -> None:
        """The old name typed on the command line, and passed over in silence."""
        both = config | {"guards": config["guards"] | {"together": 3.0}}
        with pytest.raises(UserError) as caught:
            RunSpec.parse(both)
        (problem,) = caught.value.problems
        assert problem.key == "guards.together"
        assert problem.remedy == "Did you mean guards.threshold?"

    def test_no_key_of_today_has_an_old_name(self, config: dict[str, Any]) -> None:
        """A renaming that is undone, or goes to a key that is gone since."""
        keys = dict(key_values(config))
        assert not set(RENAMED) & set(keys)
        assert set(RENAMED.values()) <= set(keys)


def test_secrets_that_the_store_does_not_hold() -> None:
    """Three asterisks sent to an endpoint as its key; a tag that may say whatever it likes."""
    stored = {"reward": {"base_url": "http://***@host"}, "tracking": {"tags": {"note": "***"}}}
    (problem,) = missing_secrets(stored)
    assert problem.key == "reward.base_url"
