"""What is shown of a row is what the trainer gets of it, for every form that rows have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chat_tokenizers as kinds
import pytest
from chat_tokenizers import byte_tokenizer, save_chat_model
from runs import SHORT, spec_of

from rlexp.algos.common.trl import Training
from rlexp.data.derived.kinds import derive
from rlexp.data.prompt_templates import frame
from rlexp.data.rendering.encoding import Renderer
from rlexp.data.rendering.examples import TrainingExample, examples_of
from rlexp.data.rendering.learnable import cut_of, keep_learnable
from rlexp.models.policy import Policy
from rlexp.models.tokenizer import ModelTokenizer

SAVED: dict[str, Any] = {
    "chatml": lambda: byte_tokenizer(kinds.CHATML),
    "llama3": lambda: byte_tokenizer(kinds.LLAMA3, eos="<|eot_id|>", bos="<s>", around="<s> $A"),
    "qwen3": lambda: byte_tokenizer(kinds.QWEN3),
    "deepseek": lambda: byte_tokenizer(kinds.DEEPSEEK, eos="</s>", bos="<s>", around="<s> $A"),
    "text": lambda: byte_tokenizer(eos="</s>"),
    "text_bos": lambda: byte_tokenizer(eos="</s>", bos="<s>", around="<s> $A"),
    "text_eos": lambda: byte_tokenizer(eos="</s>", around="$A </s>"),
}
PAIRS = [
    {"prompt": "Which way?", "chosen": " Left, I think.", "rejected": " No."},
    {"prompt": "And now? " * 5, "chosen": " Straight on to the sea.", "rejected": " Back " * 9},
    {"prompt": "Who is there", "chosen": " It is I.", "rejected": " Nobody at all"},
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: save_chat_model(root / name, make()) for name, make in SAVED.items()}


class Built:
    """An algorithm's trainer on the pairs, and the examples that are shown of them."""

    def __init__(self, algo: str, folder: Path, checkpoints: Path, *overrides: str) -> None:
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

        model = ("model=local", f"model.path={folder}", "peft=none")
        words = ('data.chat_prompt="{prompt}"', 'data.text_prompt="{prompt}"')
        spec = spec_of(
            f"algo={algo}", *model, *words, *SHORT, "train.micro_batch_size=null", *overrides
        )
        reader = ModelTokenizer.load(spec.model, folder)
        kind = {"reward": AutoModelForSequenceClassification}.get(algo, AutoModelForCausalLM)
        options = {"num_labels": 1} if algo == "reward" else {}
        weights = kind.from_pretrained(folder, **options)
        rows = derive([dict(row) for row in PAIRS], "pairs", spec.algo.needs, "pairs")[0]
        framed = frame(rows, spec.data, reader.chat)
        renderer = Renderer(reader.tokenizer)
        outcomes = examples_of(framed, spec.algo.row_format, renderer, cut_of(spec.algo))
        self.shown = [example for example in outcomes if isinstance(example, TrainingExample)]
        assert len(self.shown) == len(framed)
        kept, self.notes = keep_learnable(framed, spec, reader.tokenizer, str)
        self.policy = Policy(
            weights, reader.tokenizer, folder, spec.model, reader.chat, None, 1.0, []
        )
        training = Training(spec, self.policy, kept, checkpoints, False, [])
        self.trainer: Any = spec.algo.build_trainer(training)

    def sequences(self) -> list[tuple[list[int], list[bool]]]:
        """Ids and learnt tokens of what is shown of the rows that are kept."""
        return [
            (sequence.ids, sequence.learnt)
            for example in self.shown
            if example.kept
            for sequence in example.sequences
        ]

    def collated(self, number: int) -> Any:
        return self.trainer.data_collator([self.trainer.train_dataset[number]])


def unpadded(values: Any, mask: Any) -> list[int]:
    return [value for value, real in zip(values.tolist(), mask.tolist(), strict=True) if real]


