"""What rlexp costs on top of TRL: python benchmarks/overhead.py

The same DPO and GRPO work is done by `python -m rlexp` (checkpoints, spool and MLflow on) and by a
plain TRL script: same model, rows, seed and settings. The loss curves must agree to the last bit;
the time of the training loop is compared in pairs of runs, one after the other, in turns. Guards,
which look at held-out prompts as the script does not, are off (`guards=off`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ALGORITHMS = ("dpo", "grpo")


def with_rlexp(algo: str, steps: int, folder: Path) -> tuple[list[float], float, Path]:
    """Losses, seconds of the training loop and the run's folder."""
    command = [sys.executable, "-m", "rlexp", f"algo={algo}", "eval=quick", "guards=off"]
    options = [f"train.max_steps={steps}", "eval.texts=0", f"hydra.run.dir={folder}"]
    options += ["algo.rollout=transformers"] if algo == "grpo" else []  # the same samples as TRL's
    subprocess.run([*command, *options], cwd=folder.parent, check=True, stdout=subprocess.DEVNULL)
    events = [json.loads(line) for line in (folder / "spool.jsonl").read_text().splitlines()]
    metrics = [event["metrics"] for event in events if event["kind"] == "metrics"]
    losses = [each["train/loss"] for each in metrics if "train/loss" in each]
    card = json.loads((folder / "card.json").read_text())
    return losses, card["train_seconds"], folder


def with_trl(algo: str, run: Path) -> tuple[list[float], float]:
    """The same by a plain script in a process of its own."""
    command = [sys.executable, __file__, "--plain", algo, "--like", str(run)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["losses"], found["seconds"]


def plain(algo: str, run: Path) -> None:
    """What somebody without rlexp would write, with the settings of a run's config."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import yaml
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    from rlexp.builtin import tiny

    config = yaml.safe_load((run / "config.yaml").read_text())
    torch.set_num_threads(os.cpu_count() or 1)
    folder = tiny.ensure_tiny_model()
    parts = {
        "model": AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        "processing_class": AutoTokenizer.from_pretrained(folder, padding_side="left"),
    }
    with tempfile.TemporaryDirectory() as scratch:
        common = {**settings(config), "output_dir": scratch}
        build = plain_dpo if algo == "dpo" else plain_grpo
        trainer = build(config, run, common, parts)
        trainer.remove_callback(PrinterCallback)
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
    losses = [each["loss"] for each in trainer.state.log_history if "loss" in each]
    print(json.dumps({"losses": losses, "seconds": seconds}))


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """What both of TRL's configs are told of a run's config."""
    return {
        "max_steps": config["train"]["max_steps"],
        "per_device_train_batch_size": config["train"]["batch_size"],
        "learning_rate": config["algo"]["learning_rate"],
        "beta": config["algo"]["beta"],
        "lr_scheduler_type": "linear",
        "weight_decay": 0.0,
        "seed": config["seed"],
        "save_steps": config["train"]["checkpoint_every"],
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def plain_dpo(
    config: dict[str, Any], run: Path, common: dict[str, Any], parts: dict[str, Any]
) -> Any:
    """TRL's DPOTrainer on the run's pairs."""
    import trl
    from datasets import Dataset

    lines = (run / "pairs.jsonl").read_text().splitlines()
    names = ("prompt", "chosen", "rejected")
    rows = [{name: json.loads(line)[name] for name in names} for line in lines]
    arguments = trl.DPOConfig(
        loss_type=config["algo"]["loss_type"],
        loss_weights=config["algo"]["loss_weights"],
        max_length=config["algo"]["max_length"],
        **common,
    )
    return trl.DPOTrainer(args=arguments, train_dataset=Dataset.from_list(rows), **parts)


def plain_grpo(
    config: dict[str, Any], run: Path, common: dict[str, Any], parts: dict[str, Any]
) -> Any:
    """TRL's GRPOTrainer on the run's prompts."""
    import trl
    from datasets import Dataset
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    from rlexp.data.load import load_data
    from rlexp.data.prompt_templates import frame
    from rlexp.spec import RunSpec

    spec = RunSpec.parse(config)
    splits = load_data(spec.data, "prompts")
    analyzer = SentimentIntensityAnalyzer()

    def sentiment(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        texts = [p + c for p, c in zip(prompts, completions, strict=True)]
        return [analyzer.polarity_scores(text)["compound"] for text in texts]

    names = ("num_generations", "max_completion_length", "temperature", "top_p", "top_k")
    names += ("loss_type", "scale_rewards", "epsilon", "num_iterations")
    return trl.GRPOTrainer(
        args=trl.GRPOConfig(**common, **{name: config["algo"][name] for name in names}),
        reward_funcs=sentiment,  # pyright: ignore[reportArgumentType]
        train_dataset=Dataset.from_list(frame(splits.train, spec.data, False)),
        **parts,
    )


def compare(algo: str, steps: int, pairs: int) -> None:
    """Print agreement and ratio of one algorithm."""
    ratios, equal = [], True
    with tempfile.TemporaryDirectory() as scratch:
        for index in range(pairs):
            losses, seconds, run = with_rlexp(algo, steps, Path(scratch) / f"{algo}-{index}")
            plain_losses, plain_seconds = with_trl(algo, run)
            equal &= losses == plain_losses
            ratios.append(seconds / plain_seconds)
            print(f"  {algo} pair {index}: {seconds:.2f} s, plain TRL {plain_seconds:.2f} s")
    print(
        f"{algo}: {steps} steps, losses {'equal to the last bit' if equal else 'DIFFER'}, "
        f"time {statistics.median(ratios):.3f} of plain TRL (median of {pairs} pairs, "
        f"{min(ratios):.3f} to {max(ratios):.3f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--plain", choices=ALGORITHMS)
    parser.add_argument("--like", type=Path)
    arguments = parser.parse_args()
    if arguments.plain:
        plain(arguments.plain, arguments.like)
        return
    for algo in ALGORITHMS:
        compare(algo, arguments.steps, arguments.pairs)


if __name__ == "__main__":
    main()
