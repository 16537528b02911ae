"""Every remedy that an error prints leads past that error when it is typed.

The cases are commands with a mistake; what the mistake's remedy says is done (`remedies.py`), and
must not be answered with the same mistake. A new error whose remedy is to be typed needs a case
here, or a line in `ELSEWHERE`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from remedies import Typed, advising_sites, told, ways
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


def nothing(here: Path) -> None:
    """Needs no files."""


def earlier(name: str) -> Prepare:
    """A run that earlier code left, in the current folder."""
    return lambda here: shutil.copytree(EARLIER / name, here / name) and None


EARLIER = Path(__file__).parent / "whole_runs" / "earlier_runs"
JUDGE = "reward=judge reward.model=m reward.base_url="
RIVALS = "reward=judge reward.mode=pairwise reward.model=m reward.base_url=http://h/v1"
PAIRS = "-m sweep=optuna algo.beta=choice(1,2) sweep.objective=[eval/reward,eval/kl]"
CASES: dict[str, tuple[str, Prepare]] = {
    "algo=dp0": ("", nothing),
    "algo.betaa=1": ("", nothing),
    "seed=1,2": ("", nothing),
    "name=a,b": ("", nothing),
    "seed=[1": ("", nothing),
    "name=nan": ("", nothing),
    "name=true": ("", nothing),
    "grösse=1": ("", nothing),
    "-m seed=1,2 --cfg job": ("", nothing),
    "-m --info": ("", nothing),
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
    "compare a b --html no/where/x.html": ("", nothing),
    "tracking.uri=./mlruns": ("", nothing),
    "tracking.uri=sqlite://x.db": ("", nothing),
    "tracking.uri=sqlite:///no/where.db": ("", nothing),
    "data=file data.path=x.jsonl algo=sft": ("NAME=b", file("x.jsonl", rows(a="q", b="c"))),
    "data=hh_rlhf data.path=./p.jsonl": ("", file("p.jsonl", rows(chosen="a", rejected="b"))),
    "algo=dpo reward=none": ("", nothing),
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
    "algo=rloo algo.beta=0 +algo.trl.sync_ref_model=true": ("", nothing),
    "algo=grpo peft=lora +algo.trl.sync_ref_model=true": ("", nothing),
    "algo.num_generations=7": ("", nothing),
    "train.micro_batch_size=7": ("", nothing),
    "train.best_metric=eval/reward eval.every=0": ("", nothing),
    "eval.texts_path=t.txt eval.texts=0": ("", file("t.txt", "a\nb\n")),
    "hardware.device=cuda": ("", nothing),
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
    "-m sweep=optuna": ("", nothing),
    "-m sweep=optuna algo.beta=choice(0.1,0.2) sweep.objective=eval/rewrd": ("", nothing),
    PAIRS: ("", nothing),
}
"""Words with a mistake, by what a reader would put for placeholders, and the files they need."""

ELSEWHERE = {
    "rlexp/algos/common/rollouts.py:explain_missing_server": "needs vLLM",
    "rlexp/algos/ppo.py:_critic_body": "tests/spec/test_wrong_input.py",
    "rlexp/cli/main.py:_hydra_main": "tests/cli/test_own_configs.py",
    "rlexp/cli/main.py:_refuse_to_overwrite": "tests/whole_runs/test_runs.py",
    "rlexp/commands/compare.py:_check_count": "names no command that differs by run",
    "rlexp/commands/report.py:_tracked": "tests/commands/test_report_command.py",
    "rlexp/commands/rerun.py:_tracked": "tests/commands/test_rerun.py",
    "rlexp/commands/rm.py:run": "tests/commands/test_rm.py",
    "rlexp/commands/ui.py:_check_port": "tests/commands/test_ui.py",
    "rlexp/commands/ui.py:_server": "points to doctor",
    "rlexp/data/hub.py:_unreachable": "wants a network",
    "rlexp/launch/evaluation_plan.py:_model_of_run": "tests/commands/test_evaluate_command.py",
    "rlexp/launch/launcher.py:_launch_many": "of a process that was killed",
    "rlexp/models/locate.py:hub_folder": "wants a network",
    "rlexp/models/sampling/generate_patch.py:_check_options": "tests/models",
    "rlexp/models/sampling/rollout.py:finalise": "of a training that diverged",
    "rlexp/registry/promote.py:_card_of": "tests/registry/test_promote.py",
    "rlexp/registry/promote.py:choose_weights": "tests/registry/test_promote.py",
    "rlexp/registry/versions.py:_unknown_model": "tests/registry/test_catalogue.py",
    "rlexp/reproduction/plan.py:_overrides": "tests/reproduction",
    "rlexp/reproduction/recorded.py:_artifact": "tests/reproduction",
    "rlexp/reproduction/reproduce.py:_check_data": "tests/reproduction",
    "rlexp/rewards/code.py:_sandbox_problems": "needs a machine without a sandbox",
    "rlexp/rewards/judging/client.py:_refused": "tests/rewards/test_judge_endpoint.py",
    "rlexp/rewards/judging/client.py:_request": "tests/rewards/test_judge_endpoint.py",
    "rlexp/rewards/judging/endpoint_judge.py:win_shares": "the check refuses it before",
    "rlexp/runner/error_messages.py:explain_full_disk": "tests/whole_runs/test_broken_runs.py",
    "rlexp/runtime/device.py:_usable_device": "needs a torch that cannot use the GPU",
    "rlexp/scoring/pool.py:_answer": "tests/scoring/test_workers.py",
    "rlexp/scoring/pool.py:_pickled": "tests/scoring/test_workers.py",
    "rlexp/scoring/pool.py:_too_long": "tests/scoring/test_workers.py",
    "rlexp/scoring/pool.py:ready": "tests/scoring/test_workers.py",
    "rlexp/scoring/term_call.py:call": "tests/scoring/test_scoring.py",
    "rlexp/spec/checks/judge.py:judge_can_compare": "tests/evaluation/test_judge_win_rate.py",
    "rlexp/sweep/space/grid.py:grid_problems": "tests/sweep/test_space.py",
    "rlexp/sweep/space/syntax.py:_typed_parameters": "tests/sweep/test_space.py",
    "rlexp/sweep/study.py:open_storage": "installs a package",
    "rlexp/tracking/query/removal.py:_alive_problems": "tests/commands/test_rm.py",
    "rlexp/tracking/query/removal.py:_folder_problems": "tests/commands/test_rm.py",
    "rlexp/tracking/spool/destination.py:tracking_address": "tests/commands/test_sync.py",
    "rlexp/tracking/store/connection.py:_check_driver": "installs a package",
    "rlexp/tracking/store/read_only.py:unreachable_error": "tests/tracking/test_servers.py",
}
"""Places whose remedies are not tried here: the tests of their room, or why none can."""


def typed_of(words: str) -> Typed:
    return Typed(tuple(words.split(" ")))


@pytest.fixture(scope="module")
def tried() -> dict[str, str]:
    """The places whose remedies the cases have tried, each with its case."""
    return {}


@pytest.mark.parametrize("words", CASES)
def test_a_remedy_leads_past_its_error(
    words: str, here: Path, tried: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Advice that does not parse, names what is not there, or ends in the same error."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    substitutes, prepare = CASES[words]
    values = dict(pair.split("=") for pair in substitutes.split())
    prepare(here)
    mistakes = told(typed_of(words))
    assert mistakes, "the case has no mistake"
    dead_ends = []
    for (key, site), problem in mistakes.items():
        tried[site] = words
        for way, command in ways(problem, typed_of(words), values).items():
            if (key, site) in told(command):
                dead_ends.append(f"{problem}\n  {way!r}: {' '.join(command.words)}")
    assert not dead_ends, "\n".join(dead_ends)


def test_every_error_that_says_what_to_type_is_tried(tried: dict[str, str]) -> None:
    """A new error whose remedy nobody has typed."""
    if len(tried) < len(CASES) // 2:
        pytest.skip("the cases have not been run")
    sites = set(advising_sites())
    assert sites - set(tried) - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) - sites == set(), "these are gone, or say nothing to type any more"
    assert set(ELSEWHERE) & set(tried) == set(), "these are tried here"
