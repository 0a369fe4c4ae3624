"""Which problems training solved and which it unsolved, and how many of those moves the sampling alone would make.

A problem has no state, only a pass rate, so its state is read off samples by a rule and read wrongly at times: two audits of
the same model move problems back and forth too. How many is known without a model of the pass rates: the samples before
training are split at random into two halves, which are two such audits, and every split is counted
(hypergeometric). The real moves are counted in halves of the same size, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from evals.compare import Arm, Comparison, spread
from evals.estimate import Estimate, mean_over_problems, paired_difference
from evals.runs import SavedAudit

RULES = {"half": "at least half of the samples are right", "once": "at least one sample is right"}
MOVES = {"stays": (True, True), "gained": (False, True), "lost": (True, False), "never": (False, False)}
"""Whether a problem is solved before and after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The share of problems that made one of `MOVES` by one of `RULES`; seeds are averaged within each problem.

    `beyond` is `halves` less `no_change`, paired by problem: what moved because the model did. The three are None where
    a problem has one sample, which has no halves.
    """

    rule: str
    name: str
    samples: int
    """Of each problem and audit: the fewest that any audit of the arm drew. `halves` has half as many."""
    share: Estimate
    halves: Estimate | None
    no_change: Estimate | None
    beyond: Estimate | None


def moves(arm: Arm) -> list[Move]:
    """All moves of an arm by both rules. Moves of one rule add up to 1."""
    pairs = [(run.start, run.end) for run in arm.runs]
    fewest = min(int(audit.samples.min()) for pair in pairs for audit in pair)
    same = arm.runs[0].start.questions
    found = []
    for rule in RULES:
        whole = _mean([_apart(before, after, rule, fewest) for before, after in pairs])
        half = fewest // 2
        real = _mean([_apart(before, after, rule, half) for before, after in pairs]) if half else None
        null = _mean([_within(before, rule, half) for before, _ in pairs]) if half else None
        for name in MOVES:
            found.append(
                Move(
                    rule=rule,
                    name=name,
                    samples=fewest,
                    share=mean_over_problems(whole[name], same=same),
                    halves=mean_over_problems(real[name], same=same) if real else None,
                    no_change=mean_over_problems(null[name], same=same) if null else None,
                    beyond=paired_difference(null[name], real[name], same=same) if real and null else None,
                )
            )
    return found


def needed(rule: str, samples: int) -> int:
    """Right samples that make a problem solved."""
    return -(-samples // 2) if rule == "half" else 1


def solved(audit: SavedAudit, rule: str, samples: int) -> np.ndarray:
    """Chance that a problem counts as solved by `samples` of its samples, drawn without replacement; 0 or 1 for all."""
    from scipy.stats import hypergeom  # 0.7 s to import

    return hypergeom.sf(needed(rule, samples) - 1, audit.samples, audit.correct, samples)


def _apart(before: SavedAudit, after: SavedAudit, rule: str, samples: int) -> dict[str, np.ndarray]:
    """Chance of each move by problem. The two audits are independent, and so are samples drawn from them."""
    first, second = solved(before, rule, samples), solved(after, rule, samples)
    return {name: (first if was else 1 - first) * (second if is_ else 1 - second) for name, (was, is_) in MOVES.items()}


def _within(audit: SavedAudit, rule: str, half: int) -> dict[str, np.ndarray]:
    """Chance of each move by problem between two halves of one audit's samples that share none."""
    from scipy.stats import hypergeom

    right_H = np.arange(half + 1)[:, None]
    chance_HP = hypergeom.pmf(right_H, audit.samples, audit.correct, half)
    rest = np.clip(audit.correct - right_H, 0, audit.samples - half)  # beyond that the chance is 0
    second_HP = hypergeom.sf(needed(rule, half) - 1, audit.samples - half, rest, half)
    first_H = right_H >= needed(rule, half)
    return {
        name: (chance_HP * (first_H == was) * (second_HP if is_ else 1 - second_HP)).sum(axis=0)
        for name, (was, is_) in MOVES.items()
    }


def _mean(seeds: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.clip(np.mean([seed[name] for seed in seeds], axis=0), 0, 1) for name in MOVES}


def transitions(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per arm, rule and move: the share, its interval, and what no change at all would have shown."""
    return [
        {
            "arm": arm.label,
            "seeds": arm.seeds,
            "solved_if": RULES[move.rule],
            "move": move.name,
            "problems": move.share.n,
            "samples": move.samples,
            **spread("share", move.share),
            **spread("share_in_halves", move.halves),
            **spread("without_change_in_halves", move.no_change),
            **spread("beyond_sampling", move.beyond),
        }
        for arm in comparison.arms
        for move in moves(arm)
    ]


def transitions_by_problem(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per run and problem: counts before and after, the move by either rule, and Fisher's exact p.

    `p_no_change` is two-sided, of the hypothesis that the pass rate stayed as it was. It is not corrected for how many
    problems there are: of problems that did not change, up to one in twenty has p < 0.05.
    """
    return [row for single in comparison.singles for row in _by_problem(single)]


def _by_problem(single: Arm) -> list[dict[str, Any]]:
    (run,) = single.runs
    names = {states: name for name, states in MOVES.items()}
    columns = {}
    for rule in RULES:
        states = []
        for audit in (run.start, run.end):
            right = audit.correct
            states.append(2 * right >= audit.samples if rule == "half" else right >= 1)
        columns[rule] = [names[bool(was), bool(is_)] for was, is_ in zip(*states, strict=True)]
    rows = []
    for place, (before, after) in enumerate(zip(run.start.by_id, run.end.by_id, strict=True)):
        rows.append(
            {
                "run": run.manifest.run,
                "problem": before.id,
                "right_before": before.correct,
                "samples_before": before.samples,
                "right_after": after.correct,
                "samples_after": after.samples,
                **{f"move_{rule}": columns[rule][place] for rule in RULES},
                "p_no_change": round(float(fisher(before.samples, after.samples)[before.correct, after.correct]), 6),
            }
        )
    return rows


@cache
def fisher(first: int, second: int) -> np.ndarray:
    """Two-sided p of Fisher's exact test by right samples of `first` and right samples of `second`, all tables at once."""
    from scipy.stats import hypergeom

    right_F, total_T = np.arange(first + 1)[:, None], np.arange(first + second + 1)
    chance_FT = hypergeom.pmf(right_F, first + second, total_T, first)
    near = 1 + 1e-7  # rounding: what is as unlikely counts
    p_FT = np.array([np.where(chance_FT <= near * chance_T, chance_FT, 0).sum(axis=0) for chance_T in chance_FT])
    return np.minimum(p_FT[right_F, right_F + np.arange(second + 1)], 1)
