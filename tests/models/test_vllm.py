"""`algo.rollout=vllm`, with a stand-in for vLLM that samples from a transformers model.

vLLM itself needs a GPU. What is tested is all that stands between it and the trainers: which
prompts it gets and how it is asked to sample, what becomes of its tokens, log-probabilities and
ends, and that it has the policy's weights whenever it samples.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import trl.experimental.online_dpo  # noqa: F401 (it looks for vLLM once; not for the stand-in)
from accelerate import Accelerator
from peft import LoraConfig
from runs import spec_of
from tiny_policy import END, PROMPTS, Recording, TinyPolicy, policy_of
from trl.generation import vllm_generation

from rlexp.algos.common.trl import Training
from rlexp.models.policy import Policy
from rlexp.models.sampling.vllm import VllmRollout
from rlexp.spec.algo import VllmSpec
from rlexp.spec.errors import UserError

SOME = dict(max_new_tokens=6, temperature=0.5, top_k=7, top_p=1.0)
WHERE = dict(server_host="h", server_port=1, gpu_memory_utilization=0.4, tensor_parallel_size=1)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in, as TRL sees it once it is installed."""
    environment = dict(os.environ)
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("standin_vllm")))
    import vllm  # pyright: ignore[reportMissingImports]

    monkeypatch.setattr(vllm_generation, "is_vllm_available", lambda: True)
    for name in ("LLM", "SamplingParams"):
        monkeypatch.setattr(vllm_generation, name, getattr(vllm, name), raising=False)
    monkeypatch.setattr(vllm.LLM, "made", [])
    yield vllm
    os.environ.clear()
    os.environ.update(environment)  # TRL sets RANK and others for vLLM
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


def trained(algo: str, folder: Path, *more: str, adapter: Any = None) -> tuple[Any, Policy, list]:
    """A training of three steps that samples by vLLM; trainer, policy, and the reward's calls."""
    spec = spec_of(
        *[f"algo={algo}", "train.batch_size=8", "train.max_steps=3", "hardware=cpu", *more],
        *[f"algo.{name}={value}" for name, value in SOME.items() if name != "max_new_tokens"],
        *["algo.max_completion_length=6", "algo.learning_rate=1e-2"],
    )
    algorithm = spec.algo.model_copy(update={"rollout": "vllm"})  # the spec would want a GPU
    reward = Recording(name="long", calls=[])
    spec = spec.model_copy(update={"algo": algorithm, "reward": reward})
    policy = policy_of(TinyPolicy(), folder / "model", adapter)
    rows = [{"prompt": f"w{i} w{i + 9}"} for i in range(8)]
    trainer = algorithm.build_trainer(Training(spec, policy, rows, folder / "out", False, []))
    return trainer, policy, reward.calls


ALGORITHMS = {
    "grpo": ("algo.num_generations=4",),
    "rloo": ("algo.num_generations=4",),
    "online_dpo": (),
    "ppo": (),
    "reinforce": (),
}


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """Copies of the whole weights, with the adapter merged into them."""
    if not hasattr(model, "merge_adapter"):
        return {name: value.detach().clone() for name, value in model.named_parameters()}
    model.merge_adapter()
    engine_arguments = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): value.detach().clone()
        for name, value in model.named_parameters()
        if "lora_" not in name
    }
    model.unmerge_adapter()
    return engine_arguments


@pytest.mark.parametrize("with_adapter", [False, True], ids=["whole", "adapter"])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_training_samples_from_its_newest_weights(
    algo: str, with_adapter: bool, vllm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches vLLM with old weights or without the adapter, prompts or answers that get lost or
    change places, an end token that it does not know, and knobs that do not arrive."""
    adapter = LoraConfig(target_modules="all-linear", lora_dropout=0.0) if with_adapter else None
    trainer, policy, calls = trained(algo, tmp_path, *ALGORITHMS[algo], adapter=adapter)
    (engine,) = vllm.LLM.made
    now, sampling = [], engine.generate

    def generate(*arguments: Any, **options: Any) -> Any:
        now.append(weights_of(trainer.model))
        return sampling(*arguments, **options)

    monkeypatch.setattr(engine, "generate", generate)
    trainer.train()
    assert len(engine.calls) == len(calls) == 3
    for (asked, rollout, weights), ours, (prompts, completions, _) in zip(
        engine.calls, now, calls, strict=True
    ):
        assert (asked.max_tokens, asked.temperature, asked.top_k, asked.top_p) == (6, 0.5, 7, 1.0)
        assert asked.stop_token_ids == [END]
        assert weights.keys() <= ours.keys()
        assert all(torch.allclose(weights[name], ours[name], atol=1e-6) for name in weights)
        decoded = policy.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
        assert completions == decoded
        assert rollout.prompts() == policy.encode(prompts)
    first, last = engine.calls[0][2], engine.calls[-1][2]
    assert any(not torch.equal(first[name], last[name]) for name in first)


def test_rollouts_have_vllms_tokens_log_probs_and_ends(vllm: Any, tmp_path: Path) -> None:
    """Catches padding that is masked in, log-probabilities of other tokens, an answer that was cut
    taken for one that ended, and knobs that are changed after vLLM was started with them."""
    policy = policy_of(TinyPolicy(), tmp_path)
    where = VllmSpec(mode="colocate", **WHERE)  # pyright: ignore[reportArgumentType]
    how = {**SOME, "max_new_tokens": 24, "temperature": 1.5}
    by_vllm = VllmRollout(policy, Accelerator(cpu=True), where, how, longest=20, at_once=4)
    rollout = by_vllm([*PROMPTS, [END + 1]], **how)
    ((_, wanted, _),) = vllm.LLM.made[0].calls
    assert rollout.prompts() == [*PROMPTS, [END + 1]]
    for name in ("completion_ids", "completion_mask", "ended", "prompt_mask"):
        assert torch.equal(getattr(rollout, name), getattr(wanted, name)), name
    assert torch.allclose(rollout.log_probs, wanted.log_probs)
    assert not rollout.ended.all() and (rollout.completion_mask == 0).any()
    options = vllm.LLM.made[0].options
    assert (options["gpu_memory_utilization"], options["max_model_len"]) == (0.4, 20)
    with pytest.raises(ValueError, match="was asked for"):
        by_vllm(PROMPTS, **{**how, "temperature": 1.0})


@pytest.mark.parametrize("algo", ["ppo", "grpo"])
def test_whose_log_probs_form_the_ratio(
    algo: str, vllm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a ratio of new to old policy that is formed from vLLM's log-probabilities, whose
    kernels differ from the trainer's; and a GRPO that does not correct for the difference."""
    monkeypatch.setattr(vllm.LLM, "shift", -0.5)
    one_pass = ["algo.epochs=1"] if algo == "ppo" else ["algo.num_generations=4", "algo.top_k=0"]
    trainer, *_ = trained(algo, tmp_path, *one_pass)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "reward" in log]
    if algo == "ppo":
        assert [log["ratio"] for log in logs] == pytest.approx([1.0] * 3, abs=1e-5)
    else:
        differences = [log["sampling/sampling_logp_difference/mean"] for log in logs]
        assert differences == pytest.approx([0.5] * 3, abs=1e-3)


