"""What more samples buy without any training: majority vote and best-of-n at every sampling budget up to n.

All of it comes from the kept rollouts of one audit. Three ways to make one answer of k samples of a problem:

- *majority*: the most frequent answer; samples without an answer have no vote.
- *likeliest*: the sample with the highest mean token log-probability among those with an answer; no verifier needed.
- *oracle*: right when any sample is, which is pass@k. It needs to know the answer: an upper bound, and no method.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.errors import UsageError
from evals.estimate import mean_over_problems, paired_difference
from evals.passk import maj_at_k, pass_at_k, powers_of_two
from evals.rollouts import RolloutStore
from rewards.suites import ProblemSet

Row = dict[str, Any]
COLUMNS = ["problem_id", "sample", "answer", "correct", "logprob", "completion_tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballots:
    """Kept samples as arrays. P = problems with a usable gold, N = samples of each."""

    same: list[str]
    """Each problem's question: problems that ask the same are one cluster."""
    correct: np.ndarray
    """P x N: was it right?"""
    score: np.ndarray
    """P x N: mean token log-probability; -inf without an answer, NaN where a server sent none."""
    votes: list[tuple[np.ndarray, np.ndarray]]
    """Of each problem: how often each answer was given, and how often it was right."""
    tokens: float
    """Mean tokens of one completion."""


def ballots(store: RolloutStore, suite: ProblemSet, *, samples: int) -> Ballots:
    """Samples 0 to `samples` - 1 of every problem. Raises UsageError where the store has fewer."""
    problems = [problem for problem in suite.problems if problem.id not in suite.bad_gold]
    kept = rows_by_problem(store, samples)
    if lacking := [problem.id for problem in problems if len(kept.get(problem.id, ())) < samples]:
        raise UsageError(
            f"{store.folder} has fewer than {samples} samples of {len(lacking)} problems; lower --samples or audit with more"
        )
    votes = []
    for problem in problems:
        given = Counter(row["answer"] for row in kept[problem.id] if row["answer"] is not None)
        right = Counter(row["answer"] for row in kept[problem.id] if row["correct"])
        votes.append((np.array(list(given.values())), np.array([right[answer] for answer in given])))
    return Ballots(
        same=[" ".join(problem.question.split()) for problem in problems],
        correct=np.array([[row["correct"] for row in kept[problem.id]] for problem in problems]),
        score=np.array([[score(row) for row in kept[problem.id]] for problem in problems]),
        votes=votes,
        tokens=float(np.mean([row["completion_tokens"] for problem in problems for row in kept[problem.id]])),
    )


def rows_by_problem(store: RolloutStore, samples: int, columns: list[str] | None = None) -> dict[str, list[Row]]:
    """The first `samples` rows of every problem, by sample number."""
    kept: dict[str, list[Row]] = {}
    for row in store.rows(columns or COLUMNS):
        if row["sample"] < samples:
            kept.setdefault(row["problem_id"], []).append(row)
    for rows in kept.values():
        rows.sort(key=lambda row: row["sample"])
    return kept


def score(row: Row) -> float:
    """Mean log-probability of a completion's tokens, below all others where it has no answer."""
    return row["logprob"] / max(1, row["completion_tokens"]) if row["answer"] is not None else -np.inf


def best_of_k(score_N: np.ndarray, correct_N: np.ndarray, k: int) -> float:
    """Chance that the highest score among k of N samples, drawn without replacement, belongs to a right one.

    Exact: of samples in falling order the r-th (from 0) is the best of k in C(N-1-r, k-1) of C(N, k) draws. Equal scores
    share their chances evenly.

    >>> best_of_k(np.array([-1.0, -2.0, -3.0]), np.array([False, True, True]), 2)  # the wrong one is in 2 of 3 pairs
    0.3333333333333333
    """
    _, level = np.unique(-score_N, return_inverse=True)
    right = np.bincount(level, correct_N) / np.bincount(level)
    chance, total = k / score_N.size, 0.0
    for rank, place in enumerate(np.sort(level)):
        total += chance * right[place]
        left = score_N.size - 1 - rank
        chance *= (left - k + 1) / left if left else 0.0
    return float(total)


def curve(found: Ballots, *, seed: int) -> list[dict[str, Any]]:
    """One row per budget k = 1, 2, 4, ..., N: rates with intervals, their gains over one sample paired by problem, tokens.

    `likeliest` is null where a server sent no log-probabilities.
    """
    samples = found.correct.shape[1]
    count, right_P = np.full(len(found.same), samples), found.correct.sum(axis=1)
    single_P, rng = right_P / samples, np.random.default_rng(seed)
    rows = []
    for k in sorted({*powers_of_two(samples), samples}):
        values: dict[str, np.ndarray] = {
            "majority": maj_at_k(found.votes, count, k, rng),
            "likeliest": np.array([best_of_k(*pair, k) for pair in zip(found.score, found.correct, strict=True)]),
            "oracle": pass_at_k(right_P, count, k),
        }
        row: dict[str, Any] = {"k": k, "tokens_per_problem": round(k * found.tokens, 1)}
        for name, rate_P in values.items():
            rate_P = np.clip(rate_P, 0, 1)
            known = name != "likeliest" or not np.isnan(found.score).any()
            row[name] = mean_over_problems(rate_P, same=found.same).to_json() if known else None
            row[f"{name}_gain"] = paired_difference(single_P, rate_P, same=found.same).to_json() if known else None
        rows.append(row)
    return rows


def elected(rows: list[Row]) -> Row:
    """The sample that stands for a problem's vote: the first of the most frequent answer.

    Ties go to the answer that came first; without any answer the first sample stands.
    """
    given = Counter(row["answer"] for row in rows if row["answer"] is not None)
    if not given:
        return rows[0]
    winner = given.most_common(1)[0][0]  # of equal counts the one met first
    return next(row for row in rows if row["answer"] == winner)
