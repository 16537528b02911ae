"""Worker processes for rewards: the same bits, the same words, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from scored_rewards import Hangs, Inverse, Process, mix_of, of

from rlexp.rewards.python import Python
from rlexp.rewards.sentiment import Sentiment
from rlexp.runtime.paths import CONF
from rlexp.scoring import Scorer, dispatch
from rlexp.scoring.pool import WorkerPool
from rlexp.scoring.term_call import Batch, call
from rlexp.spec.errors import RunFailed
from rlexp.spec.reward import RewardSpec, Text
from rlexp.spec.scoring import ScoringSpec

TEXTS: list[Text] = [
    f"{'very ' * (n % 7)}good film number {n}, {'not ' * (n % 3)}bad" for n in range(40)
]


def workers() -> list[psutil.Process]:
    """Live worker processes of this one."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "rlexp.scoring.worker" in child.cmdline()
    ]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers from the second batch on, however small it is; none is left at the end."""
    monkeypatch.setattr(dispatch, "WORTH", 0.0)
    monkeypatch.setattr(dispatch, "START", -1.0)
    yield
    assert workers() == []


def scorer_of(reward: RewardSpec, on_error: Any = "stop", count: int | None = 2) -> Scorer:
    return Scorer(
        reward,
        ScoringSpec(on_error=on_error, max_missing=1.0, workers=count, probe="off", timeout=None),
    )


def scored(scorer: Scorer, texts: list[Text], step: int = 0) -> list[float]:
    return scorer.train(["p"] * len(texts), texts, {}, step).totals


@pytest.mark.usefixtures("eager")
class TestWorkers:
    def test_they_give_the_same_bits(self) -> None:
        """Parts of a batch put together in the order in which they are done; the run's own process
        at work all the same; torch in every worker."""
        terms = {"inverse": of("Inverse", 0.3), "process": of("Process", 0.0, rounds=1)}
        mix = mix_of(**terms)
        with scorer_of(mix) as scorer:
            scored(scorer, TEXTS)
            batch: Any = (["p"] * 40, TEXTS, {})
            scores = scorer.once(*batch)
            (main_process,) = {*mix.score(*batch).terms["process"]}
            alone = mix.score(*batch)
            process_ids = {*scores.terms["process"]}
        assert main_process == 0.0  # torch is loaded in this one
        assert not process_ids & {0.0, float(os.getpid())}
        assert (scores.total, scores.terms["inverse"]) == (alone.total, alone.terms["inverse"])

    def test_a_term_that_raises_there_is_told_as_here(self) -> None:
        """An index within the worker's part of the batch; a worker that dies of an exception."""
        texts: list[Text] = [*TEXTS[:30], "", *TEXTS[30:], ""]
        with scorer_of(Inverse(name="inverse")) as scorer:
            with pytest.raises(RunFailed) as in_main:
                scored(scorer, texts, 4)
            scored(scorer, TEXTS)
            with pytest.raises(RunFailed) as in_worker:
                scored(scorer, texts, 4)
            assert len(workers()) == 2
            scored(scorer, TEXTS)
        assert str(in_main.value) == str(in_worker.value)
        assert "for sample 30, the completion ''" in in_worker.value.what

    def test_what_is_forgiven_there_is_missing_as_here(self) -> None:
        """Missing values that move when a batch is cut in parts."""
        texts: list[Text] = ["", *TEXTS, "?", ""]
        with scorer_of(Inverse(name="inverse"), "missing") as scorer:
            assert scored(scorer, texts) == scored(scorer, texts)
            assert len(workers()) == 2

    def test_one_that_dies_ends_the_run_with_its_status(self) -> None:
        """A run that waits for ever for a worker that was killed for want of memory."""
        with scorer_of(Inverse(name="inverse")) as scorer:
            scored(scorer, TEXTS)
            scored(scorer, TEXTS)
            for worker in workers():
                worker.kill()
            with pytest.raises(
                RunFailed, match=r"inverse ended its worker .*status -9.*at step 3[\s\S]*workers=0"
            ):
                scored(scorer, TEXTS, 2)

    def test_a_reward_that_cannot_be_sent_is_told(self) -> None:
        """A fallback without a word, or a traceback from the pickler."""

        class Local(Inverse):
            pass

        with scorer_of(Local(name="local")) as scorer:
            scored(scorer, TEXTS)
            with pytest.raises(RunFailed, match="cannot be pickled") as caught:
                scored(scorer, TEXTS)
            assert "scoring.workers=0" in caught.value.remedy

    def test_a_module_that_workers_cannot_import_is_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker's traceback, which names no knob."""

        class Made(Inverse):
            pass

        Made.__module__, Made.__qualname__ = "only_here", "Made"
        monkeypatch.setitem(sys.modules, "only_here", SimpleNamespace(Made=Made))
        with scorer_of(Made(name="made")) as scorer:
            scored(scorer, TEXTS)
            with pytest.raises(RunFailed, match="could not load the reward") as caught:
                scored(scorer, TEXTS)
            assert "scoring.workers=0" in caught.value.remedy

    def test_an_exception_in_the_run_leaves_none_behind(self) -> None:
        """Workers of a run that failed elsewhere, in the middle of a batch."""
        with pytest.raises(KeyboardInterrupt), scorer_of(Process(name="p", rounds=1)) as scorer:
            scored(scorer, TEXTS)
            scored(scorer, TEXTS)
            assert len(workers()) == 2
            raise KeyboardInterrupt


