"""A run's weights on the Hugging Face Hub, as an adapter or merged, with their model card.

Nothing leaves this machine before somebody has said yes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from rlexp.spec.errors import Problem, UserError

MB = 10**6
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def push_problems(repository: str, yes: bool) -> list[Problem]:
    """Return what is wrong with `--push OWNER/NAME` before the run is looked at."""
    problems: list[Problem] = []
    if not _REPOSITORY.fullmatch(repository):
        problems.append(Problem("--push", repository, "OWNER/NAME, a repository of the hub"))
    if not yes and not sys.stdin.isatty():
        remedy = "Add --yes where nobody can be asked."
        problems.append(Problem("--push", "no terminal to ask on", "somebody who says yes", remedy))
    return problems


def push(
    staged: Path, repository: str, *, private: bool, message: str, agree: Callable[[str], bool]
) -> str | None:
    """Upload a folder to a model repository of the hub, which is made where it is not there.

    Args:
        staged: holds exactly the files that are uploaded.
        repository: owner and name.
        private: whether a new repository is private.
        message: of the commit.
        agree: asked with what is about to happen; False lets it be.

    Returns:
        The commit's address; None where nobody agreed.

    Raises:
        UserError: no login, no right to write there, or no connection.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]
        LocalTokenNotFoundError,
    )

    files = sorted(one for one in staged.rglob("*") if one.is_file())
    size = sum(one.stat().st_size for one in files)
    kind = "private" if private else "public"
    what = f"{len(files)} files, {size / MB:.1f} MB, to {repository} at {constants.ENDPOINT}"
    if not agree(f"upload {what} (a new repository becomes {kind})"):
        return None
    if constants.HF_HUB_OFFLINE:
        remedy = "Unset HF_HUB_OFFLINE."
        raise UserError(Problem("--push", "HF_HUB_OFFLINE", "a hub that may be asked", remedy))
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=staged, commit_message=message)
    except LocalTokenNotFoundError as error:
        raise UserError(_no_login(repository, str(error))) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise UserError(_no_login(repository, f"status {status}")) from error
        got = f"{repository}: the hub answered {status} ({error.server_message or error})"
        raise UserError(Problem("--push", got, "a hub that takes the upload")) from error
    except (HTTPError, OSError) as error:
        got = f"{repository}: {constants.ENDPOINT} cannot be reached ({type(error).__name__})"
        raise UserError(Problem("--push", got, "a connection to the hub")) from error
    return str(commit.commit_url)


def _no_login(repository: str, why: str) -> Problem:
    remedy = "Log in: hf auth login (or set HF_TOKEN to a token that may write)."
    return Problem("--push", f"{repository}, refused ({why})", "a login that may write", remedy)
