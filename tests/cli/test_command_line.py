"""Wrong commands: all that is wrong at once, each with its remedy, exit status 2, torch unborn."""

from __future__ import annotations

from pathlib import Path

import pytest
from typed_commands import typed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["algo=dp0"], ["algo: got dp0", "algo=dpo"], id="group choice"),
        pytest.param(["model=_base"], ["model: got _base", "one of gpt2, local"], id="no choice"),
        pytest.param(["guards.together=1"], ["Did you mean guards.threshold?"], id="old key"),
        pytest.param(["algoo=dpo"], ["algoo", "Did you mean algo?"], id="group"),
        pytest.param(["algo.betaa=1"], ["algo.betaa", "algo.beta?"], id="key"),
        pytest.param(["+model.dtyp=x"], ["model.dtyp", "model.dtype?"], id="behind a plus"),
        pytest.param(["stage.ppo.algo.beta=1"], ["stage", "pipeline=rlhf"], id="no pipeline"),
        pytest.param(["++train.stepz=1"], ["train.stepz", "an unknown key"], id="behind two"),
        pytest.param(["learning_rate=1"], ["algo.learning_rate?"], id="place of a key"),
        pytest.param(["seed=x"], ["seed: got 'x'", "a whole number"], id="type"),
        pytest.param(["algo.top_p=1.5"], ["algo.top_p", "at most 1"], id="range"),
        pytest.param(["algo.num_generations=7"], ["64", "8 is the nearest"], id="groups"),
        pytest.param(
            ["train.micro_batch_size=7"], ["a divisor of the 64", "8 is the near"], id="micro"
        ),
        pytest.param(
            ["hardware=ddp", "train.batch_size=65", "algo=dpo"], ["multiple"], id="processes"
        ),
        pytest.param(["reward=none"], ["a reward: algo=grpo", "reward=sentiment"], id="no reward"),
        pytest.param(
            ["algo=dpo", "reward=none"], ["reviews, which holds unpaired", "pairs"], id="no pairs"
        ),
        pytest.param(["+algo.trl.epsilom=1"], ["GRPOConfig", "algo.epsilon?"], id="TRL field"),
        pytest.param(["algo.trl.seed=1"], ["seed instead"], id="owned TRL field"),
        pytest.param(
            ["reward=mix", "algo.trl.multi_objective_aggregation=normalize_then_sum"],
            ["reward=mix and reward.normalize=group (GDPO) instead"],
            id="aggregation of rewards that TRL does not see",
        ),
        pytest.param(["algo=dpo", "algo.loss_type=[sigmod]"], ["'sigmoid'"], id="loss"),
        pytest.param(["model=local"], ["model.path: got nothing"], id="no path"),
        pytest.param(["model=local", "model.path=./no/where"], ["save_pretrained"], id="path"),
        pytest.param(["seed=1,2"], ["Add -m for a sweep"], id="sweep without -m"),
        pytest.param(["seed=[1"], ["wants key=value", 'seed="[1"'], id="syntax"),
        pytest.param(["name=a,b"], ["one value", "'name=\"a,b\"'"], id="text with a comma"),
        pytest.param(["-m", "seed=3,4", "--cfg", "job"], ["Type seed=3"], id="values to show"),
        pytest.param(["-m", "--info"], ["one of them", "Leave --multirun"], id="two actions"),
        pytest.param(["--resolve"], ["Add --cfg job"], id="nothing to resolve"),
        pytest.param(["--config-dir", "mine"], ["mkdir -p 'mine'"], id="no folder of configs"),
        pytest.param(["--config-name", "confg"], ["--config-name config"], id="no config"),
        pytest.param(["sweep=dpo_basics"], ["rlexp -m sweep=dpo_basics"], id="search without -m"),
        pytest.param(["hardware.device=cuda"], ["shows no NVIDIA GPU"], id="no GPU"),
        pytest.param(
            ["peft=lora", "peft.target_modules=[lm_head]"],
            ["peft.target_modules", "lm_head", "all-linear"],
            id="an adapter that is never trained",
        ),
        pytest.param(["peft=qlora"], ["rlexp[quant]", "NVIDIA"], id="no extra"),
        pytest.param(
            ["reward=format", "reward.column=answer"], ["column 'answer'"], id="no column"
        ),
    ],
)
def test_a_mistake_is_told_with_its_remedy(
    arguments: list[str], told: list[str], tmp_path: Path
) -> None:
    """A mistake that passes, is told without a remedy, or only after seconds of imports."""
    done = typed(*arguments, folder=tmp_path, environment={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 2, done.stderr
    for words in told:
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_a_file_leaves_nothing_behind(tmp_path: Path) -> None:
    """A run's folder that is made before its data turns out to be cut off."""
    (tmp_path / "cut.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "c", "comp')
    done = typed("algo=sft", "data=file", "data.path=cut.jsonl", "reward=none", folder=tmp_path)
    assert done.returncode == 2
    assert "cut.jsonl:2" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["cut.jsonl"]


def test_many_mistakes_are_told_together(tmp_path: Path) -> None:
    """A report that ends with the first mistake, or with those of Hydra's kind."""
    done = typed(
        "algo=dp0", "model.dtyp=x", "seed=-1", "reward.scope=all", "+tag=1", folder=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("rlexp: 5 things to put right")


def test_a_sweep_is_checked_before_its_first_job(tmp_path: Path) -> None:
    """A sweep whose last job fails after hours, for a reason that could be known at its start."""
    done = typed("-m", "algo=dpo,grpo", "algo.num_generations=8", "seed=0,-1", folder=tmp_path)
    assert done.returncode == 2
    assert "algo.num_generations: got an unknown key" in done.stderr
    assert "In algo=dpo" in done.stderr
    assert "seed: got -1" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_others_inherit_from_is_not_searched(tmp_path: Path) -> None:
    """A sweep over a yaml that is no choice, whose trials all fail."""
    words = ["sweep=optuna", "model=choice(_base,tiny)", "algo.beta=interval(0.1,0.2)"]
    done = typed("-m", *words, folder=tmp_path)
    assert done.returncode == 2
    assert "model: got _base" in done.stderr
    assert "one of gpt2, local" in done.stderr


def test_bf16_on_a_device_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A precision that the device only emulates, found out by waiting."""
    from runs import spec_of

    from rlexp.spec.checks import hardware
    from rlexp.spec.errors import UserError

    monkeypatch.setattr(hardware, "has_bf16", lambda device: False)
    with pytest.raises(UserError) as caught:
        spec_of("hardware=cpu", "hardware.mixed_precision=bf16", "model.dtype=bfloat16")
    assert [problem.key for problem in caught.value.problems] == [
        "hardware.mixed_precision",
        "model.dtype",
    ]


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job", "--resolve"]])
def test_looking_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """Help, or a look at the config, that takes as long as a run's beginning."""
    done = typed(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "reviews" in done.stdout


@pytest.mark.parametrize("word", ["algo.trl.adam_beta2=0.95", "algo.trl={adam_beta2: 0.95}"])
def test_open_mappings_need_no_plus(word: str, tmp_path: Path) -> None:
    """`algo.trl.…` refused by Hydra because the yaml does not list it."""
    done = typed(word, "--cfg", "job", folder=tmp_path)
    assert "adam_beta2: 0.95" in done.stdout, done.stderr


@pytest.mark.parametrize("flags", [["-m"], ["--multirun"], []])
def test_a_sweep_shows_what_its_trials_have_in_common(flags: list[str], tmp_path: Path) -> None:
    """Hydra's traceback on two flags that people type together, or trials that begin."""
    asked = [*flags, "sweep=dpo_basics", "algo.beta=0.3", "--cfg", "job"]
    done = typed(*asked, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "beta: 0.3" in done.stdout
    assert "n_trials: " in done.stdout
    assert list(tmp_path.iterdir()) == []
