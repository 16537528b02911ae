"""What the parts of a config demand of each other.

Each check takes the parts that it names and gives the problems that it sees; it runs when those
parts are valid by themselves, so that one message is not followed by its consequences.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlexp.spec.algo import AlgoSpec, RolloutAlgo
from rlexp.spec.checks.eval import slices_are_columns, texts_are_there
from rlexp.spec.checks.judge import judge_can_compare, judge_is_right, rivals_are_sampled
from rlexp.spec.checks.new_model import MADE_HERE, shape_is_right
from rlexp.spec.checks.trl import check_trl
from rlexp.spec.data import DERIVABLE, DataSpec, Kind
from rlexp.spec.errors import Problem
from rlexp.spec.files.devices import cuda_capabilities, has_bf16, likely_device
from rlexp.spec.files.model_folder import is_adapter
from rlexp.spec.files.registry_reference import is_registered
from rlexp.spec.hardware import EvalSpec, HardwareSpec, TrainSpec
from rlexp.spec.model import ModelSpec, QloraPeft
from rlexp.spec.reward import RewardSpec

Problems = list[Problem]


def rows_are_sampled(algo: AlgoSpec, data: DataSpec) -> bool:
    """Whether the policy's own answers, judged by the reward, become the training rows."""
    if algo.sampling is None or algo.ignores_answers:
        return algo.ignores_answers
    if algo.matches_labels:
        return False
    return data.kind() != algo.needs and data.kind() not in DERIVABLE[algo.needs]


def pairs_are_matched(algo: AlgoSpec, data: DataSpec) -> bool:
    """Whether texts labelled true and texts labelled false become the pairs."""
    return algo.matches_labels and data.kind() == "unpaired"


def rows_read(algo: AlgoSpec, data: DataSpec) -> Kind:
    """The kind of rows that is asked of the data: what the algorithm needs, or what becomes it."""
    if rows_are_sampled(algo, data):
        return "prompts"
    return "unpaired" if pairs_are_matched(algo, data) else algo.needs


def data_feeds_algo(algo: AlgoSpec, data: DataSpec, reward: RewardSpec) -> Problems:
    kind, needs = data.kind(), algo.needs
    if rows_are_sampled(algo, data):
        enough = reward.scores_anything
    else:
        matched = pairs_are_matched(algo, data)
        enough = matched or kind == needs or kind in DERIVABLE[needs]
    if enough:
        return []
    remedy = "Choose another data set or algorithm"
    if algo.matches_labels:
        remedy = "Choose data with labels, or set algo.labels=reward"
    elif algo.sampling is not None:
        remedy = "Choose a reward (reward=sentiment, …): it judges answers sampled from the model"
    ways = [needs, *DERIVABLE[needs], *(["unpaired"] if algo.matches_labels else [])]
    return [
        Problem(
            "data",
            f"{data.name}, which holds {kind}",
            f"{' or '.join(ways)} for algo={algo.name}",
            f"{remedy}.",
        )
    ]


def algo_has_reward(algo: AlgoSpec, reward: RewardSpec) -> Problems:
    if not algo.needs_reward or reward.scores_anything:
        return []
    remedy = "Set reward=sentiment, or another choice that `--help` lists."
    return [Problem("reward", "none", f"a reward: algo={algo.name} learns from one", remedy)]


def reward_finds_columns(data: DataSpec, reward: RewardSpec) -> Problems:
    columns = data.extra_columns()
    if columns is None:
        return []
    missing = sorted(reward.columns() - columns)
    has = f"one of {', '.join(sorted(columns))}" if columns else "no such column: it has none"
    return [
        Problem("reward", f"one that reads the column {name!r}", has, f"Is data={data.name} right?")
        for name in missing
    ]


def gold_is_right(evaluation: EvalSpec) -> Problems:
    return evaluation.gold_checked[1]


def gold_finds_columns(data: DataSpec, evaluation: EvalSpec) -> Problems:
    columns = data.extra_columns()
    if columns is None:
        return []
    has = f"one of {', '.join(sorted(columns))}" if columns else "no such column: it has none"
    return [
        Problem(f"eval.gold.{name}", f"one that reads the column {column!r}", has)
        for name, reward in evaluation.gold_checked[0].items()
        for column in sorted(reward.columns() - columns)
    ]


