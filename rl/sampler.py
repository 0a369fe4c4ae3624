"""Which problems GRPO asks next: those whose groups are expected to teach something.

A group of G completions teaches nothing when all are right or all are wrong. With a problem's pass rate known only as a
Beta distribution, the chance that its next group is informative is 1 - E[p^G] - E[(1 - p)^G], in closed form. Problems
are drawn by that chance, and every group that was drawn sharpens the distributions: no rollout is drawn to be thrown
away, where DAPO's dynamic sampling (arXiv 2503.14476, section 3.2) draws until enough groups are informative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import betaln

from rewards.types import Problem

FORGET = 0.7
"""What is left of a count after one step: the policy moves, so old groups say less. Half is gone after two steps; where a base
takes off, its pass rate doubles in as few."""
STRENGTH = 2.0
"""Completions that a level's pass rate is worth for a problem of that level that was never drawn."""
FLOOR = 0.02
"""Least weight of a problem, as a share of the largest: what became learnable is found again. It is no chance of its own, since
at the start, where one group in a thousand teaches, all problems would be drawn alike."""


def informative_chance(passes: np.ndarray, failures: np.ndarray, group_size: int) -> np.ndarray:
    """Chance that a group of `group_size` holds both right and wrong completions, for Beta(passes, failures).

    >>> informative_chance(np.array([1.0]), np.array([1.0]), 2).round(3)  # uniform: 1 - 1/3 - 1/3
    array([0.333])
    """
    whole = betaln(passes, failures)
    all_right = np.exp(betaln(passes + group_size, failures) - whole)
    all_wrong = np.exp(betaln(passes, failures + group_size) - whole)
    return 1 - all_right - all_wrong


class Posterior:
    """Pass rates of the training problems as Beta distributions, pooled within a level and kept up to date.

    All processes of a run hold the same state, since each is told of all groups; it is a function of the rollouts that
    were kept, so a resumed run replays them.
    """

    def __init__(self, problems: Sequence[Problem], *, group_size: int, seed: int) -> None:
        self.ids = [problem.id for problem in problems]
        self.place = {id: index for index, id in enumerate(self.ids)}
        levels = sorted({problem.level or "" for problem in problems})
        self.level = np.array([levels.index(problem.level or "") for problem in problems])
        self.group_size, self.seed = group_size, seed
        self.passes, self.failures = np.zeros((2, len(problems)))
        self.level_passes, self.level_failures = np.zeros((2, len(levels)))

    def update(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Learn from one step's groups: right and all completions by problem id. Older counts fade by `FORGET`."""
        for values in (self.passes, self.failures, self.level_passes, self.level_failures):
            values *= FORGET
        for id, (right, drawn) in sorted(counts.items()):
            index = self.place[id]
            for passes, failures, at in (
                (self.passes, self.failures, index),
                (self.level_passes, self.level_failures, self.level[index]),
            ):
                passes[at] += right
                failures[at] += drawn - right

    def chances(self) -> np.ndarray:
        """The chance of each problem that its next group is informative."""
        rate = (self.level_passes + 0.5) / (self.level_passes + self.level_failures + 1)  # Jeffreys
        prior = STRENGTH * rate[self.level]
        return informative_chance(self.passes + prior, self.failures + STRENGTH - prior, self.group_size)

    def expected(self, ids: Sequence[str]) -> float:
        """The share of these problems' groups that should be informative."""
        return float(self.chances()[[self.place[id] for id in ids]].mean())

    def draw(self, step: int, count: int) -> list[str]:
        """`count` different problems for this step, by chance in proportion to `chances` (Efraimidis & Spirakis 2006).

        The same in every process and after every resume.
        """
        noise = np.random.default_rng([self.seed, step]).exponential(size=len(self.ids))
        chances = self.chances()
        order = np.argsort(noise / np.maximum(chances, FLOOR * chances.max()), kind="stable")
        return [self.ids[order[index % len(order)]] for index in range(count)]


def counted(ids: Sequence[str], rewards: Sequence[float | None]) -> dict[str, tuple[int, int]]:
    """Paid and all completions by problem, from each completion's problem and reward."""
    counts: dict[str, tuple[int, int]] = {}
    for id, reward in zip(ids, rewards, strict=True):
        right, drawn = counts.get(id, (0, 0))
        counts[id] = right + ((reward or 0.0) > 0.5), drawn + 1
    return counts


def replayed(sampler: Posterior, rows: Iterable[dict[str, Any]]) -> Posterior:
    """The sampler as it was after the steps whose rollouts are kept."""
    steps: dict[int, list[tuple[str, float | None]]] = {}
    for row in rows:
        steps.setdefault(row["step"], []).append((row["problem_id"], row["reward"]))
    for _, step in sorted(steps.items()):
        sampler.update(counted([id for id, _ in step], [reward for _, reward in step]))
    return sampler
