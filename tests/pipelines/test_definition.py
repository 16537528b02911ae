"""What a pipeline's yaml says, and what is told of one that says it wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlexp.pipelines.planning.definition import PipelineDefinition, pipeline_file, read_pipeline
from rlexp.spec.errors import UserError

LOOP = """
stages:
  sft: {algo: sft}
  improve:
    rounds: 2
    stages:
      sample: {algo: sample, model.path: "${stage:dpo,sft}"}
      dpo: {algo: dpo, model.path: "${stage:dpo,sft}", data: file, data.path: "${stage:sample}"}
  last: {algo: sft, model.path: "${stage:dpo}"}
"""


def read(text: str, tmp_path: Path, **rounds: int) -> PipelineDefinition:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return read_pipeline(file, rounds)


def refused(text: str, tmp_path: Path, **rounds: int) -> str:
    with pytest.raises(UserError) as error:
        read(text, tmp_path, **rounds)
    return str(error.value)


def test_a_loop_uses_what_the_round_before_made(tmp_path: Path) -> None:
    """All rounds that start from the first policy; a stage behind the loop that takes round 1."""
    pipeline = read(LOOP, tmp_path)
    uses = {stage.name: stage.parents for stage in pipeline.stages}
    assert uses == {
        "sft": {},
        "sample-1": {"model.path": ("sft",)},
        "dpo-1": {"model.path": ("sft",), "data.path": ("sample-1",)},
        "sample-2": {"model.path": ("dpo-1",)},
        "dpo-2": {"model.path": ("dpo-1",), "data.path": ("sample-2",)},
        "last": {"model.path": ("dpo-2",)},
    }
    assert pipeline.name == "mine"


def test_rounds_that_are_typed_go_first(tmp_path: Path) -> None:
    names = [stage.name for stage in read(LOOP, tmp_path, improve=1).stages]
    assert names == ["sft", "sample-1", "dpo-1", "last"]


def test_a_certain_round_can_be_named(tmp_path: Path) -> None:
    text = LOOP.replace('"${stage:dpo}"', '"${stage:dpo-1}"')
    assert read(text, tmp_path).stages[-1].parents == {"model.path": ("dpo-1",)}


def test_lists_name_several_stages(tmp_path: Path) -> None:
    text = """
stages:
  a: {algo: reward}
  b: {algo: reward}
  ppo: {algo: ppo, reward.path: ["${stage:a}", "${stage:b}"]}
"""
    assert read(text, tmp_path).stages[-1].parents == {"reward.path": ("a", "b")}


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    """A mistake that hides the next one."""
    words = refused(
        """
stages:
  sft: {algo: sft, model.path: "${stage:dpo}"}
  dpo: {algo: dpo, model.path: "${stage:sfft}"}
  self: {algo: dpo, model.path: "${stage:self}"}
  3d: {algo: sft}
  empty: {}
  best: {best_of: [sft], metric: eval/reward}
  odd: {best_of: [sft, dpo], metric: eval/reward, mode: highest}
  loop: {rounds: 0, stages: {x: {algo: sft}}}
colour: blue
""",
        tmp_path,
    )
    assert "stages.sft.model.path: got ${stage:dpo}, which comes later" in words
    assert "Move dpo above sft" in words
    assert "stages.dpo.model.path: got ${stage:sfft}, which is no stage" in words
    assert "Did you mean sft?" in words
    assert "stages.self.model.path: got ${stage:self}, the stage itself" in words
    assert "stages.3d: got '3d'" in words
    assert "stages.empty: got {}" in words
    assert "stages.best.best_of: got ['sft']" in words
    assert "stages.odd.mode: got 'highest'" in words
    assert "stages.loop.rounds: got 0" in words
    assert "colour: got a key that no pipeline has" in words


def test_rounds_of_no_loop_are_refused(tmp_path: Path) -> None:
    assert "stage.sft.rounds: got 3" in refused(LOOP, tmp_path, sft=3)


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    assert "mine.yaml:2: got" in refused("stages:\n  sft: {algo: sft}}\n  dpo: {}\n", tmp_path)


@pytest.mark.parametrize("text", ["", "stages:", "stages: {}", "[1, 2]"])
def test_a_file_without_stages_is_refused(text: str, tmp_path: Path) -> None:
    assert "a file without stages" in refused(text, tmp_path)


def test_a_name_is_looked_for_in_own_choices_first(tmp_path: Path) -> None:
    own = tmp_path / "pipeline" / "rlhf.yaml"
    own.parent.mkdir()
    own.write_text("stages: {sft: {algo: sft}}")
    assert pipeline_file("rlhf", tmp_path) == own
    assert pipeline_file("rlhf", None) != own
    with pytest.raises(UserError, match=r"Did you mean rlhf\?"):
        pipeline_file("rlfh", None)
