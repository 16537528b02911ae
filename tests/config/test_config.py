"""Every yaml of `conf/` says what the specs want, and every shipped experiment composes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from omegaconf import OmegaConf
from pydantic import TypeAdapter
from runs import composed, spec_of

from rlexp.config.hydra import choice_files, composed_config
from rlexp.runtime.paths import CONF
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.components import component_class
from rlexp.spec.data import DataSpec
from rlexp.spec.errors import UserError
from rlexp.spec.eval import EvalSpec
from rlexp.spec.guards import GuardsSpec
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.part import Part
from rlexp.spec.peft import LoraPeft, NoPeft, QloraPeft
from rlexp.spec.reward import RewardSpec
from rlexp.spec.run import Basics
from rlexp.spec.scoring import ScoringSpec
from rlexp.spec.tracking import TrackingSpec
from rlexp.spec.train import TrainSpec

PARTS: dict[str, type[Part]] = {
    "model": ModelSpec,
    "hardware": HardwareSpec,
    "eval": EvalSpec,
    "guards": GuardsSpec,
    "tracking": TrackingSpec,
}
COMPONENTS: dict[str, Any] = {"algo": AlgoSpec, "data": DataSpec, "reward": RewardSpec}
ALGORITHMS = {file.stem for file in choice_files("algo")} - {"distill"}
"""All but the one that wants a teacher to be named."""
PATHS = {"rotten_grpo": {"model.path", "reward.path"}}
"""What an experiment leaves to be named: models that other runs have trained."""
RUN_BY = {"reinforce_pp": {"ppo"}}
"""Experiments whose names say another algorithm than that whose trainer runs them."""
PEFT = {"none": NoPeft, "qlora": QloraPeft}


def choices(*groups: str) -> list[Any]:
    files = [file for group in groups for file in choice_files(group)]
    return [pytest.param(file, id=f"{file.parent.name}={file.stem}") for file in files]


def chosen(file: Path) -> dict[str, Any]:
    """What a choice's yaml makes of its group, with all that it inherits; not resolved."""
    group = file.parent.name
    config = OmegaConf.to_container(composed_config([f"{group}={file.stem}"])[group])
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def keys_and_fields(config: Any, kind: type[Part]) -> tuple[set[str], set[str]]:
    return set(config) - {"_target_"}, set(kind.model_fields)


@pytest.mark.parametrize("file", choices(*PARTS, *COMPONENTS))
def test_keys_are_the_specs_fields(file: Path) -> None:
    """A default that hides in Python, or a key of the yaml that nothing reads."""
    group = file.parent.name
    config = chosen(file)
    if group in COMPONENTS:
        kind: type[Part] = component_class(config, COMPONENTS[group], group)
    else:
        kind = PARTS[group]
    keys, fields = keys_and_fields(config, kind)
    assert keys == fields


@pytest.mark.parametrize("file", choices("peft"))
def test_adapters_keys_are_the_specs_fields(file: Path) -> None:
    """The same for the adapters, whose kinds have different fields."""
    keys, fields = keys_and_fields(chosen(file), PEFT.get(file.stem, LoraPeft))
    assert keys == fields


def test_the_top_of_the_config_has_the_specs_fields() -> None:
    """A top-level key or one of `train` without a field, or a field without its default."""
    config = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    assert keys_and_fields(config["train"], TrainSpec)[0] == set(TrainSpec.model_fields)
    assert set(config["scoring"]) == set(ScoringSpec.model_fields)
    assert set(config) - {"defaults", "hydra", "train", "scoring"} == set(Basics.model_fields)


def part_classes(kind: type[Part]) -> list[type[Part]]:
    return [kind, *(each for below in kind.__subclasses__() for each in part_classes(below))]


