"""How far a base calculates: fresh problems of graded difficulty, from reasoning-gym's generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configs.load import load_suite, names
from evals.estimate import Estimate, mean_over_problems
from rewards.suites import load_problems
from rewards.types import Problem

_LADDERS: dict[str, tuple[str, Sequence[int], str, dict[str, int]]] = {
    "sums and differences of two numbers, digits": (
        "chain_sum",
        range(1, 6),
        "digits",
        {"min_terms": 2, "max_terms": 2},
    ),
    "sums and differences of one-digit numbers, terms": (
        "chain_sum",
        range(3, 7),
        "terms",
        {"min_digits": 1, "max_digits": 1},
    ),
    "products of two numbers, digits": ("products", range(1, 5), "digits", {"min_terms": 2, "max_terms": 2}),
}
"""By name: the generator, its levels, the option that a level sets, and what stays. chain_sum has no option against minus."""

FAR_APART = 10**6  # reasoning-gym draws item i from seed + i: seeds next to each other ask all but one the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A problem and where it stands. The higher the level, the more is to be carried."""

    ladder: str
    level: int
    problem: Problem


def rungs(*, size: int, seed: int) -> list[Rung]:
    """`size` different problems on every level of every ladder; fewer where the generator has no more.

    Another seed asks other numbers, so that none needs to have been read before. What a generated suite of configs/suites
    asks, to measure or to train on, is asked only where a level has too little else: two numbers of one digit.
    """
    import reasoning_gym

    first = (seed + 1) * FAR_APART  # the suites draw from near 0
    taken = _asked_by_suites()
    found = []
    for ladder, (task, levels, graded, fixed) in _LADDERS.items():
        for level in levels:
            options = {**fixed, f"min_{graded}": level, f"max_{graded}": level}
            rows = reasoning_gym.create_dataset(task, size=8 * size, seed=first, **options)
            answers = {row["question"]: str(row["answer"]) for row in rows}  # each question once
            fresh_first = sorted(answers.items(), key=lambda row: row[0] in taken)
            for place, (question, answer) in enumerate(fresh_first[:size]):
                name = f"{task}-{graded}-{level}/{first}/{place}"
                problem = Problem(id=name, question=question, answer=answer, level=str(level), source=task)
                found.append(Rung(ladder=ladder, level=level, problem=problem))
    return found


def _asked_by_suites() -> set[str]:
    made = [name for name in names("suites") if load_suite(name).reasoning_gym]
    return {problem.question for name in made for problem in load_problems(name).problems}


def by_level(asked: Sequence[Rung], right: Mapping[str, bool]) -> dict[str, dict[int, Estimate]]:
    """The share of right answers on every level of every ladder; `right` is by problem id."""
    values: dict[str, dict[int, list[float]]] = {}
    for one in asked:
        values.setdefault(one.ladder, {}).setdefault(one.level, []).append(float(right[one.problem.id]))
    return {
        ladder: {level: mean_over_problems(np.array(each)) for level, each in levels.items()}
        for ladder, levels in values.items()
    }


def reach(levels: Mapping[int, Estimate]) -> int | None:
    """The last level up to which half and more is right on every level; None where the first is beyond the base.

    >>> half = Estimate(value=0.5, low=0.4, high=0.6, n=64)
    >>> reach({1: half, 2: half, 3: Estimate(value=0.1, low=0.0, high=0.2, n=64), 4: half})
    2
    """
    last = None
    for level, share in sorted(levels.items()):
        if share.value < 0.5:
            break
        last = level
    return last
