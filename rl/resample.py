"""DAPO's dynamic sampling (arXiv 2503.14476, section 3.2): draw on until the batch is full of groups that teach.

It is what `posterior` is measured against. Each round asks as many problems as are still missing, so no group that teaches
is thrown away: the cheapest form in tokens. What is thrown away is kept, counted and paid like the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rl.plan import MOST
from rl.rollouts import Rollouts


def in_order(ids: list[str], *, seed: int, start: int, count: int) -> list[str]:
    """`count` ids from place `start` on, going through the set in another shuffled order in every epoch."""
    wanted = range(start, start + count)
    epochs = {place // len(ids) for place in wanted}
    order = {epoch: np.random.default_rng([seed, epoch]).permutation(len(ids)) for epoch in epochs}
    return [ids[order[place // len(ids)][place % len(ids)]] for place in wanted]


def teaches(rewards: Sequence[float | None]) -> bool:
    """Whether a group's rewards differ; those left out, None or NaN, aside."""
    return len({reward for reward in rewards if reward is not None and not math.isnan(reward)}) > 1


class Resampler:
    """Fills a batch of one process; `drawn` groups went before, so a resumed run goes on where the killed one was."""

    def __init__(
        self, rows: Mapping[str, dict[str, Any]], rollouts: Rollouts, *, group_size: int, seed: int, drawn: int
    ) -> None:
        self.rows, self.rollouts = rows, rollouts
        self.group_size, self.seed, self.drawn = group_size, seed, drawn

    def fill(self, step: int, groups: int) -> list[dict[str, Any]]:
        """Rows of `groups` groups, a row for each completion, which `rollouts` holds ready; the others lie in its `thrown`.

        After `MOST` batches the batch takes groups that teach nothing, those drawn first.
        """
        teaching: list[list[dict[str, Any]]] = []
        silent: list[list[dict[str, Any]]] = []
        asked = 0
        while len(teaching) < groups and asked < MOST * groups:
            missing = min(groups - len(teaching), MOST * groups - asked)
            for group in self._round(step, asked, missing):
                (teaching if teaches([one["row"]["reward"] for one in group]) else silent).append(group)
            asked += missing
        self.drawn += asked
        filled = groups - len(teaching)
        self.rollouts.chosen = [one for group in [*teaching, *silent[:filled]] for one in group]
        self.rollouts.thrown = [one["row"] for group in silent[filled:] for one in group]
        return [dict(self.rows[one["row"]["problem_id"]]) for one in self.rollouts.chosen]

    def _round(self, step: int, asked: int, count: int) -> list[list[dict[str, Any]]]:
        """Draw and grade `count` groups; each completion as what was drawn, and its `row` of the rollout store."""
        size = self.group_size
        ids = in_order(list(self.rows), seed=self.seed, start=self.drawn + asked, count=count)
        ids = [id for id in ids for _ in range(size)]
        drawn = self.rollouts.drawn([self.rows[id]["prompt"] for id in ids], step=step, first=asked * size)
        graded = self.rollouts.graded(drawn, ids, step=step)
        both = [{**one, "row": row} for one, row in zip(drawn, graded, strict=True)]
        return [both[start : start + size] for start in range(0, len(both), size)]