@pytest.mark.long
def test_each_field_says_what_it_means() -> None:
    """A knob without a word on its meaning."""
    for file in [each.values[0] for each in choices(*COMPONENTS)]:
        component_class(chosen(file), COMPONENTS[file.parent.name], file.parent.name)
    ours = [kind for kind in part_classes(Part) if kind.__module__.startswith("rlexp.")]
    silent = [
        f"{kind.__name__}.{name}"
        for kind in ours
        for name, info in kind.model_fields.items()
        if not info.description
    ]
    assert silent == []


@pytest.mark.parametrize(
    "file",
    choices(
        "algo", "model", "data", "reward", "hardware", "peft", "eval", "tracking", "experiment"
    ),
)
def test_begins_with_one_line_on_what_it_is(file: Path) -> None:
    """A choice that `--help` could only name."""
    lines = file.read_text(encoding="utf-8").splitlines()
    first = next(line for line in lines if not line.startswith("# @package"))
    assert first.startswith("# ") and len(first) > 12


@pytest.mark.parametrize("file", choices("experiment"))
def test_experiments_are_valid(file: Path) -> None:
    """An experiment that names a key or a choice that is gone, or wants more paths than it says."""
    wanted, parts = PATHS.get(file.stem, set()), set(file.stem.split("_"))
    named = RUN_BY.get(file.stem) or ALGORITHMS & {file.stem} or ALGORITHMS & parts
    try:
        spec = spec_of(f"experiment={file.stem}")
    except UserError as error:
        assert {problem.key for problem in error.problems} == wanted
    else:
        assert not wanted and named <= {spec.algo.name}


@pytest.mark.parametrize("algo", sorted(ALGORITHMS))
@pytest.mark.parametrize("model", ["tiny", "qwen0.5b", "qwen1.5b", "qwen3-0.6b", "smollm2-135m"])
def test_each_algorithm_takes_each_model(algo: str, model: str) -> None:
    """A recommendation of a model that an algorithm's checks refuse."""
    assert spec_of(f"algo={algo}", f"model={model}").model.name == model


def test_precedence_is_model_algorithm_experiment_command_line() -> None:
    """An order of the defaults in which a later choice is overridden by an earlier one."""
    assert composed("model=qwen0.5b")["train"]["max_steps"] == 100
    assert composed("experiment=hh_dpo")["train"]["max_steps"] == 200
    assert composed("experiment=hh_dpo", "train.max_steps=7")["train"]["max_steps"] == 7
    assert composed("experiment=hh_dpo", "algo=sft")["algo"]["name"] == "sft"


def test_a_spec_survives_its_own_config_file() -> None:
    """A worker process that would run something else than what the config file says."""
    config = composed("algo=dpo", "reward=mix", "peft=lora")
    again = yaml.safe_load(yaml.safe_dump(config))
    from rlexp.spec.run import RunSpec

    assert RunSpec.parse(again) == RunSpec.parse(config)


def test_unions_are_told_apart_by_kind() -> None:
    """An adapter of one kind read as one of another."""
    from rlexp.spec.peft import PeftSpec

    peft = composed("peft=qlora")["peft"]
    assert isinstance(TypeAdapter(PeftSpec).validate_python(peft), QloraPeft)


def test_losses_are_all_that_trl_has() -> None:
    """A loss that TRL's DPO has gained or lost since."""
    import ast
    import importlib.util

    from rlexp.algos.dpo import Loss

    package = importlib.util.find_spec("trl")
    assert package and package.submodule_search_locations
    source = Path(package.submodule_search_locations[0]) / "trainer" / "dpo_trainer.py"
    compared = [
        node.comparators[0].value
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Name)
        and node.left.id == "loss_type"
        and isinstance(node.comparators[0], ast.Constant)
    ]
    assert set(get_args(Loss)) == set(compared)


def test_all_mistakes_at_once() -> None:
    """A check that stops at the first part with a mistake."""
    with pytest.raises(UserError) as caught:
        spec_of("seed=-1", "train.batch_size=0", "eval.prompts=x", "algo.beta=-1")
    assert {problem.key for problem in caught.value.problems} == {
        "seed",
        "train.batch_size",
        "eval.prompts",
        "algo.beta",
    }
