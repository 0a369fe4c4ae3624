"""All numbers of an audit, from kept rollouts alone: columns in, estimates out, a million rollouts in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from configs.errors import UsageError
from configs.fingerprint import fingerprint
from evals.behaviours import NAMES, behaviours
from evals.estimate import fixed_questions, mean_over_problems, ratio_over_problems
from evals.forecast import forecast, outlook
from evals.passk import maj_at_k, pass_at_k, pass_hat_k, powers_of_two
from evals.rollouts import RolloutStore, pc
from evals.sampling import FINISHES
from rewards.suites import ProblemSet
from rewards.types import STATUSES

COLUMNS = [
    "problem_id",
    "completion",
    "answer",
    "correct",
    "lenient_correct",
    "status",
    "reason",
    "finish",
    "completion_tokens",
    "logprob",
]
VOTES = pa.schema([("place", pa.int32()), ("answer", pa.string()), ("given", pa.int64()), ("right", pa.int64())])
MERGE = 32  # batches whose votes are summed at once
EDGE = 0.5
"""Below this pass rate, and above none at all, a problem is at the edge of competence: one sample fails more often than
not, some sample succeeds."""


def summary(store: RolloutStore, suite: ProblemSet, *, samples: int, seed: int) -> dict[str, Any]:
    """The measured part of audit.json. A problem whose gold its own verifier rejects is left out of every rate.

    `read` is by the audit's own reading, `lenient` by the lenient one. Problems that ask the same question are one
    cluster of every interval. Raises UsageError when samples are missing.
    """
    found = tally(store, [problem.id for problem in suite.problems])
    if (found.drawn != samples).any():
        lacking = int((found.drawn != samples).sum())
        raise UsageError(f"{store.folder} lacks samples of {lacking} problems; run the audit again to draw them")
    bad = set(suite.bad_gold)
    scored = np.array([problem.id not in bad for problem in suite.problems])
    problems = [problem for problem in suite.problems if problem.id not in bad]
    same = [fingerprint(" ".join(problem.question.split())) for problem in problems]
    count = np.full(len(problems), samples)
    right, lenient = found.of("correct")[scored].astype(int), found.of("lenient")[scored].astype(int)
    ks, rng = powers_of_two(samples), np.random.default_rng(seed)
    votes = [columns for columns, kept in zip(found.votes(), scored, strict=True) if kept]

    def mean(values: np.ndarray) -> dict[str, Any]:
        return mean_over_problems(values, same=same).to_json()

    def rate(name: str) -> dict[str, Any]:
        return mean(found.of(name)[scored] / samples)

    def curve(values: Callable[[int], np.ndarray]) -> dict[str, Any]:
        return {str(k): mean(values(k)) for k in ks}

    def ratio(amount: str, of: np.ndarray) -> dict[str, Any] | None:
        """None where a server sent no log-probabilities, or nothing was drawn."""
        amounts = found.of(amount)[scored]
        known = of.sum() > 0 and bool(np.isfinite(amounts).all())
        return ratio_over_problems(amounts, of, same=same).to_json() if known else None

    lengths = np.concatenate(found.lengths)
    tokens = found.of("tokens")[scored]
    return {
        "pass_at_k": {
            "read": curve(lambda k: pass_at_k(right, count, k)),
            "lenient": curve(lambda k: pass_at_k(lenient, count, k)),
        },
        "pass_at_1_on_these_questions": fixed_questions(right, count).to_json(),
        "pass_hat_k": curve(lambda k: pass_hat_k(right, count, k)),
        "maj_at_k": curve(lambda k: maj_at_k(votes, count, k, rng)),
        "status": {name: found.status[name] for name in STATUSES},
        "reasons": dict(found.reasons.most_common()),
        "stop_rate": rate("stop"),
        "truncation_rate": rate("length"),
        "context_overflow": rate("context"),
        "unwritable": rate("unwritable"),
        "answer_rate": rate("answered"),
        "behaviours": {name: rate(name) for name in NAMES},
        "completion_tokens": {
            "mean": round(float(lengths.mean()), 2),
            "median": float(np.median(lengths)),
            "p95": float(np.percentile(lengths, 95)),
            "max": int(lengths.max()),
        },
        "mean_completion_tokens": ratio("tokens", count),
        "mean_token_logprob": ratio("logprob", tokens),
        "forecast": {str(size): share.to_json() for size, share in forecast(right, count, same=same).items()},
        "outlook": outlook(right, count, same=same),
        "problems": [
            {"id": problem.id, "question": question, "samples": samples, "correct": int(one), "lenient": int(other)}
            for problem, question, one, other in zip(problems, same, right, lenient, strict=True)
        ],
    }


@dataclass(slots=True)
class Tally:
    """Sums by problem over kept rollouts. What is kept grows with problems and distinct answers, not with text."""

    problems: int
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    status: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str | None] = field(default_factory=Counter)
    lengths: list[np.ndarray] = field(default_factory=list)
    answers: pa.Table = field(default_factory=lambda: VOTES.empty_table())

    @property
    def drawn(self) -> np.ndarray:
        return self.of("drawn")

    def of(self, name: str) -> np.ndarray:
        return self.sums.get(name, np.zeros(self.problems))

    def add(self, name: str, place: np.ndarray, weights: np.ndarray) -> None:
        """Add to the sums of `name` the weights of rows whose problems stand at `place`."""
        self.sums[name] = self.of(name) + np.bincount(place, weights, minlength=self.problems)

    def votes(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """By problem: how often each answer was given, and how often that was right."""
        table = self.answers.sort_by([("place", "ascending"), ("answer", "ascending")])
        place, given, right = (table[name].to_numpy() for name in ("place", "given", "right"))
        ends = np.searchsorted(place, np.arange(1, self.problems))
        return list(zip(np.split(given, ends), np.split(right, ends), strict=True))


def tally(store: RolloutStore, ids: Sequence[str]) -> Tally:
    """Read all kept rollouts once, some thousand at a time. Raises UsageError for those of another problem set."""
    found, number = Tally(len(ids)), pa.array(ids, pa.string())
    waiting: list[pa.Table] = []
    for batch in store.batches(COLUMNS):
        index = pc.index_in(batch["problem_id"], value_set=number)
        if index.null_count:
            stray = batch["problem_id"].filter(pc.is_null(index))[0].as_py()
            raise UsageError(
                f"{store.folder} holds {stray!r}, which is no problem of this set; name the set with --suite"
            )
        place = index.to_numpy()
        finish, status = batch["finish"], batch["status"]
        flags = {
            "drawn": np.ones(len(place)),
            "correct": batch["correct"].to_numpy(),
            "lenient": batch["lenient_correct"].to_numpy(),
            "answered": pc.not_equal(status, "no_answer").to_numpy(),
            "tokens": batch["completion_tokens"].to_numpy(),
            "logprob": batch["logprob"].to_numpy(),
            **{name: pc.equal(finish, name).to_numpy() for name in FINISHES},
            **behaviours(batch["completion"], finish),
        }
        for name, weights in flags.items():
            found.add(name, place, weights)
        found.status.update(_counts(status))
        found.reasons.update(_counts(batch["reason"]))
        found.lengths.append(batch["completion_tokens"].to_numpy())
        answers = [
            index,
            batch["answer"],
            pa.array(np.ones(len(place), np.int64)),
            pc.cast(batch["correct"], pa.int64()),
        ]
        waiting.append(pa.table(answers, schema=VOTES).filter(pc.is_valid(batch["answer"])))
        if len(waiting) == MERGE:
            found.answers, waiting = _merged([found.answers, *waiting]), []
    found.answers = _merged([found.answers, *waiting])
    return found


def _counts(column: pa.ChunkedArray) -> dict[Any, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()}


def _merged(votes: list[pa.Table]) -> pa.Table:
    summed = pa.concat_tables(votes).group_by(["place", "answer"]).aggregate([("given", "sum"), ("right", "sum")])
    return summed.select(["place", "answer", "given_sum", "right_sum"]).rename_columns(VOTES.names).cast(VOTES)


def edge(audit: dict[str, Any], suite: ProblemSet) -> list[dict[str, str | None]]:
    """The problems at the edge of competence, as rows that --suite takes. The most promising are those nearest to 1/2."""
    rates = {one["id"]: one["correct"] / one["samples"] for one in audit["problems"]}
    return [
        {"id": each.id, "problem": each.question, "answer": each.answer, "level": each.level, "form": each.form}
        for each in suite.problems
        if 0 < rates.get(each.id, 0.0) < EDGE
    ]
