"""Another model beside the policy that must read its tokens: a teacher, a critic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import is_adapter, saved_config, saved_path, vocabulary
from rlexp.spec.files.weights import weight_problems
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import kind_of_config


@dataclass(frozen=True)
class AuxiliaryModel:
    """What may stand beside the policy, by the key that names it."""

    key: str
    architectures: tuple[str, ...]
    """Parts of the class names that will do."""
    want: str
    """These in words."""
    remedy: str
    """For one that reads other tokens."""

    def problems(self, path: str) -> list[Problem]:
        """Return what keeps the model at a path from its place, as far as it is on this machine."""
        try:
            folder = Path(saved_path(path, self.key))
        except UserError as error:
            return list(error.problems)
        return self._wrong_kind(folder) if folder.is_dir() else []

    def token_problems(self, path: str, policy: ModelSpec) -> list[Problem]:
        """Return a problem where both tokenizers are in local folders, and differ."""
        try:
            folder = Path(saved_path(path, self.key))
        except UserError:  # `problems` has told of it
            return []
        tokenizer = Path(policy.tokenizer or policy.path).expanduser()
        if not folder.is_dir() or not tokenizer.is_dir():
            return []
        return self._other_tokens(folder, vocabulary(tokenizer))

    def fetch(self, path: str, revision: str | None, local_folder: Callable[..., Path]) -> Path:
        """Return the folder of a model, which is fetched if need be; an adapter comes merged.

        Raises:
            UserError: a model of another kind.
        """
        folder = local_folder(saved_path(path, self.key), revision, self.key)
        if wrong := self._wrong_kind(folder):
            raise UserError(wrong)
        return folder

    def check_tokens(self, folder: Path, policy: dict[str, int]) -> None:
        """Compare the model's pieces with the policy's.

        Raises:
            UserError: they differ.
        """
        if wrong := self._other_tokens(folder, policy):
            raise UserError(wrong)

    def _wrong_kind(self, folder: Path) -> list[Problem]:
        config = saved_config(folder)
        if is_adapter(folder):  # it is merged when it is fetched
            head = f"For{kind_of_config(config).architecture}"
            fits = any(kind in head for kind in self.architectures)
            return [] if fits else [Problem(self.key, f"{folder}, an adapter {head}", self.want)]
        names = config.get("architectures") or ["model of unknown architecture"]
        known = all(any(kind in name for kind in self.architectures) for name in names)
        if known and not config.get("is_encoder_decoder"):
            return weight_problems(folder, config, self.key)
        return [Problem(self.key, f"{folder}, a {', '.join(names)}", self.want)]

    def _other_tokens(self, folder: Path, policy: dict[str, int] | None) -> list[Problem]:
        own = vocabulary(folder)
        if own is None or policy is None or own == policy:
            return []
        shared = sum(policy.get(piece) == index for piece, index in own.items())
        got = f"{folder}, of whose {len(own)} tokens {shared} are the policy's {len(policy)}"
        return [Problem(self.key, got, "the policy's tokenizer", self.remedy)]
