"""A pipeline's stages composed and checked: who gets which words, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlexp.config.hydra import choice_files
from rlexp.pipelines.orders import unneeded
from rlexp.pipelines.planning.plan import plan_pipeline
from rlexp.pipelines.planning.planned import PipelinePlan
from rlexp.pipelines.stage_key import StageKey, differing_ingredients, stage_keys
from rlexp.spec.errors import UserError
from rlexp.spec.run import RunSpec

CHAIN = """
name: chain
stages:
  sft: {algo: sft}
  reward: {algo: reward, model.path: "${stage:sft}"}
  ppo:
    algo: ppo
    model.path: ${stage:sft}
    train.max_steps: 7
    reward: model
    reward.path: ${stage:reward}
    eval.gold: ${reward:reward}
"""


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    file = tmp_path / "chain.yaml"
    file.write_text(CHAIN)
    return file


def planned(file: Path, *words: str) -> PipelinePlan:
    return plan_pipeline([f"pipeline={file}", *words], file.parent / "scratch")


def spec_of(plan: PipelinePlan, stage: str) -> RunSpec:
    spec = plan.stage(stage).spec
    assert spec is not None
    return spec


def refused(file: Path, *words: str) -> str:
    with pytest.raises(UserError) as error:
        planned(file, *words)
    return str(error.value)


def keys(file: Path, *words: str) -> dict[str, StageKey]:
    return stage_keys(planned(file, *words))


def moved(file: Path, *words: str) -> set[str]:
    """The stages that have another key with the words."""
    before, after = keys(file), keys(file, *words)
    return {name for name in before if before[name].key != after[name].key}


class TestWords:
    def test_what_is_typed_goes_before_the_file_and_for_a_stage_before_all(
        self, chain: Path
    ) -> None:
        """One that the file overrules; one for a stage that reaches the others."""
        plan = planned(chain, "train.max_steps=9", "stage.sft.train.max_steps=11", "seed=3")
        steps = {s.name: s.spec.train.max_steps for s in plan.stages if s.spec}
        assert steps == {"sft": 11, "reward": 9, "ppo": 9, "ppo@base": 9}
        assert {s.spec.seed for s in plan.stages if s.spec} == {3}
        assert spec_of(planned(chain), "ppo").train.max_steps == 7

    def test_references_stay_whatever_is_typed_for_all(self, chain: Path) -> None:
        """A later stage that begins with the base again, or is paid by another reward."""
        plan = planned(chain, "model.path=builtin:tiny", "reward=length")
        assert plan.stage("ppo").parents == {"model.path": ("sft",), "reward.path": ("reward",)}
        assert spec_of(plan, "ppo").reward.name == "model"
        assert spec_of(plan, "reward").reward.name == "length"

    def test_what_ranked_the_pairs_is_measured_as_gold(self, chain: Path) -> None:
        assert list(spec_of(planned(chain), "ppo").eval.gold) == ["sentiment"]
        plan = planned(chain, "reward=length", "reward.target=5")
        assert spec_of(plan, "ppo").eval.gold["length"]["target"] == 5

    def test_another_evaluation_keeps_what_the_stage_measures(self, chain: Path) -> None:
        """Gold that is lost where a group is chosen anew."""
        assert list(spec_of(planned(chain, "eval=quick"), "ppo").eval.gold) == ["sentiment"]

    def test_an_evaluation_draws_nothing(self, chain: Path) -> None:
        """A curriculum that is refused for what does not train."""
        assert spec_of(planned(chain, "curriculum=length"), "ppo@base").curriculum.name == "none"

    def test_policies_are_evaluated_against_the_base(self, chain: Path) -> None:
        base = planned(chain).stage("ppo@base")
        assert base.parents == {"algo.model": ("ppo",)}
        assert spec_of(planned(chain), "ppo@base").algo.name == "evaluate"
        names = [stage.name for stage in planned(chain, "pipeline.against_base=none").stages]
        assert names == ["sft", "reward", "ppo"]


class TestRefused:
    def test_everything_wrong_with_the_words_is_told_at_once(self, chain: Path) -> None:
        words = refused(
            chain,
            "stage.pppo.algo.beta=1",
            "stage.ppo.algo.betta=1",
            "stage.sft.train.max_steps=-1",
            "algo.beta=0.1",
        )
        assert "stage.pppo.algo.beta: got a stage pppo" in words
        assert "Did you mean ppo?" in words
        assert "stage.ppo.algo.betta: got an unknown key" in words
        assert "Did you mean stage.ppo.algo.beta?" in words
        assert "stage.sft.train.max_steps: got -1" in words
        assert "a key that all stages have; sft does not" in words
        assert "stage.reward.algo.beta=0.1" not in words  # reward has none either

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ("stage.ppo.model.path='${stage:reward}'", "which makes a reward model"),
            ("stage.ppo.reward.path='${stage:sft}'", "which makes a policy"),
            ("stage.ppo.eval.prompts='${stage:sft}'", "eval.prompts"),
            ("stage.sft.model.path='${stage:ppo}'", "a stage before it"),
        ],
    )
    def test_an_output_that_is_none(self, words: str, told: str, chain: Path) -> None:
        assert told in refused(chain, words.replace("'", ""))

    def test_several_values_are_no_value(self, chain: Path) -> None:
        """A stage that takes the last of them without a word."""
        words = refused(chain, "stage.ppo.algo.beta=0.1,0.2")
        assert "stage.ppo.algo.beta: got 0.1,0.2" in words
        assert "wants one value" in words

    def test_words_that_no_stage_can_have(self, chain: Path) -> None:
        words = refused(chain, "algo=dpo", "stage.ppo", "stage.x.rounds=no", "hydra.run.dir=here")
        assert "Leave hydra.run.dir away" in words
        assert "Type stage.NAME.algo=dpo in its place." in words
        assert "stage.x.rounds: got no" in words

    def test_other_vocabularies(self, tmp_path: Path) -> None:
        """Found by the trainer, after an hour of the teacher's training."""
        file = tmp_path / "distil.yaml"
        text = """
stages:
  teacher: {algo: sft}
  student: {algo: sft, model: scratch}
  distill:
    algo: distill
    model: scratch
    model.path: ${stage:student}
    algo.teacher: ${stage:teacher}
"""
        file.write_text(text)
        words = refused(file)
        assert "stage.distill.algo.teacher: got teacher, which began with builtin:tiny" in words
        assert "Type stage.student.model=tiny" in words
        planned(file, "model=scratch")
        several = "algo.teachers: {a: '${stage:teacher}'}\n    algo.teacher_column: answer"
        file.write_text(
            text.replace("algo.teacher: ${stage:teacher}", several + "\n    data: gsm8k")
        )
        assert "stage.distill.algo.teachers: got teacher, which began" in refused(file)


