"""What a verdict is worth: the R1-Zero reward and its controls, all of one shape."""

from __future__ import annotations

import random
from collections.abc import Callable

from configs.schema import RewardName
from rewards.types import Verdict

Reward = Callable[[Verdict, random.Random], float | None]
"""Takes the facts and a generator of this sample's own. None: no reward at all, the sample is left out."""


def sample_rng(*, seed: int, step: int, problem_id: str, sample: int) -> random.Random:
    """The generator of one sample of one problem at one step: the same in every process and on every machine."""
    return random.Random(f"{seed}/{step}/{problem_id}/{sample}")  # a str seed is hashed by sha512, not by hash()


def correctness(verdict: Verdict, rng: random.Random) -> float | None:
    """1 for a right answer, 0 for anything else: the R1-Zero reward."""
    return None if verdict.status == "bad_gold" else float(verdict.correct)


def answered(verdict: Verdict, rng: random.Random) -> float | None:
    """Control: pay for the format alone. If this trains as well as `correctness`, the gain was not maths."""
    return None if verdict.status == "bad_gold" else float(verdict.answer is not None)


def coin(verdict: Verdict, rng: random.Random) -> float | None:
    """Control: a fair coin. Whatever this trains was in the base or in the update rule, not in the reward."""
    return None if verdict.status == "bad_gold" else float(rng.random() < 0.5)


def inverted(verdict: Verdict, rng: random.Random) -> float | None:
    """Control: 1 for a graded wrong answer, 0 for a right one and for whatever could not be graded."""
    return None if verdict.status == "bad_gold" else float(verdict.status == "graded" and not verdict.correct)


REWARDS: dict[RewardName, Reward] = {
    "correctness": correctness,
    "format": answered,
    "random": coin,
    "inverted": inverted,
}
