"""What the rest of the house knows of an algorithm before its code is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field

from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import KINDS, Head, ModelKind
from rlexp.spec.part import Component, Part
from rlexp.spec.reward import DataColumns
from rlexp.spec.train import TrainSpec

RowFormat = Literal[
    "prompts",  # a prompt, as it is sampled from
    "bare_prompts",  # the same without the tokens that a tokenizer puts around a text
    "demonstrations",  # prompt and completion
    "labelled",  # the same, good or bad
    "pairs",  # a prompt with two answers
    "scored_pairs",  # two whole texts
    "joined_pairs",  # a prompt with two answers, tokenized as TRL's older trainers do
]
"""How a trainer makes token ids of a row."""


@dataclass(frozen=True)
class TrlField:
    """Marks a knob that is a field of TRL's config: all that is said of how TRL gets it.

    Attributes:
        name: TRL's, where it is not the knob's own.
        convert: from the knob's value to TRL's.
    """

    name: str = ""
    convert: Callable[[Any], Any] | None = None


def trl_names(kind: type[Part], key: str) -> dict[str, str]:
    """Return the TRL fields that a part's marked knobs stand for, each with the knob's key."""
    return {mark.name or knob: f"{key}.{knob}" for knob, mark in _marked(kind)}


def trl_values(part: Part) -> dict[str, Any]:
    """Return the values that a part's marked knobs give to TRL's fields."""
    values = ((mark, knob, getattr(part, knob)) for knob, mark in _marked(type(part)))
    return {
        mark.name or knob: mark.convert(value) if mark.convert else value
        for mark, knob, value in values
    }


def _marked(kind: type[Part]) -> list[tuple[str, TrlField]]:
    return [
        (knob, mark)
        for knob, info in kind.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, TrlField)
    ]


class PreferenceSampling(Part):
    """How rows are made where the data has none of the kind: sampled, then judged by the reward."""

    prompts: int = Field(gt=0)
    """Prompts to sample for. More than the training needs is cut."""
    completions: int = Field(ge=2)
    """Completions a prompt. The best and the worst by the reward become a pair; where labels are
    wanted, those above their mean are good and those below it bad."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the samples."""


class TrainerLike(Protocol):
    """What a run asks of a trainer: transformers' Trainer, and those of `rlexp.trainers`."""

    model: Any
    """The model that is trained, with its adapter."""
    accelerator: Any
    """accelerate's Accelerator."""

    def train(self, resume_from_checkpoint: str | None = None) -> Any:
        """Train to the end, from the beginning or from a checkpoint's folder."""
        ...

    def add_callback(self, callback: Any) -> None:
        """Call a TrainerCallback from now on."""
        ...

    def remove_callback(self, callback: Any) -> None:
        """Stop calling callbacks of a class."""
        ...


class AlgoSpec(Component):
    """An algorithm: its knobs, and what it needs from data and reward.

    A subclass adds its knobs, and a `build_trainer` that imports TRL lazily.
    """

    needs: ClassVar[Kind]
    """The kind of rows that it trains on."""
    row_format: ClassVar[RowFormat] = "prompts"
    """How its trainer makes token ids of them."""
    needs_reward: ClassVar[bool] = False
    """Whether a reward is called while it trains."""
    trl_config: ClassVar[tuple[str, str]]
    """Where TRL keeps its config: file inside the package, class."""
    head: ClassVar[Head] = "language"
    """What the model's last layer gives."""
    adapts_head: ClassVar[bool] = True
    """Whether an adapter may sit on the last layer; some of TRL's trainers read its bare weight."""
    trains: ClassVar[bool] = True
    """False for an `UntrainedAlgo`."""
    reads_training_rows: ClassVar[bool] = True
    """False where held-out rows alone are looked at."""
    evaluates: ClassVar[bool] = True
    """False where nothing is measured as `eval` says."""
    owned: ClassVar[dict[str, str]] = {}
    """TRL fields that rlexp sets itself, beside the knobs that are marked with `TrlField`, each
    with the key that the user has for it."""

    learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    trl: dict[str, Any]
    """Anything else, passed to TRL's config verbatim; names are checked."""

    @property
    def model_kind(self) -> ModelKind:
        """What it trains, by its head."""
        return KINDS[self.head]

    @property
    def longest_example(self) -> int | None:
        """Most tokens of a training example; None where the rollouts' lengths bound it."""
        return getattr(self, "max_length", None)

    @property
    def sampling(self) -> PreferenceSampling | None:
        """How its rows can be sampled where the data has none of their kind; None: they cannot."""
        return None

    @property
    def ignores_answers(self) -> bool:
        """Whether rows are sampled even where the data has them."""
        return False

    @property
    def matches_labels(self) -> bool:
        """Whether texts labelled true and false are matched to pairs where the data has none."""
        return False

    def columns(self) -> dict[str, set[str]]:
        """Data columns that it reads beside those of its rows' kind, by the key that asks."""
        return {}

    def row_problems(self, columns: DataColumns) -> list[tuple[int, Problem]]:
        """What these columns of the training rows hold that it cannot use, by the row's index."""
        return []

    def build_trainer(self, training: Any) -> TrainerLike:
        """The algorithm's trainer, from a `rlexp.algos.common.trl.Training`."""
        raise TypeError(f"{type(self).__name__} must build its trainer")

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """What is wrong with the batch or the devices for this algorithm."""
        return []

    def fits_model(self, model: ModelSpec) -> list[Problem]:
        """What is wrong with the model for this algorithm, as far as it is on this machine."""
        return []


