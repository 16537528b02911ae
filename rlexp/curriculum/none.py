"""No curriculum: every row is as likely at every step."""

from __future__ import annotations

from typing import ClassVar

from rlexp.spec.curriculum import CurriculumSpec


class NoCurriculum(CurriculumSpec):
    """The trainer's own order: each row once a pass, at random."""

    draws: ClassVar[bool] = False
