"""Who samples while an algorithm trains: from `algo.rollout` to what a trainer takes.

| `algo.rollout` | grpo | rloo, distill | online_dpo | ppo, reinforce |
|---|---|---|---|---|
| `fast` | `rollout_func` | `generate` replaced | `generate` replaced | the policy |
| `transformers` | TRL | TRL | TRL | |
| `vllm` | TRL's `use_vllm` | TRL's `use_vllm` | `generate` replaced | the policy |

(Online DPO's own way to vLLM lets padding pass for prompt where a server samples.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rlexp.algos.common.reward_function import RewardFunction
from rlexp.algos.common.trl import Training, trl_arguments
from rlexp.curriculum.batches import uniform
from rlexp.spec.algo import RolloutAlgo, TrainerLike, trl_values
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.train import TrainSpec


def rollout_arguments(algo: RolloutAlgo, training: Training) -> dict[str, Any]:
    """Return `trl_arguments`, and what TRL's config is told of dropout and of vLLM."""
    # With the model's own dropout the passes that form a ratio or a KL would see two networks.
    of_adapter = getattr(training.policy.adapter, "lora_dropout", 0.0)
    arguments = {"disable_dropout": not of_adapter, **trl_arguments(algo, training)}
    if algo.rollout != "vllm" or not algo.trl_runs_vllm:
        return arguments
    options = arguments.pop("generation_kwargs", None) or {}
    return {
        "use_vllm": True,
        **trl_values(algo.vllm),
        "vllm_max_model_length": longest_sequence(algo, training),
        # vLLM knows the end token of the model's folder only.
        "generation_kwargs": {"stop_token_ids": training.policy.eos_token_ids, **options},
        **arguments,
    }


def sampling(algo: RolloutAlgo) -> dict[str, Any]:
    """Return how answers are drawn, in the words of `rlexp.models.sampling.rollout.roll_out`."""
    kept = {"top_k": algo.top_k, "top_p": algo.top_p}
    return {"max_new_tokens": algo.max_completion_length, "temperature": algo.temperature, **kept}


def longest_sequence(algo: RolloutAlgo, training: Training) -> int:
    """Return the tokens of the longest prompt that is let through, and the longest answer."""
    return training.spec.data.longest_prompt + algo.max_completion_length


@contextmanager
def explain_missing_server(algo: RolloutAlgo) -> Iterator[None]:
    """Turn a vLLM server's missing answer into a mistake of the user, who has to start it.

    Raises:
        UserError: no server at the address.
    """
    try:
        yield
    except ConnectionError as error:
        if algo.rollout != "vllm":
            raise
        got = f"{algo.vllm.server_host}:{algo.vllm.server_port}, where no vLLM answers"
        remedy = "Start it with `vllm serve`, or set algo.vllm.mode=colocate."
        raise UserError(Problem("algo.vllm.server_host", got, "a server", remedy)) from error


def with_vllm(algo: RolloutAlgo, training: Training, trainer: TrainerLike) -> TrainerLike:
    """Return the trainer; vLLM samples its policy where the algorithm says so."""
    if algo.rollout == "vllm":
        policy = training.policy
        policy.model = trainer.model
        at_once = training.spec.train.batch_size // training.spec.hardware.processes
        size = {"longest": longest_sequence(algo, training), "at_once": at_once}
        with explain_missing_server(algo):
            weights_callback = policy.sample_by_vllm(
                trainer.accelerator, algo.vllm, sampling(algo), **size
            )
        trainer.add_callback(weights_callback)
    return trainer


def with_dynamic_sampling(
    algo: RolloutAlgo, training: Training, trainer: TrainerLike, reward: RewardFunction
) -> TrainerLike:
    """Return one of TRL's trainers with groups, which replaces those that teach nothing."""
    attempts = getattr(algo, "dynamic_sampling", 0)
    if attempts == 0:
        return trainer
    from rlexp.algos.common.dynamic_sampling import DynamicSampler

    curriculum = training.curriculum or uniform(training.spec.seed, len(training.rows))
    policy, drawing = training.policy, sampling(algo)
    sampler = DynamicSampler(trainer, policy, reward, curriculum, drawing, attempts)
    trainer.training_step = sampler  # pyright: ignore[reportAttributeAccessIssue]
    return trainer


def dynamic_sampling_problems(
    algo: RolloutAlgo, train: TrainSpec, hardware: HardwareSpec
) -> list[Problem]:
    """Return what keeps groups from being replaced: another sampler, or groups cut in two."""
    key = "algo.dynamic_sampling"
    attempts = getattr(algo, "dynamic_sampling", 0)
    if attempts == 0:
        return []
    problems = []
    if algo.answers_a_prompt < 2:
        got = f"{attempts}, with one answer a prompt"
        want = "groups of answers, of which those that all earn the same are replaced"
        remedy = "Set algo.num_generations=4, or algo.dynamic_sampling=0."
        problems.append(Problem(key, got, want, remedy))
    if algo.rollout == "transformers" or (algo.rollout == "vllm" and algo.trl_runs_vllm):
        want = f"0 with algo.rollout={algo.rollout}, whose answers only TRL sees"
        problems.append(Problem(key, str(attempts), want, "Set algo.rollout=fast."))
    share = train.batch_size // hardware.processes
    if share % algo.answers_a_prompt:
        got = f"{attempts}, with {share} sequences a process"
        want = f"whole groups of {algo.answers_a_prompt} in each process"
        remedy = (
            f"Set train.batch_size={algo.answers_a_prompt * hardware.processes}, or a multiple."
        )
        problems.append(Problem(key, got, want, remedy))
    return problems


def with_rollouts(algo: RolloutAlgo, training: Training, trainer: TrainerLike) -> TrainerLike:
    """Return one of TRL's trainers that samples by `generate`, with rlexp's rollouts instead."""
    if algo.rollout == "transformers" or (algo.rollout == "vllm" and algo.trl_runs_vllm):
        return trainer
    trainer = with_vllm(algo, training, trainer)
    training.policy.model = trainer.model
    trainer.add_callback(training.policy.in_place_of_generate())
    return trainer
