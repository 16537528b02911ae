"""Variables of a chat template: the ids of every caller against transformers' own, and mistakes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from chat_tokenizers import CHATML, HYBRID, LLAMA3, byte_tokenizer, save_chat_model
from runs import SHORT, problems_of, spec_of

from rlexp.algos.common.trl import Training
from rlexp.data.derived.kinds import derive
from rlexp.models.policy import Policy
from rlexp.models.tokenizer import ModelTokenizer
from rlexp.spec.errors import UserError
from rlexp.spec.template_kwargs import template_variables, with_defaults

KWARGS = {"enable_thinking": False, "effort": "'high' {% \"é\""}
TURNS = [{"role": "user", "content": "Which way?"}]
PAIRS = [
    {
        "prompt": [{"role": "user", "content": f"Which way, {name}?"}],
        "chosen": [{"role": "assistant", "content": f"Left, {name}."}],
        "rejected": [{"role": "assistant", "content": "No."}],
    }
    for name in ("Ann", "Bo", "Cy", "Di")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("model") / "hybrid", byte_tokenizer(HYBRID))


def written(turns: list[Any], *, prompt: bool) -> list[int]:
    """What transformers makes of a conversation where the variables are passed."""
    return byte_tokenizer(HYBRID).apply_chat_template(
        turns, add_generation_prompt=prompt, tokenize=True, return_dict=True, **KWARGS
    )["input_ids"]


PROMPTS = sorted(written(row["prompt"], prompt=True) for row in PAIRS)
ANSWERED = {
    name: [written(row["prompt"] + row[name], prompt=False) for row in PAIRS]
    for name in ("chosen", "rejected")
}


def built(algo: str, folder: Path, checkpoints: Path, *overrides: str) -> tuple[Any, Policy]:
    """An algorithm's trainer on the pairs, and its policy."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    spec = spec_of(
        f"algo={algo}",
        "model=local",
        f"model.path={folder}",
        "++model.chat_template_kwargs.enable_thinking=false",
        "++model.chat_template_kwargs.effort='\\'high\\' {% \"é\"'",
        "peft=none",
        *SHORT,
        "train.micro_batch_size=null",
        *overrides,
    )
    assert spec.model.chat_template_kwargs == KWARGS
    spec.algo.prepare("cpu", lambda path, *_: Path(path))
    reader = ModelTokenizer.load(spec.model, folder)
    kind = {"reward": AutoModelForSequenceClassification}.get(algo, AutoModelForCausalLM)
    weights = kind.from_pretrained(folder, **({"num_labels": 1} if algo == "reward" else {}))
    rows = derive([dict(row) for row in PAIRS], "pairs", spec.algo.needs, "pairs")[0]
    policy = Policy(weights, reader.tokenizer, folder, spec.model, True, None, 1.0, [])
    return spec.algo.build_trainer(Training(spec, policy, rows, checkpoints, False, [])), policy


def collated(trainer: Any) -> list[list[int]]:
    """The ids of each sequence as the trainer's collator gives them, without padding."""
    ids = []
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row])
        for place, values in enumerate(batch["input_ids"].tolist()):
            mask = batch["attention_mask"][place].tolist()
            ids.append([value for value, real in zip(values, mask, strict=True) if real])
    return sorted(ids)


@pytest.mark.parametrize("algo", ["sft", "dpo", "kto", "reward"])
def test_rows_are_trained_on_as_the_template_writes_them(
    algo: str, folder: Path, tmp_path: Path
) -> None:
    """A trainer that tokenizes rows by itself and never hears of the variables."""
    trainer, _ = built(algo, folder, tmp_path)
    sides = ["chosen"] if algo == "sft" else ["chosen", "rejected"]
    assert collated(trainer) == sorted(ids for side in sides for ids in ANSWERED[side])


@pytest.mark.parametrize("algo", ["orpo", "cpo"])
def test_trainers_without_an_option_for_it_hear_of_it_too(
    algo: str, folder: Path, tmp_path: Path
) -> None:
    """The same, of TRL's trainers that have no field for variables of a template."""
    trainer, _ = built(algo, folder, tmp_path)
    ids = {
        side: sorted(row[f"{side}_input_ids"] for row in trainer.train_dataset) for side in ANSWERED
    }
    eos = byte_tokenizer().eos_token_id  # which they append
    assert ids == {side: sorted([*one, eos] for one in ANSWERED[side]) for side in ANSWERED}


