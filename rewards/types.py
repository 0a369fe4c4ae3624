"""The facts that pass between asking and grading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["graded", "no_answer", "unparsable", "timeout", "bad_gold"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One question with a known answer. `id` is `suite/split/index` and joins everything that is kept."""

    id: str
    question: str
    answer: str
    level: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the checker saw in one completion. Facts only: a reward decides what they are worth."""

    answer: str | None
    """Text that the template read out; None when there was nothing to read."""
    correct: bool
    status: Status
    milliseconds: float