class Server:
    """TRL's client of a vLLM server, with the engine behind it in this process."""

    def __init__(self, vllm: Any, model: str) -> None:
        self.engine = vllm.LLM(model, seed=0)
        self.vllm = vllm

    def __call__(self, **options: Any) -> Server:
        self.options = options
        return self

    def init_communicator(self, device: Any) -> None:
        """Weights go by reference."""

    def update_named_params(self, metadata: list[Any], named: Iterator[Any]) -> None:
        weights = list(named)
        assert [entry[0] for entry in metadata] == [name for name, _ in weights]
        self.engine._load_weights(weights)

    def reset_prefix_cache(self) -> None:
        """Nothing is cached."""

    def generate(
        self,
        prompts: list[list[int]],
        features: None,
        structured_outputs_regex: None,
        generation_kwargs: dict[str, Any],
        **how: Any,
    ) -> dict[str, Any]:
        asked = self.vllm.SamplingParams(**how, **generation_kwargs)
        rows = [{"prompt_token_ids": ids} for ids in prompts]
        outputs = self.engine.generate(rows, asked, use_tqdm=False)
        answers = [answer for output in outputs for answer in output.outputs]
        log_probs = [answer.logprobs for answer in answers]
        values = [[[v.logprob for v in t.values()] for t in a] for a in log_probs if a is not None]
        return {
            "prompt_ids": prompts,
            "completion_ids": [answer.token_ids for answer in answers],
            "logprobs": values or None,
        }


@pytest.mark.parametrize("algo", ["rloo", "reinforce", "online_dpo"])
def test_a_server_samples(
    algo: str, vllm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an address that does not arrive, weights that are not sent, and answers of a server
    that go to other prompts than theirs."""
    policy_of(TinyPolicy(), tmp_path / "served")
    server = Server(vllm, str(tmp_path / "served"))
    monkeypatch.setattr(vllm_generation, "VLLMClient", server)
    address = ["algo.vllm.mode=server", "algo.vllm.server_host=gpu7", "algo.vllm.server_port=81"]
    trainer, policy, calls = trained(algo, tmp_path, *ALGORITHMS[algo], *address)
    trainer.train()
    assert server.options["base_url"] == "http://gpu7:81"
    assert len(server.engine.calls) == len(calls) == 3
    for (_, rollout, _), (prompts, completions, _) in zip(server.engine.calls, calls, strict=True):
        assert rollout.prompts() == policy.encode(prompts)
        decoded = policy.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
        assert completions == decoded
    first, last = server.engine.calls[0][2], server.engine.calls[-1][2]
    assert any(not torch.equal(first[name], last[name]) for name in first)


def test_a_server_that_is_not_there(vllm: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Catches a traceback of the client's where an address is wrong."""

    def refuse(**options: Any) -> None:
        raise ConnectionError("no answer")

    monkeypatch.setattr(vllm_generation, "VLLMClient", refuse)
    for algo in ("ppo", "grpo"):
        with pytest.raises(UserError, match="where no vLLM answers"):
            trained(algo, tmp_path, *ALGORITHMS[algo], "algo.vllm.mode=server")


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a run that loads its model before it finds that it cannot sample."""
    with pytest.raises(UserError) as caught:
        spec_of("algo=ppo", "algo.rollout=vllm", "algo.vllm.tensor_parallel_size=2", "hardware=cpu")
    message = str(caught.value)
    assert {problem.key for problem in caught.value.problems} == {
        "algo.rollout",
        "algo.vllm.tensor_parallel_size",
    }
    assert "pip install 'rlexp[vllm]'" in message and "without an NVIDIA GPU" in message
    for algo in ("ppo", "reinforce"):
        with pytest.raises(UserError, match=r"algo\.rollout"):
            spec_of(f"algo={algo}", "algo.rollout=transformers")