@pytest.mark.parametrize("limit", [512, 45])
@pytest.mark.parametrize("tokenizer", SAVED)
@pytest.mark.parametrize("algo", ["sft", "dpo", "kto", "reward", "orpo"])
def test_the_trainer_gets_what_is_shown(
    algo: str, tokenizer: str, limit: int, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Another end, another cut, another mask than TRL's; a row that TRL drops and we do not."""
    limits = {"text": 30, "text_bos": 30, "text_eos": 30, "llama3": 50, "qwen3": 66}
    length = limits.get(tokenizer, limit) if limit == 45 else limit
    built = Built(algo, folders[tokenizer], tmp_path, f"algo.max_length={length}")
    dataset = built.trainer.train_dataset
    got = []
    for number in range(len(dataset)):
        if algo == "orpo":
            row = dataset[number]
            for side in ("chosen", "rejected"):
                learnt = [label != -100 for label in row[f"{side}_labels"]]
                got.append((row[f"{side}_input_ids"], learnt))
            continue
        batch = built.collated(number)
        masks = batch["labels"] != -100 if algo == "sft" else batch.get("completion_mask")
        for place, ids in enumerate(batch["input_ids"]):
            real = batch["attention_mask"][place] if "attention_mask" in batch else ids >= 0
            learnt = (
                [bool(bit) for bit in unpadded(masks[place], real)] if masks is not None else []
            )
            got.append((unpadded(ids, real), learnt))
    expected = built.sequences()
    if algo == "reward":  # one score for a whole text: no token is learnt more than another
        expected = [(ids, []) for ids, _ in expected]
    assert sorted(got) == sorted(expected)  # KTO's rows are shuffled
    assert (limit == 45) == bool(built.notes)


@pytest.mark.parametrize("tokenizer", SAVED)
def test_rollouts_begin_from_the_prompts_that_are_shown(
    tokenizer: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """A prompt that the sampler reads otherwise, with an end token behind it for one."""
    built = Built(
        "reinforce", folders[tokenizer], tmp_path, "algo.num_generations=1", "reward=length"
    )
    prompts = [example.row["prompt"] for example in built.shown]
    sampling = {"max_new_tokens": 1, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    rolled_out = built.policy.roll_out(prompts, **sampling)
    assert rolled_out.prompts() == [example.prompt.ids for example in built.shown]
    ends = built.policy.eos_token_ids
    assert not any(ids[-1] in ends for ids in rolled_out.prompts())


@pytest.mark.parametrize("tokenizer", ["chatml", "text_bos"])
def test_online_dpo_reads_the_prompts_that_are_shown(
    tokenizer: str, folders: dict[str, Path]
) -> None:
    """A first token that TRL's own tokenization of prompts leaves away."""
    from trl.data_utils import maybe_apply_chat_template

    spec = spec_of("algo=online_dpo", "model=local", f"model.path={folders[tokenizer]}")
    reader = ModelTokenizer.load(spec.model, folders[tokenizer])
    rows = frame([{"prompt": row["prompt"]} for row in PAIRS], spec.data, reader.chat)
    shown = examples_of(rows, spec.algo.row_format, Renderer(reader.tokenizer), cut_of(spec.algo))
    texts = [maybe_apply_chat_template(row, reader.tokenizer)["prompt"] for row in rows]
    expected = reader.tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert [
        example.prompt.ids for example in shown if isinstance(example, TrainingExample)
    ] == expected


def test_tool_calls_reach_the_trainer_as_they_are(folders: dict[str, Path], tmp_path: Path) -> None:
    """Tables that give each call the arguments of all others, with nulls."""
    from rlexp.algos.common.trl import as_dataset

    calls = [
        {"function": {"name": "go", "arguments": arguments}} for arguments in ({"x": 1}, {"y": "a"})
    ]
    rows = [
        {
            "prompt": [{"role": "user", "content": "?"}],
            "completion": [{"role": "assistant", "content": "", "tool_calls": [call]}],
            "label": True,
        }
        for call in calls
    ]
    assert list(as_dataset(rows)) == rows
