"""What came of a job, in plain data: an exception of a library may not survive being sent."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypedDict

from hydra.core.utils import JobReturn, JobStatus

from rlexp.spec.errors import UserError


class JobOutcome(TypedDict, total=False):
    """What came of a job: `returned`, `error` or `died`."""

    returned: Any
    """By the task function."""
    error: str
    """Why it has returned nothing."""
    problems: list[dict[str, str]]
    """Of an error that the user can put right: the fields of `rlexp.spec.errors.Problem`."""
    died: str
    """How its process ended, without a word of its own."""


class JobSlots(Protocol):
    """Where jobs are submitted one by one."""

    stopped: bool
    """Whether it takes no more jobs."""

    def submit(self, overrides: Sequence[str], number: int) -> Future[JobOutcome]:
        """Run the job with these overrides as soon as a slot is free."""
        ...

    def stop(self) -> None:
        """End what still runs, as SIGTERM does, and wait until it has ended."""
        ...


def outcome_from_job(job_return: JobReturn) -> JobOutcome:
    """Return what one of Hydra's launchers gave back as an outcome."""
    if job_return.status == JobStatus.COMPLETED:
        return {"returned": job_return.return_value}
    return outcome_from_error(exception_of(job_return))


def outcome_from_error(error: BaseException) -> JobOutcome:
    """Return the outcome of a job that raised."""
    if isinstance(error, UserError):
        return {"error": str(error), "problems": [vars(problem) for problem in error.problems]}
    return {"error": f"{type(error).__name__}: {error}"}


def job_return_from(outcome: JobOutcome, overrides: Sequence[str]) -> JobReturn:
    """Return an outcome as Hydra's own sweepers expect it."""
    job_return = JobReturn(overrides=list(overrides))
    if "returned" in outcome:
        job_return.status, job_return.return_value = JobStatus.COMPLETED, outcome["returned"]
    else:
        job_return.status = JobStatus.FAILED
        job_return.return_value = RuntimeError(outcome.get("error") or outcome.get("died"))
    return job_return


def exception_of(job_return: JobReturn) -> BaseException:
    """Return what a failed job raised; Hydra's public property would raise it."""
    return job_return._return_value


def exit_description(exit_code: int | None) -> str:
    """Return how a process ended, in words.

    >>> exit_description(-9), exit_description(3)
    ('killed by SIGKILL', 'with exit status 3')
    """
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"with exit status {exit_code}"
