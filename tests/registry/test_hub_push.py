"""Uploads to a stand-in for the hub: what arrives there, and who is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import TOKEN, HubServer, served
from huggingface_hub import constants

from rlexp.registry.hub_push import push, push_problems
from rlexp.spec.errors import UserError


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub of the test's own, for which the login is right."""
    with served() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """Files that are links, as those of a checkpoint are."""
    weights, folder = tmp_path / "weights", tmp_path / "staged"
    weights.write_bytes(b"\x00weights" * 1000)
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(weights)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    return folder


def test_the_files_arrive_whole(hub: HubServer, staged: Path) -> None:
    """Links as links; a card that is left behind; a private model that everybody can read."""
    asked: list[str] = []
    agree = lambda what: not asked.append(what)  # noqa: E731
    address = push(staged, "me/films", private=True, message="films", agree=agree)
    assert address == f"{hub.url}/me/films/commit/0"
    assert hub.files["me/films"] == {one.name: one.read_bytes() for one in sorted(staged.iterdir())}
    assert hub.private == {"me/films": True}
    assert "2 files" in asked[0] and hub.url in asked[0]


def test_nothing_leaves_without_a_yes(hub: HubServer, staged: Path) -> None:
    """A repository that is made before anybody has agreed."""
    agree = lambda what: False  # noqa: E731
    assert push(staged, "me/films", private=False, message="films", agree=agree) is None
    assert not hub.files and not hub.private


def test_a_wrong_login_is_told(
    hub: HubServer, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback where a token has no right."""
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="hf auth login"):
        push(staged, "me/films", private=False, message="films", agree=lambda what: True)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="cannot be reached"):
        push(staged, "me/films", private=False, message="films", agree=lambda what: True)


def test_a_name_that_is_none_is_told_with_the_rest() -> None:
    """A question asked where nobody can answer."""
    keys = [problem.key for problem in push_problems("films", yes=False)]
    assert keys == ["--push", "--push"]
    assert not push_problems("me/films", yes=True)
