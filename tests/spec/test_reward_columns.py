"""What a reward reads of the data is there, or the message says where it is."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlexp.config.hydra import composed_config
from rlexp.spec.data import DataSource
from rlexp.spec.errors import UserError
from rlexp.spec.run import RunSpec


def check(tmp_path: Path, *overrides: str) -> RunSpec:
    rows = tmp_path / "rows.jsonl"
    record = {"question": "1+1?", "answer": "2", "label": 1}
    rows.write_text(json.dumps(record) + "\n", encoding="utf-8")
    columns = ["data.columns.prompt=question", "data.columns.completion=answer"]
    words = ["algo=grpo", "reward=math", "data=file", f"data.path={rows}", *columns, *overrides]
    config = OmegaConf.to_container(composed_config(words), resolve=True)
    assert isinstance(config, dict)
    return RunSpec.parse({str(key): value for key, value in config.items() if key != "sweep"})


def test_the_answer_may_be_the_reference(tmp_path: Path) -> None:
    """Catches: a column called absent because the completion has it."""
    data = check(tmp_path).data
    assert isinstance(data, DataSource)
    assert "answer" in (data.extra_columns() or ())


@pytest.mark.parametrize(
    ("overrides", "got", "remedy"),
    [
        (["data.extra=[]"], "'answer'", "data.extra=[answer]"),
        (["reward.column=solution"], "'solution'", "data=file"),
        (["reward.column=label", "data.columns.label=label"], "'label'", "name of its own"),
    ],
)
def test_what_is_missing_is_told_with_what_is_there(
    tmp_path: Path, overrides: list[str], got: str, remedy: str
) -> None:
    """Catches: "it has none" of a file that has the column, and a remedy that leads nowhere."""
    with pytest.raises(UserError) as caught:
        check(tmp_path, *overrides)
    (problem,) = caught.value.problems
    assert got in problem.got and remedy in problem.remedy
    if remedy.startswith("data.extra"):
        assert check(tmp_path, remedy)