@pytest.mark.parametrize(
    "words",
    [
        ("grpo", "algo.num_generations=2"),
        ("grpo", "algo.num_generations=2", "algo.rollout=transformers"),
        ("rloo", "algo.num_generations=2"),
        ("online_dpo",),
        ("distill",),
        ("ppo",),
        ("reinforce",),
    ],
    ids=" ".join,
)
def test_prompts_are_sampled_from_as_the_template_writes_them(
    words: tuple[str, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sampler that reads prompts otherwise than the rows are shown and evaluated."""
    from rlexp.models.sampling import rollout

    seen: list[list[int]] = []
    sample = rollout.roll_out

    def roll_out(model: Any, prompts: list[list[int]], **options: Any) -> Any:
        seen.extend(prompts)
        return sample(model, prompts, **options)

    monkeypatch.setattr(rollout, "roll_out", roll_out)
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    algo, *overrides = words
    if algo == "distill":
        overrides.append(f"algo.teacher={folder}")
    limits = ("reward=length", "algo.max_completion_length=2", "train.batch_size=4")
    trainer, _ = built(algo, folder, tmp_path, *overrides, *limits)
    if "algo.rollout=transformers" in words:
        generate = trainer.model.generate

        def generated(input_ids: Any, attention_mask: Any, **options: Any) -> Any:
            for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
                seen.append([one for one, real in zip(ids, mask, strict=True) if real])
            return generate(input_ids=input_ids, attention_mask=attention_mask, **options)

        monkeypatch.setattr(trainer.model, "generate", generated)
    trainer.train()
    assert seen and all(ids in PROMPTS for ids in seen)


def test_evaluations_read_prompts_so(folder: Path, tmp_path: Path) -> None:
    """A card about other prompts than the training's."""
    _, policy = built("reinforce", folder, tmp_path, "algo.num_generations=1", "reward=length")
    groups = policy.complete(
        [row["prompt"] for row in PAIRS],
        completions=1,
        max_new_tokens=1,
        temperature=1.0,
        seed=0,
        batch_size=4,
    )
    assert sorted(group[0].prompt_ids for group in groups) == PROMPTS


def test_the_saved_model_keeps_them_as_defaults(folder: Path, tmp_path: Path) -> None:
    """A served model that thinks where it was trained not to; or one that cannot be told
    otherwise any more."""
    spec = spec_of(
        "model=local",
        f"model.path={folder}",
        "++model.chat_template_kwargs={enable_thinking: false}",
    ).model
    shutil.copy(folder / "config.json", tmp_path)
    ModelTokenizer.load(spec, folder).tokenizer.save_pretrained(tmp_path)
    plain = spec.model_copy(update={"chat_template_kwargs": {}})
    saved = ModelTokenizer.load(plain, tmp_path).tokenizer
    options = {"tokenize": False, "add_generation_prompt": True}
    assert saved.apply_chat_template(TURNS, **options).endswith("</think>\n\n")
    assert saved.apply_chat_template(TURNS, enable_thinking=True, **options).endswith("assistant\n")
    again = spec.model_copy(update={"chat_template_kwargs": {"enable_thinking": True}})
    told = ModelTokenizer.load(again, tmp_path).tokenizer
    assert told.apply_chat_template(TURNS, **options).endswith("assistant\n")
    same = ModelTokenizer.load(spec, tmp_path).tokenizer
    assert same.chat_template == saved.chat_template  # stages do not pile them up


@pytest.mark.parametrize(
    "template", [HYBRID, LLAMA3, "  {% if x %}a{% endif %}\n\n {{ x }}", "\nb"]
)
@pytest.mark.parametrize("value", [None, True, 3, -2.5e-7, "a'%}\"é😀\n", [1, {"b": None}]])
def test_a_default_writes_what_passing_it_writes(template: str, value: Any) -> None:
    """A value that Jinja reads otherwise; a first line whose spaces or breaks come or go."""
    tokenizer = byte_tokenizer(template, bos="<s>")
    for name in ("x", "enable_thinking"):
        told = with_defaults(template, {name: value})
        assert tokenizer.apply_chat_template(
            TURNS, chat_template=told, tokenize=False
        ) == tokenizer.apply_chat_template(TURNS, tokenize=False, **{name: value})


def test_variables_are_those_that_a_caller_can_set() -> None:
    """A loop's own name, a special token or what transformers passes taken for a knob."""
    assert template_variables(CHATML) == template_variables(LLAMA3) == set()
    assert {"enable_thinking", "effort"} <= template_variables(HYBRID)
    marked = "{% generation %}{{ mood }}{% endgeneration %}{{ strftime_now('%d') }}{% break %}"
    assert template_variables("{% for m in messages %}" + marked + "{% endfor %}") == {"mood"}


@pytest.mark.parametrize(
    ("kwargs", "key", "says"),
    [
        ("{enable_thinkin: false}", "enable_thinkin", "model.chat_template_kwargs.enable_thinking"),
        ("{messages: []}", "messages", "Leave it out"),
        ("{enable_thinking: false, add_generation_prompt: true}", "add_generation_prompt", "reads"),
    ],
)
def test_names_that_the_template_never_reads_are_refused(
    kwargs: str, key: str, says: str, folder: Path, tmp_path: Path
) -> None:
    """A typo that changes nothing, unsaid."""
    words = ("model=local", f"model.path={folder}", f"++model.chat_template_kwargs={kwargs}")
    assert says in problems_of(*words)[f"model.chat_template_kwargs.{key}"]
    template = tmp_path / "chat.jinja"
    template.write_text(HYBRID, encoding="utf-8")
    of_file = ("++model.chat_template_kwargs=" + kwargs, f"model.chat_template={template}")
    assert says in problems_of(*of_file)[f"model.chat_template_kwargs.{key}"]


def test_a_template_that_has_no_variables_says_so(folder: Path, tmp_path: Path) -> None:
    """Variables for a model that is lent a template of ours, or for one that comes from a hub."""
    key = "model.chat_template_kwargs.enable_thinking"
    assert "it has none" in problems_of("++model.chat_template_kwargs={enable_thinking: true}")[key]
    spec = spec_of("model=qwen0.5b", "++model.chat_template_kwargs={enable_thinking: true}").model
    plain = save_chat_model(tmp_path / "plain", byte_tokenizer(CHATML))
    with pytest.raises(UserError, match="the template never reads"):
        ModelTokenizer.load(spec, plain)


def test_trls_own_fields_for_it_are_refused() -> None:
    """Variables that the training hears of, and neither evaluation nor card."""
    for algo in ("grpo", "sft"):
        key = "algo.trl.chat_template_kwargs"
        assert "model.chat_template_kwargs" in problems_of(f"algo={algo}", f"+{key}={{a: 1}}")[key]