def batch_divides(train: TrainSpec, hardware: HardwareSpec) -> Problems:
    share, rest = divmod(train.batch_size, hardware.processes)
    if rest:
        want = f"a multiple of hardware.processes ({hardware.processes})"
        near = max(1, round(train.batch_size / hardware.processes)) * hardware.processes
        return [Problem("train.batch_size", str(train.batch_size), want, f"{near} is the nearest.")]
    micro = train.micro_batch_size
    if micro and share % micro:
        divisors = [n for n in range(1, share + 1) if share % n == 0]
        near = min(divisors, key=lambda n: abs(n - micro))
        want = f"a divisor of the {share} sequences of a process (train.batch_size / processes)"
        return [Problem("train.micro_batch_size", str(micro), want, f"{near} is the nearest.")]
    return []


def device_exists(hardware: HardwareSpec) -> Problems:
    if hardware.device == "cuda" and not cuda_capabilities():
        got = "cuda, but this machine shows no NVIDIA GPU"
        return [Problem("hardware.device", got, "a device that is here", "Set hardware=auto.")]
    many = hardware.processes > len(cuda_capabilities())
    if hardware.device == "cuda" and many:
        got, want = str(hardware.processes), f"at most {len(cuda_capabilities())}, one a GPU"
        return [Problem("hardware.processes", got, want)]
    return []


def precision_exists(hardware: HardwareSpec, model: ModelSpec) -> Problems:
    device = likely_device(hardware.device)
    if has_bf16(device):
        return []
    asked = {
        "hardware.mixed_precision": (hardware.mixed_precision, "bf16", "no"),
        "model.dtype": (model.dtype, "bfloat16", "float32"),
    }
    return [
        Problem(key, value, f"a precision that {device} has here", f"Set {key}={instead}.")
        for key, (value, refused, instead) in asked.items()
        if value == refused
    ]


def model_is_there(model: ModelSpec) -> Problems:
    path = Path(model.path).expanduser()
    if is_registered(model.path):  # what the registry has is asked once all else is right
        return []
    scheme = model.path.partition(":")[0]
    if scheme == "builtin":
        wrong = model.path not in MADE_HERE
        return [Problem("model.path", model.path, " or ".join(MADE_HERE))] if wrong else []
    looks_local = model.path.startswith(("/", ".", "~")) or model.path.count("/") > 1
    if not path.exists():
        remedy = "Give the path of a folder that save_pretrained wrote, or a hub id owner/name."
        return [Problem("model.path", model.path, "a folder", remedy)] if looks_local else []
    if not (path / "config.json").is_file() and not is_adapter(path):
        return [
            Problem("model.path", f"{model.path}, a folder without config.json", "a model's folder")
        ]
    if not any(path.glob("*.safetensors")):
        remedy = "Save it again with save_pretrained: pickled weights can run code when loaded."
        return [
            Problem(
                "model.path", f"{model.path}, without weights in safetensors", "safetensors", remedy
            )
        ]
    return []


def chat_template_is_there(model: ModelSpec) -> Problems:
    template = model.chat_template
    if template in (None, "plain", "chatml") or Path(template).expanduser().is_file():
        return []
    return [Problem("model.chat_template", template, "null, plain, chatml or a Jinja file")]


def adapter_fits(peft: Any, hardware: HardwareSpec) -> Problems:
    found: Problems = []
    if isinstance(peft, QloraPeft):
        if importlib.util.find_spec("bitsandbytes") is None:
            remedy = "Install the extra: pip install 'rlexp[quant]', or set peft=lora."
            found.append(Problem("peft", "qlora without bitsandbytes", "the extra `quant`", remedy))
        if likely_device(hardware.device) != "cuda":
            remedy = "Set peft=lora, or run on a machine with an NVIDIA GPU."
            found.append(Problem("peft", "qlora without an NVIDIA GPU", "hardware=gpu", remedy))
    return found


def flash_attention_is_there(model: ModelSpec, hardware: HardwareSpec) -> Problems:
    if model.attention != "flash_attention_2":
        return []
    if importlib.util.find_spec("flash_attn") and likely_device(hardware.device) == "cuda":
        return []
    want = "the package flash-attn and an NVIDIA GPU"
    return [Problem("model.attention", "flash_attention_2", want, "Set model.attention=sdpa.")]


