"""All numbers of an audit, from kept rollouts alone: columns in, estimates out, a million rollouts in seconds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from configs.errors import UsageError
from evals.behaviours import BEHAVIOURS
from evals.estimate import fixed_questions, mean_over_problems
from evals.forecast import forecast, outlook
from evals.passk import maj_at_k, pass_at_k, pass_hat_k, powers_of_two
from evals.rollouts import RolloutStore
from rewards.suites import ProblemSet
from rewards.types import STATUSES

COLUMNS = [
    "problem_id",
    "answer",
    "correct",
    "lenient_correct",
    "status",
    "reason",
    "finish",
    "completion_tokens",
    "logprob",
]
EDGE = 0.5
"""Below this pass rate, and above none at all, a problem is at the edge of competence: one sample fails more often than
not, some sample succeeds."""


def summary(store: RolloutStore, suite: ProblemSet, *, samples: int, seed: int) -> dict[str, Any]:
    """The measured part of audit.json. A problem whose gold its own verifier rejects is left out of every rate.

    `read` is by the audit's own reading, `lenient` by the lenient one. Raises UsageError when samples are missing.
    """
    table = store.table(COLUMNS)
    ids = [problem.id for problem in suite.problems]
    number = {id: index for index, id in enumerate(ids)}
    place = np.array([number[id] for id in table["problem_id"].to_pylist()])
    drawn = np.bincount(place, minlength=len(ids))
    if (drawn != samples).any():
        lacking = int((drawn != samples).sum())
        raise UsageError(f"{store.folder} lacks samples of {lacking} problems; run the audit again to draw them")
    order = np.argsort(place, kind="stable").reshape(len(ids), samples)
    scored = np.array([problem.id not in set(suite.bad_gold) for problem in suite.problems])

    def grid(column: str) -> np.ndarray:
        """Problems by samples, of the scored problems."""
        return np.asarray(table[column].to_numpy())[order][scored]

    def rate(flags: np.ndarray) -> dict[str, Any]:
        return mean_over_problems(flags.mean(axis=1)).to_json()

    correct, lenient, finish, status = (grid(name) for name in ("correct", "lenient_correct", "finish", "status"))
    right, count = correct.sum(axis=1), np.full(int(scored.sum()), samples)
    lengths = np.asarray(table["completion_tokens"].to_numpy())
    logprobs = np.asarray(table["logprob"].to_numpy())
    ks, rng = powers_of_two(samples), np.random.default_rng(seed)
    answers = grid("answer").tolist()

    def curve(values: Any) -> dict[str, Any]:
        return {str(k): mean_over_problems(values(k)).to_json() for k in ks}

    return {
        "pass_at_k": {
            "read": curve(lambda k: pass_at_k(right, count, k)),
            "lenient": curve(lambda k: pass_at_k(lenient.sum(axis=1), count, k)),
        },
        "pass_at_1_on_these_questions": fixed_questions(right, count).to_json(),
        "pass_hat_k": curve(lambda k: pass_hat_k(right, count, k)),
        "maj_at_k": curve(lambda k: maj_at_k(answers, correct.tolist(), k, rng)),
        "status": {name: int((np.asarray(table["status"].to_numpy()) == name).sum()) for name in STATUSES},
        "reasons": dict(Counter(table["reason"].to_pylist()).most_common()),
        "stop_rate": rate(finish == "stop"),
        "truncation_rate": rate(finish == "length"),
        "context_overflow": rate(finish == "context"),
        "answer_rate": rate(status != "no_answer"),
        "behaviours": _behaviours(store, ids, scored, samples),
        "completion_tokens": {
            "mean": round(float(lengths.mean()), 2),
            "median": float(np.median(lengths)),
            "p95": float(np.percentile(lengths, 95)),
            "max": int(lengths.max()),
        },
        "mean_token_logprob": float(logprobs.sum() / lengths.sum()) if lengths.sum() else 0.0,
        "forecast": {str(size): share.to_json() for size, share in forecast(right, count).items()},
        "outlook": outlook(right, count),
        "problems": [
            {"id": id, "samples": samples, "correct": int(one), "lenient": int(other)}
            for id, one, other in zip(np.array(ids)[scored].tolist(), right, lenient.sum(axis=1), strict=True)
        ],
    }


def _behaviours(store: RolloutStore, ids: list[str], scored: np.ndarray, samples: int) -> dict[str, Any]:
    """The share of completions that show each behaviour, part by part: completions are what is large."""
    place = {id: index for index, id in enumerate(ids)}
    seen = {name: np.zeros(len(ids)) for name in BEHAVIOURS}
    for row in store.rows(["problem_id", "completion", "finish"]):
        for name, shows in BEHAVIOURS.items():
            seen[name][place[row["problem_id"]]] += shows(row)
    return {name: mean_over_problems(counts[scored] / samples).to_json() for name, counts in seen.items()}


def edge(audit: dict[str, Any], suite: ProblemSet) -> list[dict[str, str]]:
    """The problems at the edge of competence, as rows that --suite takes. The most promising are those nearest to 1/2."""
    rates = {one["id"]: one["correct"] / one["samples"] for one in audit["problems"]}
    return [
        {"id": each.id, "problem": each.question, "answer": each.answer}
        for each in suite.problems
        if 0 < rates.get(each.id, 0.0) < EDGE
    ]