class UntrainedAlgo(AlgoSpec):
    """What is done with a model that stays as it is; a function of its own runs it."""

    needs: ClassVar[Kind] = "prompts"
    trains: ClassVar[bool] = False
    run_by: ClassVar[str]
    """Full name of that function. It is called with spec, folder and MLflow's parent run, as
    `rlexp.run.run` is, and imported late, since this room is light."""

    learning_rate: None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Null: nothing is learnt."""
    trl: dict[str, Any] = Field(max_length=0)
    """Empty: TRL has no part in it."""

    @property
    def warns_of_training(self) -> bool:
        """Whether the card warns of what a training does to a model."""
        return False

    @classmethod
    def sentence(cls, config: Mapping[str, Any]) -> str:
        """What a run of this composed config does, for its page in MLflow. Markdown."""
        raise TypeError(f"{cls.__name__} must say what it does")

    @classmethod
    def runner(cls) -> Callable[..., None]:
        """The function that `run_by` names."""
        module, _, name = cls.run_by.rpartition(".")
        return getattr(import_module(module), name)


class PairAlgo(AlgoSpec):
    """An algorithm that learns from pairs, which can be sampled where the data has none."""

    needs: ClassVar[Kind] = "pairs"
    row_format: ClassVar[RowFormat] = "pairs"

    pairs: PreferenceSampling
    """How pairs are made where the data has none."""

    @property
    def sampling(self) -> PreferenceSampling:
        return self.pairs


class VllmSpec(Part):
    """Where vLLM runs, and how much of the machine it gets."""

    mode: Annotated[Literal["colocate", "server"], TrlField("vllm_mode")]
    """`colocate`: in the training's own processes, on the same GPUs. `server`: on GPUs of its own,
    started by `vllm serve`; its weights are sent to it before each rollout."""
    server_host: Annotated[str, TrlField("vllm_server_host")] = Field(min_length=1)
    """Host of the server."""
    server_port: Annotated[int, TrlField("vllm_server_port")] = Field(gt=0, lt=65536)
    """Port of the server."""
    gpu_memory_utilization: Annotated[float, TrlField("vllm_gpu_memory_utilization")] = Field(
        gt=0, lt=1
    )
    """Share of a GPU's memory for vLLM's weights and cache in `colocate`; training has the rest."""
    tensor_parallel_size: Annotated[int, TrlField("vllm_tensor_parallel_size")] = Field(gt=0)
    """GPUs that share one copy of the model in `colocate`; a divisor of `hardware.processes`."""


SAMPLING_OF_TRL = (
    "cache_implementation",
    "generation_kwargs",
    "min_p",
    "repetition_penalty",
    "use_transformers_continuous_batching",
)
"""TRL fields that say how TRL samples; rollouts that are not TRL's know nothing of them."""


class RolloutAlgo(AlgoSpec):
    """An algorithm that learns from answers that the policy samples while it trains."""

    needs: ClassVar[Kind] = "prompts"
    needs_reward: ClassVar[bool] = True
    trl_runs_vllm: ClassVar[bool] = False
    """Whether vLLM is TRL's to call, with TRL's options."""

    max_completion_length: Annotated[int, TrlField()] = Field(gt=0)
    """Longest completion, in tokens."""
    temperature: Annotated[float, TrlField()] = Field(gt=0)
    """Softmax temperature of the rollouts."""
    top_p: Annotated[float, TrlField()] = Field(gt=0, le=1)
    """Nucleus sampling keeps the most likely tokens of this total probability; 1 keeps all."""
    top_k: Annotated[int, TrlField()] = Field(ge=0)
    """Most likely tokens kept; 0 keeps all."""
    rollout: Literal["fast", "transformers", "vllm"]
    """Who samples. `fast`: rlexp's own loop. `transformers`: its `generate` (slower, but it knows
    the sampling options of `algo.trl`). `vllm`: vLLM, for models that are large on GPUs; it draws
    by its own random numbers, so that a seed does not repeat a run."""
    vllm: VllmSpec
    """Where vLLM runs, for `rollout=vllm`."""

    @property
    def answers_a_prompt(self) -> int:
        """Completions sampled to one prompt, and rewarded together."""
        return getattr(self, "num_generations", 1)

    def problems(self) -> list[Problem]:
        """What TRL is told about its sampling must not be lost where another samples."""
        if self.rollout == "transformers" or (self.rollout == "vllm" and self.trl_runs_vllm):
            return []
        names = [name for name in SAMPLING_OF_TRL if name in self.trl]
        want = "algo.rollout=transformers, which samples by TRL"
        return [Problem(f"algo.trl.{name}", str(self.trl[name]), want) for name in names]