def test_small_batches_stay_here() -> None:
    """Processes that cost more than they save, in a run whose reward takes a millisecond."""
    with scorer_of(Inverse(name="inverse"), count=None) as scorer:
        for _ in range(20):
            scored(scorer, TEXTS)
        assert workers() == []


def test_a_ctrl_c_is_for_the_run_alone_and_its_end_is_theirs(tmp_path: Path) -> None:
    """Tracebacks of workers on Ctrl-C; workers that outlive a run that is killed."""
    script = (
        "import sys, time\n"
        "from scored_rewards import Process\n"
        "from rlexp.scoring.term_call import Batch\n"
        "from rlexp.scoring.pool import WorkerPool\n"
        "pool = WorkerPool({'p': Process(name='p', rounds=10**9)}, 2); pool.ready(wait=True)\n"
        "pool.submit('p', Batch(['p'], ['c'], {}), False)\n"
        "print(*[worker.process.pid for worker in pool._workers], flush=True); time.sleep(100)\n"
    )
    paths = os.pathsep.join([str(CONF.parent), str(Path(__file__).parent)])
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    processes = [psutil.Process(int(pid)) for pid in run.stdout.readline().split()]
    for process in processes:
        process.send_signal(signal.SIGINT)
        with pytest.raises(psutil.TimeoutExpired):
            process.wait(0.1)
    run.kill()
    run.wait()
    gone, alive = psutil.wait_procs(processes, timeout=20)
    assert (len(gone), alive) == (2, [])


def test_a_reward_of_the_house_is_scored_by_a_worker() -> None:
    """A lexicon that only the run's own process has loaded."""
    fields: dict[str, Any] = dict.fromkeys(Sentiment.model_fields)
    reward = Sentiment.model_construct(**{**fields, "name": "sentiment", "scope": "completion"})
    batch = Batch(["p"] * 40, TEXTS, {})
    pool = WorkerPool({"sentiment": reward}, 1)
    try:
        result = pool.submit("sentiment", batch, False).result(timeout=60)
    finally:
        pool.close()
    assert result.values == call(reward, batch, False).values
    assert torch.tensor(result.values).unique().numel() > 5


def limited(reward: RewardSpec, on_error: Any = "stop", count: int | None = 0) -> Scorer:
    """A scorer whose calls may take half a second."""
    spec = ScoringSpec(on_error=on_error, max_missing=1.0, workers=count, probe="off", timeout=0.5)
    return Scorer(reward, spec)


class TestTimeLimit:
    """`scoring.timeout`: a call without an end is killed, named, and may be forgiven."""

    @pytest.mark.parametrize("count", [0, 2])
    def test_a_reward_that_hangs_ends_the_run(self, count: int) -> None:
        """A run that waits for ever, or a limit that holds for workers that were asked for only."""
        with limited(mix_of(slow=of("Hangs")), count=count) as scorer:
            with pytest.raises(RunFailed, match=r"term slow took longer than .*0\.5 s") as caught:
                scored(scorer, ["fine", "hang"], step=3)
            assert "at step 4" in caught.value.what
            assert "scoring.timeout=" in caught.value.remedy
        assert workers() == []

    def test_what_hangs_is_missing_where_that_is_forgiven(self) -> None:
        """A whole batch lost for one completion; a pool without its killed worker."""
        with limited(Hangs(name="slow"), "missing") as scorer:
            scores = scorer.once(["p"] * 3, ["fine", "hang", "fine"], {})
            assert scores.total == [1.0, None, 1.0]
            assert scorer.once(["p"], ["fine"], {}).total == [1.0]
            assert len(workers()) == 1

    def test_a_function_that_remembers_stays_in_one_process(self, here: Path) -> None:
        """`parallel=false` whose batches are scored by processes without a common memory."""
        (here / "remembers.py").write_text(
            "calls = []\ndef score(prompts, completions):\n"
            "    calls.append(len(completions))\n    return [sum(calls)] * len(completions)\n"
        )
        reward = Python(name="mine", function="remembers:score", parallel=False)
        with limited(reward, count=2) as scorer:
            assert [scored(scorer, TEXTS)[0] for _ in range(3)] == [40.0, 80.0, 120.0]
            assert len(workers()) == 1

    def test_what_a_killed_call_has_started_ends_with_it(self, here: Path) -> None:
        """A program that a reward waits for, and that goes on behind the run."""
        (here / "starts.py").write_text(
            "import subprocess\ndef score(prompts, completions):\n"
            "    child = subprocess.Popen(['sleep', '600'])\n"
            "    open('child', 'w').write(str(child.pid))\n    child.wait()\n"
        )
        reward = Python(name="mine", function="starts:score", parallel=True)
        with limited(reward) as scorer, pytest.raises(RunFailed, match="took longer"):
            scored(scorer, TEXTS)
        child = int((here / "child").read_text())
        assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"
