"""Files that commands with a mistake need, made in the current folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import chat_tokenizers
import numpy as np
import yaml
from chat_tokenizers import byte_tokenizer
from model_folders import qwen2_tensors, write_model
from spec.test_wrong_input import QWEN, SCORER, model_folder

EARLIER = Path(__file__).parent / "whole_runs" / "earlier_runs"
Prepare = Callable[[Path], None]


def file(name: str, text: str) -> Prepare:
    """A file in the current folder."""

    def write(here: Path) -> None:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text, encoding="utf-8")

    return write


def rows(**columns: str) -> str:
    return "".join(json.dumps({k: f"{v} {n}" for k, v in columns.items()}) + "\n" for n in range(8))


def models(here: Path) -> None:
    model_folder(here / "policy", QWEN, id2label={"0": "LABEL_0"})
    model_folder(here / "two", SCORER, id2label={"0": "bad", "1": "good"}, weights="score.weight")
    model_folder(here / "one", SCORER, id2label={"0": "LABEL_0"}, weights="score.weight")


def whole_models(here: Path) -> None:
    """Folders whose weights are looked at as well."""
    scorer = {**qwen2_tensors(), "score.weight": np.zeros((1, 4), np.float32)}
    write_model(here / "scorer", scorer, architectures=[SCORER], id2label={"0": "LABEL_0"})
    vocabulary = {f"piece{index}": index for index in range(8)}
    tokenizer = json.dumps({"model": {"vocab": vocabulary}, "added_tokens": []})
    (here / "scorer" / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    write_model(here / "encoder", model_type="bert", architectures=["BertForMaskedLM"])
    write_model(here / "unheard_of", model_type="x1", auto_map={"AutoConfig": "a.B"})
    write_model(here / "without_sdpa", model_type="gptj", architectures=["GPTJForCausalLM"])
    integers = {"model.layers.0.mlp.up_proj.weight": np.zeros((4, 4), np.int8)}
    write_model(here / "quantised", {**qwen2_tensors(), **integers})
    write_model(here / "whole")


def conversations(here: Path) -> None:
    """A chat model's tokenizer, rows of turns, and templates that do not take or write them."""
    write_model(here / "chat", model_type="gpt2", architectures=["GPT2LMHeadModel"])
    byte_tokenizer(chat_tokenizers.CHATML).save_pretrained(here / "chat")
    turns = [{"role": role, "content": f"{role} {{n}}"} for role in ("system", "user", "assistant")]
    lines = [json.dumps({"messages": turns}).replace("{n}", str(number)) for number in range(6)]
    (here / "turns.jsonl").write_text("\n".join(lines), encoding="utf-8")
    template = chat_tokenizers.CHATML.replace("{{ m.content }}", "{{ m.role }}")
    (here / "silent.jinja").write_text(template, encoding="utf-8")
    (here / "strict.jinja").write_text(chat_tokenizers.GEMMA, encoding="utf-8")


def nothing(here: Path) -> None:
    """Needs no files."""


def earlier(name: str) -> Prepare:
    """A run that earlier code left, in the current folder."""
    return lambda here: shutil.copytree(EARLIER / name, here / name) and None


def evaluation(here: Path) -> None:
    """The folder of an evaluation, which trained nothing."""
    earlier("ppo6")(here)
    (here / "ppo6").rename(here / "looked_at")
    file = here / "looked_at" / "config.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["algo"] = {"_target_": "rlexp.algos.evaluate.Evaluate", "name": "evaluate"}
    config["algo"] |= {"learning_rate": None, "model": None, "of_run": False, "trl": {}}
    file.write_text(yaml.safe_dump(config), encoding="utf-8")


def sampling(here: Path) -> None:
    """A run of algo=sample that was killed before it had written its rows."""
    (here / "sampled").mkdir()
    config = {"algo": {"_target_": "rlexp.algos.sample.SampleAnswers"}}
    (here / "sampled" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def rated(here: Path) -> None:
    """A run of algo=sample."""
    sampling(here)
    row = {"prompt": "a", "completions": [{"content": "b", "score": 1}]}
    for name in ("samples", "heldout"):
        (here / "sampled" / f"{name}.jsonl").write_text(json.dumps(row), encoding="utf-8")


def adapter(here: Path) -> None:
    """An adapter, as far as its config goes."""
    (here / "adapter").mkdir()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8}
    config |= {"target_modules": ["q_proj"], "base_model_name_or_path": "owner/name"}
    (here / "adapter" / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def judgements(here: Path) -> None:
    """Verdicts on pairs and scores, in the columns of `conf/import.yaml` and in others."""
    pairs = [{"prompt": f"q{n}", "a": "x", "b": "y", "winner": "ab"[n % 2]} for n in range(6)]
    scores = [{"prompt": f"q{n // 2}", "answer": f"x{n}", "score": 1 + n} for n in range(6)]
    others = [{"prompt": "q", "left": "x", "right": "y", "Wahl": "links", "who": "w"}]
    known = [{**row, "answer": f"x{n}", "who": "w"} for n, row in enumerate(scores)]
    files = {"pairs": pairs, "scores": scores, "others": others, "known": known}
    files |= {"alone": scores[::2], "empty": [*pairs, {**pairs[0], "a": ""}]}
    for name, lines in files.items():
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (here / f"{name}.jsonl").write_text(text, encoding="utf-8")
