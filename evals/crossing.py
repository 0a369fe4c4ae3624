"""pass@k before and after training at every k, and where the base catches up with what was trained from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from evals.compare import Arm, Comparison, spread
from evals.estimate import Estimate, paired_difference
from evals.passk import powers_of_two
from evals.runs import SavedAudit

LEVEL = 1e-9
"""Rounding: two curves closer than this are level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Where the base's pass@k first is at least the trained model's, of every k up to `largest`.

    The intervals behind `ahead_to` and `behind_from` are 95% at each power of two by itself.
    """

    at: int | None
    """None where the trained model is above at every k. 1 says no more than that: it may be above at larger k."""
    largest: int
    """Samples of the audit with the fewest; of larger k nothing is known."""
    lead: dict[int, Estimate]
    """pass@k after less before, paired by problem, at powers of two."""

    @property
    def ahead_to(self) -> int | None:
        """The last power of two up to which, from 1 on, the trained model is ahead beyond noise."""
        return max(takewhile(lambda k: _ahead(self.lead[k]), self.lead), default=None)

    @property
    def behind_from(self) -> int | None:
        """The power of two from which on, to the last, the base is ahead beyond noise."""
        return self._from(_behind)

    def _from(self, holds: Callable[[Estimate], bool]) -> int | None:
        """Where the longest row of tested k begins that meet `holds` and reach to the last one."""
        return min(takewhile(lambda k: holds(self.lead[k]), reversed(self.lead)), default=None)

    def _at(self, holds: Callable[[Estimate], bool]) -> list[int]:
        return [k for k, lead in self.lead.items() if holds(lead)]

    @property
    def short(self) -> str:
        """The same in a cell of a table: a k with `?` is inside noise."""
        if self.at is None:
            return f"none up to {self.largest}" + ("" if self.ahead_to == max(self.lead) else "?")
        caught = f"{self.at}" + ("" if self._at(_behind) else "?")
        if self.at > 1:
            return caught
        if not self._at(_above):
            return f"{caught}, never ahead"
        since = self._from(_above)
        where = f"from {since}" if since else f"at {self._at(_above)[0]}"
        return f"1{'' if _behind(self.lead[1]) else '?'}, ahead {where}{'' if self._at(_ahead) else '?'}"

    @property
    def told(self) -> str:
        """One clause, no stronger than the samples are."""
        if all(abs(lead.value) <= LEVEL for lead in self.lead.values()):
            return f"level at every k up to {self.largest}"
        if self.at is None:
            if self.ahead_to == max(self.lead):
                return f"no crossing up to k = {self.largest}, where samples end"
            surely = f"beyond noise up to k = {self.ahead_to}" if self.ahead_to else "but never beyond noise"
            return f"no crossing up to k = {self.largest}, ahead {surely}"
        behind = _noise(self._at(_behind))
        if self.at == 1:
            if not self._at(_above):
                return f"never ahead: the base is level or better from k = 1 on, {behind}"
            first = f"behind at k = 1, {'beyond' if _behind(self.lead[1]) else 'inside'} noise"
            side = first if self.lead[1].value < -LEVEL else "level at k = 1"
            since = self._from(_above)
            where = f"from k = {since}" if since else f"only at k = {_listed(self._at(_above))}"
            return f"{side}; ahead {where}, {_noise(self._at(_ahead))}"
        if self.behind_from is None:
            return f"the base catches up at k = {self.at}, {behind}"
        since = f"ahead beyond noise up to k = {self.ahead_to}" if self.ahead_to else "no lead beyond noise"
        return f"crosses at k = {self.at}: {since}, behind beyond noise from k = {self.behind_from}"


def _above(lead: Estimate) -> bool:
    return lead.value > LEVEL


def _ahead(lead: Estimate) -> bool:
    return lead.low > 0


def _behind(lead: Estimate) -> bool:
    return lead.high < 0


def _noise(sure: Sequence[int]) -> str:
    """At which of the tested k it is beyond noise."""
    return f"beyond noise at k = {_listed(sure)}" if sure else "inside noise"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def crossing(arm: Arm) -> Crossing:
    """Seeds are averaged within each problem, as everywhere in an arm."""
    fewest = min(int(audit.samples.min()) for run in arm.runs for audit in (run.start, run.end))
    before_KP, after_KP = (
        _curves(audits, fewest) for audits in zip(*((r.start, r.end) for r in arm.runs), strict=True)
    )
    lead_K = (after_KP - before_KP).mean(axis=1)
    caught = np.flatnonzero(lead_K <= LEVEL)
    same = arm.runs[0].start.questions
    return Crossing(
        at=int(caught[0]) + 1 if caught.size else None,
        largest=fewest,
        lead={k: paired_difference(before_KP[k - 1], after_KP[k - 1], same=same) for k in powers_of_two(fewest)},
    )


def _curves(audits: Sequence[SavedAudit], largest: int) -> np.ndarray:
    """pass@k of each problem at k = 1 to `largest`, averaged over seeds. K = values of k, P = problems."""
    drawn_K = np.arange(largest)[:, None]
    seeds = []
    for audit in audits:
        wrong_KP = np.maximum(audit.samples - audit.correct - drawn_K, 0) / (audit.samples - drawn_K)
        seeds.append(1 - np.cumprod(wrong_KP, axis=0))
    return np.clip(np.mean(seeds, axis=0), 0, 1)


def pass_at_k_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per arm and power of two: pass@k before, after and the paired lead."""
    return [
        {
            "arm": arm.label,
            "seeds": arm.seeds,
            "k": k,
            "problems": lead.n,
            **spread("start", arm.before[k]),
            **spread("end", arm.after[k]),
            **spread("lead", lead),
        }
        for arm in comparison.arms
        for k, lead in crossing(arm).lead.items()
    ]


def crossings(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per arm: where the base catches up, what is sure of it, and the same in words. Empty cells mean nowhere."""
    found = [(arm, crossing(arm)) for arm in comparison.arms]
    return [
        {
            "arm": arm.label,
            "seeds": arm.seeds,
            "largest_k": each.largest,
            "caught_up_at_k": each.at,
            "ahead_beyond_noise_to_k": each.ahead_to,
            "behind_beyond_noise_from_k": each.behind_from,
            "told": each.told,
        }
        for arm, each in found
    ]
