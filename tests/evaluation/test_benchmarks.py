"""Benchmarks: lm-eval's numbers on the model in memory, its command line's, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from benchmark_tasks import write_tasks
from runs import SMALL, run_here
from small_evaluation import SPEC, draws
from tiny_policy import TinyPolicy

from rlexp.spec.errors import UserError
from rlexp.spec.eval import EvalSpec
from rlexp.spec.harness.index import own_tasks_folder

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(own_tasks_folder() is None, reason="lm-eval is not installed"),
]

REVIEW_WORDS = ["film", "movie", "story", "actors", "great", "dull", "boring", "lovely", "was"]


def spec_with(tasks, **changes):
    asked = {
        "tasks": tasks,
        "limit": None,
        "num_fewshot": 1,
        "batch_size": 4,
        "apply_chat_template": False,
    }
    return EvalSpec.model_validate(SPEC | {"benchmarks": asked | changes})


def theirs(policy, tasks, spec):
    """What lm-eval's own function says of the same model and tasks."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    wrapper: Any = HFLM
    results: Any = simple_evaluate(
        wrapper(pretrained=policy.model, tokenizer=policy.tokenizer, batch_size=4),
        tasks=tasks,
        num_fewshot=spec.benchmarks.num_fewshot,
        limit=spec.benchmarks.limit,
        task_manager=TaskManager(include_defaults=False),
    )
    return {
        f"benchmark_{task}_{key.removesuffix(',none').replace(',', '_')}": value
        for task, numbers in results["results"].items()
        for key, value in numbers.items()
        if "," in key and "_stderr" not in key
    }


@pytest.mark.parametrize(("limit", "shots"), [(None, 1), (7, 0)])
def test_the_numbers_are_lm_evals_and_the_training_notices_nothing(
    tmp_path, monkeypatch, limit, shots
):
    from rlexp.evaluation.benchmarks.measure import measure_benchmarks

    tasks = write_tasks(tmp_path / "tasks")
    spec, policy = spec_with(tasks, limit=limit, num_fewshot=shots), TinyPolicy()
    policy.model.train()
    padding = policy.tokenizer.padding_side
    transformers.set_seed(11)
    wanted = draws()
    transformers.set_seed(11)
    found = measure_benchmarks(policy, spec)
    assert draws() == wanted
    assert all(module.training for module in policy.model.modules())
    assert policy.tokenizer.padding_side == padding
    assert {score.documents for score in found.scores.values()} == {limit or 12}
    assert set(found.intervals) == set(found.metrics)
    for name, (sums, counts) in found.ratios.items():
        ratio = sum(sums) / sum(counts)
        value = torch.tensor(ratio).exp().item() if name.endswith("perplexity") else ratio
        assert value == pytest.approx(found.metrics[name], rel=1e-5)

    monkeypatch.chdir(tmp_path / "tasks")  # where lm-eval's own words find the data
    policy.model.eval()
    assert found.metrics == theirs(policy, tasks, spec)


def test_a_template_that_is_not_there_is_told_before_anything_is_read(tmp_path):
    from rlexp.evaluation.benchmarks.measure import measure_benchmarks

    spec = spec_with(["nowhere.yaml"], apply_chat_template=True)
    with pytest.raises(UserError, match="apply_chat_template=false"):
        measure_benchmarks(TinyPolicy(), spec)


def test_a_task_that_runs_what_a_model_writes_is_refused_when_a_check_did_not_see_it(tmp_path):
    from rlexp.evaluation.benchmarks.measure import measure_benchmarks

    [choice, *_] = write_tasks(tmp_path)
    text = Path(choice).read_text(encoding="utf-8")
    Path(choice).write_text(f"{text}unsafe_code: true\n", encoding="utf-8")
    with pytest.raises(UserError, match="words_choice"):
        measure_benchmarks(TinyPolicy(), spec_with([choice]))


@pytest.mark.slow
def test_a_whole_run_has_the_numbers_of_the_command_line(tmp_path):
    """Before, after, as records; and what `python -m lm_eval` says of the saved model."""
    tasks = write_tasks(tmp_path / "tasks", REVIEW_WORDS)
    words = ("algo=sft", f"eval.benchmarks.tasks=[{','.join(tasks)}]")
    small = (*SMALL, "eval.prompts=8", "eval.texts=8", "eval.benchmarks.num_fewshot=1")
    folder = run_here(tmp_path / "run", *small, *words)
    card = json.loads((folder / "card.json").read_text())
    names = {name for name in card["after"] if name.startswith("benchmark_")}
    assert len(names) == 5
    assert names <= set(card["before"]) & set(card["intervals"]) & set(card["changes"])
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu"]
    command += ["--model_args", f"pretrained={folder / 'model'}", "--num_fewshot", "1"]
    command += ["--tasks", ",".join(tasks), "--batch_size", "8", "--output_path", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path / "tasks", check=True, capture_output=True)
    [file] = tmp_path.rglob("results_*.json")
    for task, numbers in json.loads(file.read_text())["results"].items():
        for key, value in numbers.items():
            if "," in key and "_stderr" not in key:
                name = f"benchmark_{task}_{key.removesuffix(',none').replace(',', '_')}"
                assert card["after"][name] == value, name
