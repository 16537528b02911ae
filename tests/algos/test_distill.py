"""Distillation: its loss against a slow float64 loop, its teachers, and the policy's average."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from runs import problems_of, spec_of
from tiny_policy import TinyPolicy, policy_of

from rlexp.algos.common.distillation.moving_average import FILE, MovingAverage
from rlexp.algos.common.trl import Training
from rlexp.algos.distill import Distill
from rlexp.data.load import load_data
from rlexp.runner.callbacks import RestoreTrainerState
from rlexp.runner.checks.reward_rows import check_algo_rows
from rlexp.spec.errors import UserError

ROWS = [
    {"prompt": f"w{n} w{n + 9}", "kind": "ab"[n % 3 == 0], "hint": f"w{n + 20}"} for n in range(8)
]
SEVERAL = ["algo.teacher_column=kind"]
SHOWN = 'algo.teacher_prompt="{hint} w2 {prompt}"'
AVERAGE = ["algo.teacher=ema", "algo.ema_decay=0.7", SHOWN]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Random models, each in a folder and as it is."""
    root = tmp_path_factory.mktemp("teachers")
    models = {name: TinyPolicy(seed).model for name, seed in (("a", 5), ("b", 6))}
    for name, model in models.items():
        model.save_pretrained(root / name)
    return {"folder": root, **models}


@pytest.fixture(autouse=True)
def any_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of the default run, as if it had the rows' columns."""
    from rlexp.data.reviews import Reviews

    monkeypatch.setattr(Reviews, "extra_columns", lambda self: {"kind", "hint"})


def built(folder: Path, *words: str, adapter: bool = False, steps: int = 1) -> Any:
    """A trainer of a tiny policy."""
    spec = spec_of(
        *["algo=distill", "reward=none", f"train.max_steps={steps}", "train.batch_size=8"],
        *["train.checkpoint_every=1", "hardware=cpu", "algo.max_completion_length=5", *words],
    )
    assert isinstance(spec.algo, Distill)
    spec.algo.prepare("cpu", lambda path, *_: Path(path))
    lora = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False) if adapter else None
    policy = policy_of(TinyPolicy(), folder / "model", lora)
    callbacks: list[Any] = [RestoreTrainerState()]
    return spec.algo.build_trainer(Training(spec, policy, ROWS, folder / "run", False, callbacks))


def ids_of(text: str) -> list[int]:
    return [int(word[1:]) + 2 for word in text.split()]


def slow_loss(
    trainer: Any, batch: dict[str, Any], reads: dict[tuple[int, ...], Any]
) -> torch.Tensor:
    """The mean divergence of all tokens, one at a time, in float64.

    `reads` has for each prompt the model that teaches there, and what that reads.
    """
    student = trainer.model.double()
    beta, temperature = trainer.beta, trainer.temperature
    losses = []
    for row in range(len(batch["prompt_ids"])):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row] == 1].tolist()
        answer = batch["completion_ids"][row][batch["completion_mask"][row] == 1].tolist()
        teacher, read = reads[tuple(prompt)]
        for place in range(len(answer)):
            q, p = (
                (
                    model(torch.tensor([before + answer[:place]])).logits[0, -1] / temperature
                ).softmax(-1)
                for model, before in ((student, prompt), (teacher, read))
            )
            p = p.detach()
            if beta in (0.0, 1.0):
                one, other = (p, q) if beta == 0 else (q, p)
                losses.append((one * (one / other).log()).sum())
                continue
            mixture = beta * p + (1 - beta) * q
            losses.append(
                beta * (p * (p / mixture).log()).sum()
                + (1 - beta) * (q * (q / mixture).log()).sum()
            )
    return torch.stack(losses).mean()