def test_what_stands_before_the_first_is_left_alone_unless_it_is_used(tmp_path: Path) -> None:
    """`--from` that runs a branch which nobody asked for."""
    file = tmp_path / "branches.yaml"
    text = """
stages:
  sft: {algo: sft}
  side: {algo: sft, seed: 7}
  dpo: {algo: dpo, model.path: "${stage:sft}"}
"""
    file.write_text(text)
    plan = planned(file)
    assert unneeded(plan, "dpo") == {"side"}
    assert unneeded(plan, None) == set()


class TestKeys:
    def test_what_cannot_change_a_result_moves_no_key(self, chain: Path) -> None:
        words = ["tracking.experiment=other", "tracking.uri=null", "train.keep_checkpoints=9"]
        assert moved(chain, *words, "name=mine") == set()

    @pytest.mark.long
    def test_a_stage_moves_those_that_use_it(self, chain: Path) -> None:
        """A policy trained against the reward model of before."""
        assert moved(chain, "stage.ppo.algo.learning_rate=1e-3") == {"ppo", "ppo@base"}
        after_reward = {"reward", "ppo", "ppo@base"}
        assert moved(chain, "stage.reward.algo.center=0.5") == after_reward
        assert moved(chain, "data.size=3000") == {"sft", *after_reward}

    def test_rows_count_and_their_place_does_not(self, chain: Path, tmp_path: Path) -> None:
        row = '{{"prompt": "it is {}", "completion": "fine and {}"}}\n'
        one, copy, other = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
        one.write_text("".join(row.format(n, n) for n in range(40)))
        copy.write_text(one.read_text())
        other.write_text(one.read_text().replace("fine and 7", "fine and 8"))
        file = tmp_path / "one.yaml"
        file.write_text("stages: {sft: {algo: sft}}")
        first = keys(file, "data=file", f"data.path={one}")["sft"]
        assert keys(file, "data=file", f"data.path={copy}")["sft"].key == first.key
        changed = keys(file, "data=file", f"data.path={other}")["sft"]
        assert set(differing_ingredients(first.ingredients, changed.ingredients)) == {"data"}

    def test_the_same_stage_of_another_pipeline_has_the_same_key(
        self, chain: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "two.yaml"
        file.write_text(
            'stages: {start: {algo: sft}, rm: {algo: reward, model.path: "${stage:start}"}}'
        )
        ours, theirs = keys(chain), keys(file)
        assert theirs["start"].key == ours["sft"].key
        assert theirs["rm"].key == ours["reward"].key


@pytest.mark.long
@pytest.mark.parametrize("file", choice_files("pipeline"), ids=lambda file: file.stem)
def test_each_choice_is_right(file: Path, tmp_path: Path) -> None:
    """A choice that no one has typed since the config changed."""
    judge = ["stage.label.reward.base_url=http://h/v1", "stage.label.reward.model=m"]
    words = judge if file.stem.startswith("rlaif") else []
    plan = plan_pipeline([f"pipeline={file.stem}", *words], tmp_path)
    assert stage_keys(plan).keys() == {stage.name for stage in plan.stages}