def best_is_known(train: TrainSpec, evaluation: EvalSpec) -> Problems:
    """Checkpoints are compared by a metric that is known at each of them."""
    metric = train.best_metric
    if metric is None:
        return []
    group, _, name = metric.partition("/")
    if group not in ("eval", "rollout", "train") or not name:
        want = "a tracked metric, such as eval/reward, rollout/reward or train/loss"
        return [Problem("train.best_metric", metric, want)]
    every = evaluation.every
    if group == "eval" and (every == 0 or train.checkpoint_every % every):
        want = f"an evaluation at each checkpoint, for train.best_metric={metric}"
        remedy = f"Set eval.every={train.checkpoint_every}: it is train.checkpoint_every."
        return [Problem("eval.every", str(every), want, remedy)]
    return []


def algo_fits(algo: AlgoSpec, train: TrainSpec, hardware: HardwareSpec) -> Problems:
    return algo.fits(train, hardware)


def algo_fits_model(algo: AlgoSpec, model: ModelSpec) -> Problems:
    return algo.fits_model(model)


def vllm_is_there(algo: AlgoSpec, hardware: HardwareSpec) -> Problems:
    if not isinstance(algo, RolloutAlgo) or algo.rollout != "vllm":
        return []
    key, found = "algo.rollout", []
    if importlib.util.find_spec("vllm") is None:
        remedy = (
            "In an environment of its own, for it wants an older transformers: "
            "pip install 'rlexp[vllm]'. Or set algo.rollout=fast."
        )
        found.append(Problem(key, "vllm, which is not installed", "the extra `vllm`", remedy))
    if likely_device(hardware.device) != "cuda":
        remedy = "Set algo.rollout=fast, or run on a machine with an NVIDIA GPU."
        found.append(Problem(key, "vllm without an NVIDIA GPU", "hardware=gpu", remedy))
    size = algo.vllm.tensor_parallel_size
    if algo.vllm.mode == "colocate" and hardware.processes % size:
        want = f"a divisor of hardware.processes ({hardware.processes})"
        found.append(Problem("algo.vllm.tensor_parallel_size", str(size), want))
    return found


def reference_can_follow(algo: AlgoSpec, peft: Any) -> Problems:
    """`sync_ref_model` moves a reference that is held in memory; not every run has one."""
    key, want = "algo.trl.sync_ref_model", "a reference in memory that can follow the policy"
    if not algo.trl.get("sync_ref_model"):
        return []
    if getattr(algo, "beta", None) == 0:
        remedy = "Set algo.beta=0.05, or leave sync_ref_model out."
        return [Problem(key, "true with algo.beta=0, which loads no reference", want, remedy)]
    if peft.kind in ("lora", "dora", "qlora"):
        got = f"true with peft={peft.kind}, whose reference is the model without its adapter"
        return [Problem(key, got, want, "Set peft=none, or leave sync_ref_model out.")]
    if algo.trl.get("precompute_ref_log_probs"):
        remedy = "Leave one of the two out."
        return [Problem(key, "true with precompute_ref_log_probs=true", want, remedy)]
    return []


CHECKS: list[tuple[tuple[str, ...], Callable[..., Problems]]] = [
    (("algo", "data", "reward"), data_feeds_algo),
    (("algo", "reward"), algo_has_reward),
    (("data", "reward"), reward_finds_columns),
    (("eval",), gold_is_right),
    (("data", "eval"), gold_finds_columns),
    (("eval",), texts_are_there),
    (("data", "eval"), slices_are_columns),
    (("eval",), judge_is_right),
    (("algo", "data", "eval"), judge_can_compare),
    (("algo", "eval", "reward"), rivals_are_sampled),
    (("train", "hardware"), batch_divides),
    (("hardware",), device_exists),
    (("hardware", "model"), precision_exists),
    (("model",), model_is_there),
    (("model",), shape_is_right),
    (("model",), chat_template_is_there),
    (("peft", "hardware"), adapter_fits),
    (("model", "hardware"), flash_attention_is_there),
    (("train", "eval"), best_is_known),
    (("algo",), check_trl),
    (("algo", "train", "hardware"), algo_fits),
    (("algo", "model"), algo_fits_model),
    (("algo", "hardware"), vllm_is_there),
    (("algo", "peft"), reference_can_follow),
]