@pytest.mark.parametrize("divergence", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("way", ["one", "several", "several that are shown more", "average"])
def test_the_loss_is_that_of_a_slow_loop(
    way: str, divergence: float, teachers: dict[str, Any], tmp_path: Path
) -> None:
    """A row that another one's teacher scores, a prompt of its own that is not read or moves the
    answer's places, policy and teacher exchanged, tokens of padding that count."""
    named = [f"++algo.teachers={{a: {teachers['folder']}/a, b: {teachers['folder']}/b}}", *SEVERAL]
    words = {
        "one": [f"algo.teacher={teachers['folder']}/a"],
        "several": named,
        "several that are shown more": [*named, SHOWN],
        "average": AVERAGE,
    }[way]
    trainer = built(
        tmp_path, *words, f"algo.divergence={divergence}", "algo.temperature=1.5",
        "train.micro_batch_size=8",
    )  # fmt: skip
    trainer.model.train()
    batch = trainer._prepare_inputs(ROWS)
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    gradients = [weight.grad.double() for weight in trainer.model.parameters()]
    if way == "average":
        models = dict.fromkeys("ab", copy.deepcopy(trainer.average.model).double())
    else:
        one = way == "one"
        models = {name: copy.deepcopy(teachers["a" if one else name]).double() for name in "ab"}
    reads = {}
    for row in ROWS:
        shown = f"{row['hint']} w2 {row['prompt']}" if SHOWN in words else row["prompt"]
        reads[tuple(ids_of(row["prompt"]))] = (models[row["kind"]], ids_of(shown))
    trainer.model.zero_grad()
    slow = slow_loss(trainer, batch, reads)
    slow.backward()
    assert loss.item() == pytest.approx(slow.item(), rel=1e-4) and slow.item() > 0.05
    for fast, weight in zip(gradients, trainer.model.parameters(), strict=True):
        torch.testing.assert_close(fast, weight.grad, rtol=2e-3, atol=2e-5)


def test_each_teachers_divergence_is_told(teachers: dict[str, Any], tmp_path: Path) -> None:
    """One teacher that is never learnt from, and a loss that does not show it."""
    folder = teachers["folder"]
    words = [f"++algo.teachers={{a: {folder}/a, b: {folder}/b}}", *SEVERAL]
    trainer = built(tmp_path, *words, "train.micro_batch_size=4")
    trainer.train()
    told = {name: value for logs in trainer.state.log_history for name, value in logs.items()}
    assert told["rollout/divergence_a"] > 0 < told["rollout/divergence_b"]


def test_the_average_has_its_closed_form() -> None:
    """A decay that is taken for its complement, a step that is counted twice, frozen weights that
    are copied, and in bfloat16 an average that never moves."""
    state: Any = None
    for dtype in (torch.float32, torch.bfloat16):
        model: Any = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)).to(dtype)
        model[1].requires_grad_(False)
        average = MovingAverage(model, 0.99)
        expected = model[0].weight.detach().double()
        for step in range(1, 6):
            with torch.no_grad():
                model[0].weight += step
            average.on_step_end(state, state, state)
            expected = 0.99 * expected + 0.01 * model[0].weight.detach().double()
        assert average.model[1].weight is model[1].weight
        held = average._average["0.weight"].double()
        torch.testing.assert_close(held, expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(average.model[0].weight, held.to(dtype))
        assert not average.model[0].weight.requires_grad and model[0].weight.requires_grad


@pytest.mark.parametrize("adapter", [False, True], ids=["whole", "adapter"])
def test_a_training_with_its_average_goes_on_bit_for_bit(adapter: bool, tmp_path: Path) -> None:
    """An average that begins anew at a checkpoint, or is not written before it is sealed."""
    whole = built(tmp_path, *AVERAGE, adapter=adapter, steps=4)
    whole.train()
    again = built(tmp_path, *AVERAGE, adapter=adapter, steps=4)
    begun = {name: value.clone() for name, value in again.average._average.items()}
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    for one, other in ((whole.model, again.model), (whole.average.model, again.average.model)):
        for name, weight in one.state_dict().items():
            assert torch.equal(weight, other.state_dict()[name]), name
    moved = [not torch.equal(begun[name], one) for name, one in again.average._average.items()]
    assert any(moved) and len(moved) == sum(w.requires_grad for w in whole.model.parameters())
    (tmp_path / "run" / "checkpoint-3" / FILE).unlink()
    with pytest.raises(UserError, match="no average"):
        again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))


def test_a_conversations_last_turn_is_what_the_teacher_reads_otherwise() -> None:
    """A system's turn that is lost, braces of the prompt that are filled in as well."""
    algo = spec_of(
        "algo=distill", "algo.teacher=ema", 'algo.teacher_prompt="{prompt} ({hint})"'
    ).algo
    assert isinstance(algo, Distill)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{hint}?"}]
    assert algo.prompt_of({"prompt": turns, "hint": 7}) == [
        turns[0], {"role": "user", "content": "{hint}? (7)"},
    ]  # fmt: skip
    assert algo.prompt_of({"prompt": "Why?", "hint": "So."}) == "Why? (So.)"


OTHER = 'algo.teacher_prompt="{prompt} {hints}"'
NAMED = "++algo.teachers={a: ./no/where}"


@pytest.mark.parametrize(
    ("words", "key", "says"),
    [
        (["algo.teacher=ema"], "algo.teacher_prompt", "nothing to learn"),
        (["algo.teacher=ema", 'algo.teacher_prompt="{hint}"'], "algo.teacher_prompt", "{prompt}"),
        (["algo.teacher=ema", OTHER], "algo.teacher_prompt", "'hints'"),
        ([NAMED], "algo.teacher_column", "the column with the names a"),
        ([NAMED], "algo.teachers.a", "not there"),
        ([NAMED, "algo.teacher_column=kin"], "algo.teacher_column", "'kin'"),
        ([NAMED, "algo.teacher_column=kind", "algo.teacher=ema"], "algo.teacher", "Leave one"),
        (["algo.teacher=ema", "algo.teacher_column=kind"], "algo.teacher_column", "null with one"),
        (["algo.teacher=ema", "algo.ema_decay=1.5"], "algo.ema_decay", "at most 1"),
    ],
)  # fmt: skip
def test_teachers_that_cannot_be_asked_are_refused(words: list[str], key: str, says: str) -> None:
    """A knob without effect, a loss that is always 0, a column that no row has."""
    assert says in problems_of("algo=distill", *words)[key]


def test_rows_name_teachers_that_are_there(teachers: dict[str, Any], tmp_path: Path) -> None:
    """A teacher that nobody knows, found in the middle of the training."""
    file = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [
        {"prompt": f"q {n}", "kind": "abc"[n % 3 if n < 6 else 0]} for n in range(20)
    ]
    rows[3]["hint"] = None
    file.write_text("".join(json.dumps({"hint": "h", **row}) + "\n" for row in rows), "utf-8")
    spec = spec_of(
        "algo=distill", "reward=none", "data=file", f"data.path={file}", SHOWN, *SEVERAL,
        f"++algo.teachers={{a: {teachers['folder']}/a, b: {teachers['folder']}/b}}",
        "data.eval_fraction=0.05",
    )  # fmt: skip
    with pytest.raises(UserError) as caught:
        check_algo_rows(spec, load_data(spec.data, "prompts"))
    told = {problem.key: problem.got for problem in caught.value.problems}
    expected = {
        f"{file}:3": "'c' in kind",
        f"{file}:6": "'c' in kind",
        f"{file}:4": "nothing in hint",
    }
    assert told.items() <= expected.items() and len(told) >= 2  # one may be held out
