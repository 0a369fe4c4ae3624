"""The facts that pass between asking and grading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rewards.verify import Form

Status = Literal["graded", "no_answer", "unparsable", "bad_gold"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One question with a known answer. `id` is `suite/split/index` and joins everything that is kept."""

    id: str
    question: str
    answer: str
    level: str | None = None
    source: str | None = None
    solution: str | None = None
    """A worked solution, for few-shot examples and SFT; never shown of the problem that is asked."""
    form: Form = "any"
    """What a right answer must also look like; see rewards/verify.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the checker saw in one completion. Facts only: a reward decides what they are worth."""

    answer: str | None
    """Text that the template read out; None when there was nothing to read."""
    correct: bool
    status: Status
    reason: str
    """Why: equal, different, not_in_form; or what kept an answer from being read. rewards/README.md lists them."""
    milliseconds: float
