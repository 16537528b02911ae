"""Commands with a mistake whose remedy is tried: by what is typed for placeholders, and files."""

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


EARLIER = Path(__file__).parent / "whole_runs" / "earlier_runs"
JUDGE = "reward=judge reward.model=m reward.base_url="
RIVALS = "reward=judge reward.mode=pairwise reward.model=m reward.base_url=http://h/v1"
LEVEL = "algo.importance_sampling_level="
DISTILL = "algo=distill algo.teacher=./whole "
LOCAL = "model=local model.path=./"
TURNS = (
    "data --rows 1 algo=sft model=local model.path=./chat peft=none data=file "
    "data.path=turns.jsonl data.eval_fraction=0.5 model.chat_template="
)
LONG = "def long(prompts, completions, **more): return [float(len(c) > 9) for c in completions]"
PROBED = "probe --no-model --rows 4 reward=python reward.function=remedied_reward:long"
FINE = "model.dtype=bfloat16 algo.learning_rate=1e-5 peft=none"
GRID = "-m sweep=optuna sweep/sampler=grid "
PAIRS = "-m sweep=optuna algo.beta=choice(1,2) sweep.objective=[eval/reward,eval/kl]"
MIX = "algo=sft reward=none data=mix +data@data.sources.a=reviews "
CASES: dict[str, tuple[str, Prepare]] = {
    "algo=sft data=mix": ("", nothing),
    f"{MIX}+data.sources.a.weight=1 curriculum=mixture curriculum.column=level": ("", nothing),
    f"{MIX}+data@data.sources.b=reviws +data.sources.a.weight=1 +data.sources.b.weight=1": (
        "NAME=reviews",
        nothing,
    ),
    f"{MIX}+data.sources.a.weight=-1": ("", nothing),
    f"{MIX}+data.sources.a.weight=0": ("", nothing),
    f"{MIX}+data.sources.a.weight=1 data.max_completion_length=9": ("", nothing),
    f"{MIX}+data.sources.a.weight=1 algo.packing=true": ("", nothing),
    "algo=sft reward=none data=mix +data@data.sources.a=file data.sources.a.path=rows.jsonl "
    "+data.sources.a.weight=1": (
        "",
        file("rows.jsonl", rows(prompt="q", completion="a", source="s")),
    ),
    "algo=dp0": ("", nothing),
    "algo.betaa=1": ("", nothing),
    "seed=1,2": ("", nothing),
    "name=a,b": ("", nothing),
    "seed=[1": ("", nothing),
    "name=nan": ("", nothing),
    "name=true": ("", nothing),
    "grösse=1": ("", nothing),
    "-m seed=1,2 --cfg job": ("", nothing),
    "--multirun --info": ("", nothing),
    "--resolve": ("", nothing),
    "--config-dir mine": ("", nothing),
    "--config-name confg": ("", nothing),
    "--experimental-rerun x.pickle": ("FOLDER=ppo6", earlier("ppo6")),
    "sweep=dpo_basics": ("", nothing),
    "name=${oc.env:RLEXP_NOT_SET}": ("VALUE=x DEFAULT=y", nothing),
    "name=${algo.nam}": ("", nothing),
    "+hydra/launcher=joblib": ("", nothing),
    "hydra.runn.dir=x": ("", nothing),
    "reward=null": ("", nothing),
    "reward=none": ("", nothing),
    "compare": ("", nothing),
    "compare --nope": ("", nothing),
    "evaluate": ("", nothing),
    "evaluate ./no/where": ("", nothing),
    "evaluate .": ("", nothing),
    "ls": ("", nothing),
    "ls tracking.uri=sqlite:///no.db": ("", file("no.db", "no data base")),
    "resume nobody/1": ("", nothing),
    "resume ppo6": ("", earlier("ppo6")),
    "resume killed algo.learning_rate=1": ("", earlier("killed")),
    "rerun nobody.yaml": ("", nothing),
    "evaluate looked_at": ("", evaluation),
    "rm nobody": ("", nothing),
    "compare a b --html no/where/x.html": ("", nothing),
    "tracking.uri=./mlruns": ("", nothing),
    "tracking.uri=sqlite://x.db": ("", nothing),
    "tracking.uri=sqlite:///no/where.db": ("", nothing),
    "algo=sft curriculum=reward_paced curriculum.pace.threshold=1": ("", nothing),
    "curriculum=reward_paced": ("", nothing),
    "curriculum=length algo=sft algo.packing=true": ("", nothing),
    "curriculum=difficulty algo=sft reward=none": ("", nothing),
    "curriculum=difficulty curriculum.window=[2,1]": ("", nothing),
    "curriculum=column curriculum.column=levl data=file data.path=l.jsonl reward=length": (
        "",
        file("l.jsonl", rows(prompt="p", level="l")),
    ),
    "curriculum=mixture curriculum.column=level data=file data.path=l.jsonl reward=length": (
        "VALUE=easy",
        file("l.jsonl", rows(prompt="p", level="l")),
    ),
    "algo.dynamic_sampling=1 hardware=ddp train.batch_size=24": ("", nothing),
    "data=file data.path=x.jsonl algo=sft": ("NAME=b", file("x.jsonl", rows(a="q", b="c"))),
    "data=hh_rlhf data.path=./p.jsonl": ("", file("p.jsonl", rows(chosen="a", rejected="b"))),
    "algo=dpo reward=none": ("", nothing),
    "algo=dpo peft=lora peft.start=continue": ("", nothing),
    "algo=dpo model=local model.path=./adapter peft=dora peft.target_modules=[k_proj] "
    "peft.start=continue": ("", adapter),
    "algo=dpo data=file data.path=ppo6": ("", earlier("ppo6")),
    "algo=dpo data=file data.path=sampled": ("", sampling),
    "algo=dpo model=local model.path=./sampled": ("", rated),
    "reward=model reward.path=./policy": ("THE_RUNS_FOLDER=./one", models),
    "reward=model reward.path=./two": ("THE_RUNS_FOLDER=./one", models),
    "reward=mix +reward.terms.x.weight=1": ("NAME=length", nothing),
    "reward=mix +reward@reward.terms.x=length": ("", nothing),
    "reward=mix reward.terms.sentiment.weight=0 reward.terms.repetition.weight=0": ("", nothing),
    JUDGE + "http://127.0.0.1:1/v1/chat/completions": ("", nothing),
    JUDGE + "http://127.0.0.1:1/v1 reward.api_key_env=RLEXP_NO_KEY": ("VALUE=k", nothing),
    "+reward@eval.judge=length": ("NAME=judge", nothing),
    "algo=ppo algo.kl_target=6 algo.beta=0": ("", nothing),
    "algo=ppo algo.critic_path=./policy": ("", models),
    "algo=online_dpo algo.rollout=vllm": ("", nothing),
    "algo=rloo algo.beta=0 algo.sync_reference=5": ("", nothing),
    "algo=grpo peft=lora algo.sync_reference=5": ("", nothing),
    "algo=distill": ("FOLDER=./whole", whole_models),
    "algo=distill algo.teacher=ema data=gsm8k": ("COLUMN=answer", nothing),
    DISTILL + "algo.teacher_column=answer data=gsm8k": ("", whole_models),
    DISTILL + 'algo.across_tokenizers=true algo.teacher_prompt="{prompt}!"': ("", whole_models),
    "algo.num_generations=7": ("", nothing),
    "algo=ppo algo.dynamic_sampling=2": ("", nothing),
    "algo=ppo reward=mix reward.normalize=group": ("", nothing),
    "reward=mix reward.normalize=group algo.scale_rewards=group": ("", nothing),
    "reward=mix +reward.terms.sentiment.normalize=group": ("", nothing),
    "reward=overlong reward.limit=200": ("", nothing),
    "train.micro_batch_size=7": ("", nothing),
    "train.best_metric=eval/reward eval.every=0": ("", nothing),
    "eval.texts_path=t.txt eval.texts=0": ("", file("t.txt", "a\nb\n")),
    "hardware.device=cuda": ("", nothing),
    "hardware=cpu hardware.mixed_precision=fp16": ("", nothing),
    "model.attention=flash_attention_2": ("", nothing),
    "peft=qlora": ("", nothing),
    "peft=lora peft.target_modules=[lm_head]": ("", nothing),
    "model=scratch model.path=./policy": ("", models),
    "model.path=builtin:scratch": ("", nothing),
    "model=scratch model.shape.heads=7 algo=sft": ("", nothing),
    "model=local model.path=run:nobody": ("", nothing),
    "model=local model.path=./killed": ("", earlier("killed")),
    "model=local model.path=registry:x tracking.registry=null": ("", nothing),
    RIVALS + " algo=ppo eval.completions=1": ("", nothing),
    "algo.loss_type=cispo algo.epsilon_high=0.2": ("", nothing),
    "algo.loss_type=cispo algo.delta=2 algo.num_iterations=2": ("", nothing),
    LEVEL + "sequence": ("", nothing),
    "algo.kl_estimator=k2 algo.delta=4 algo.cov_share=0.1": ("", nothing),
    "algo=dpo algo.label_smoothing=0.1 +algo.trl.discopop_tau=1": ("", nothing),
    "algo=cpo algo.loss_type=ipo algo.label_smoothing=0.1": ("", nothing),
    LEVEL + "token algo.loss_type=luspo": ("", nothing),
    FINE: ("", nothing),
    "reward=math data=file data.path=x.jsonl data.columns.prompt=question data.extra=[]": (
        "",
        file("x.jsonl", rows(question="q", answer="a")),
    ),
    LOCAL + "scorer": ("", whole_models),
    LOCAL + "encoder": ("", whole_models),
    LOCAL + "unheard_of": ("", whole_models),
    LOCAL + "without_sdpa model.attention=sdpa": ("", whole_models),
    LOCAL + "quantised": ("FOLDER=./whole", whole_models),
    "probe --no-model --rows 2 algo=sft reward=none": ("", nothing),
    PROBED + " scoring.probe=refuse": ("", file("remedied_reward.py", LONG)),
    TURNS + "strict.jinja": ("", conversations),
    TURNS + "silent.jinja": ("", conversations),
    "algo=reward +reward@eval.judge=judge eval.judge.model=m eval.judge.base_url=http://h/v1": (
        "",
        nothing,
    ),
    "-m sweep=optuna": ("", nothing),
    GRID + "algo.beta=interval(0.1,1)": ("", nothing),
    "-m sweep=optuna sweep.n_trials=1,2": ("VALUE=2", nothing),
    "-m sweep=optuna sweep.params.algo.beta=interval(0,1)": ("", nothing),
    "-m sweep=optuna algo.beta=choice(0.1,0.2) sweep.objective=eval/rewrd": ("", nothing),
    PAIRS: ("", nothing),
    "import others.jsonl": ("NAME=Wahl", judgements),
    "import others.jsonl columns.winner=wahl": ("", judgements),
    "import others.jsonl columns.winner=Wahl": ("", judgements),
    "import pairs.jsonl threshold=1": ("", judgements),
    "import pairs.jsonl to=pairs.jsonl": ("FOLDER=elsewhere", judgements),
    "import empty.jsonl": ("", judgements),
    "import scores.jsonl min_agreement=0.5": ("", judgements),
    "import scores.jsonl rows=labelled": ("", judgements),
    "import alone.jsonl rows=pairs": ("SCORE=3", judgements),
    "import known.jsonl votes=each": ("NAME=who", judgements),
    "pipeline= seed=1": ("", nothing),
    "-m pipeline=sft_dpo": ("", nothing),
    "stage.dpo.algo.beta=1": ("", nothing),
    "pipeline=sft_dpo stage.dpo": ("", nothing),
    "pipeline=sft_dpo algo=dpo": ("NAME=dpo", nothing),
    "pipeline=sft_dpo stage.dpo.algo.betta=1": ("", nothing),
    "pipeline=sft_dpo algo.beta=1": ("", nothing),
    "pipeline=sft_dpo --until dpoo": ("", nothing),
    "pipeline=sft_dpo --config-dir own": ("", nothing),
    "-m pipeline=sft_dpo sweep=optuna stage.dpo.algo.beta=interval(0.1,1) eval.every=5 "
    "sweep.confirm=2": ("", nothing),
}
"""Words with a mistake, by what a reader would put for placeholders, and the files they need."""
