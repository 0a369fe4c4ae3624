"""What others published of RL from a base: figures and sources in published.csv, and what they say of starting ability.

Codes of the column `flags`:
    misprint         cannot be right as printed; left out of every statistic
    off-grid         no whole number of right answers gives it; kept, as it is off by a rounding
    relabelled       belongs to another set than its table says: 20.0 and 22.5 are 8 and 9 of AMC23's 40, not of AMC's 83
    format-failure   near zero because the template's format was not followed
    unequal-arms     the base was measured greedily, the result by sampling
    approximate, second-hand, trained-on-test, repeat
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from configs.errors import UsageError

PATH = Path(__file__).with_name("published.csv")
PROBLEMS = {
    "AIME24": 30,
    "AIME25": 30,
    "AMC23": 40,
    "AMC": 83,
    "MATH500": 500,
    "GSM8K": 1319,
    "Minerva": 272,
    "OlympiadBench": 675,
    "GPQA-Diamond": 198,
}
"""Problems in a benchmark: a score is a whole number of right answers out of these, times samples."""
PRINTED = 0.055
"""Half a unit of one printed decimal, and a little for scores that were rounded twice."""
FEWEST = 5
"""Fewest bases of which a rank correlation is shown."""

Start = Literal["base", "continued", "primed", "sft", "instruct", "distilled", "rl"]
Flag = Literal[
    "misprint",
    "off-grid",
    "relabelled",
    "format-failure",
    "unequal-arms",
    "approximate",
    "second-hand",
    "trained-on-test",
    "repeat",
]


class Result(BaseModel):
    """One published result. Scores, gains and standard deviations (over seeds) are in percent.

    `start` is what RL began from; `re_evaluates` the study whose checkpoint somebody else measured here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    study: str
    re_evaluates: str | None
    base_model: str
    params_b: float = Field(gt=0)
    start: Start
    algorithm: str
    benchmark: str
    metric: str
    base_score: float | None
    rl_score: float | None
    gain: float | None
    base_sd: float | None
    rl_sd: float | None
    samples_per_problem: int | None
    template: str | None
    flags: frozenset[Flag]
    source: str

    @model_validator(mode="before")
    @classmethod
    def _read_cells(cls, cells: dict[str, Any]) -> dict[str, Any]:
        return {key: value or None for key, value in cells.items()} | {"flags": (cells.get("flags") or "").split()}

    @property
    def label(self) -> str:
        return f"{self.study}, {self.base_model}, {self.algorithm}, {self.benchmark}, {self.metric}"

    @property
    def averages_samples(self) -> bool:
        """Whether the metric is a share of right answers: pass@1 in any form, not pass@k or a vote."""
        return self.metric.split()[0] in {"pass@1", "mean"} or self.metric.startswith("avg@")

    @property
    def trials(self) -> float:
        """Answers behind a score: problems by samples, where both are known; else a thousand."""
        known = self.benchmark in PROBLEMS and self.samples_per_problem
        return PROBLEMS[self.benchmark] * float(self.samples_per_problem or 1) if known else 1000.0


def load(path: Path = PATH) -> list[Result]:
    """All rows. Raises UsageError naming the line that is no result."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    results = []
    for number, row in enumerate(rows, start=2):
        try:
            results.append(Result.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(f"{path}, line {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return results


# --- checks -------------------------------------------------------------------------------------------------------


def faults(results: Sequence[Result]) -> list[str]:
    """What cannot be right, row by row and between rows; rows whose flag says so already are not named."""
    return [*_alone(results), *_twice(results), *_averages(results), *_two_bases(results)]


def _alone(results: Iterable[Result]) -> Iterable[str]:
    for one in results:
        scores = [score for score in (one.base_score, one.rl_score) if score is not None]
        if not scores and one.gain is None:
            yield f"{one.label}: holds no figure"
        if one.metric not in {"rating"} and any(not 0 <= score <= 100 for score in scores):
            yield f"{one.label}: a score is not from 0 to 100"
        if len(scores) == 2 and one.gain is not None and abs(scores[1] - scores[0] - one.gain) > 2 * PRINTED:
            yield f"{one.label}: gain {one.gain} is not {scores[1]} - {scores[0]}"
        if one.start == "base" and any(word in one.base_model for word in ("Instruct", "SFT", "Distill", "-it", "[")):
            yield f"{one.label}: does not start from a base"
        counted = one.averages_samples and one.benchmark in PROBLEMS and one.samples_per_problem
        if counted and not one.flags & {"misprint", "off-grid", "approximate"}:
            for score in scores:
                nearest = 100 * round(score / 100 * one.trials) / one.trials
                if abs(nearest - score) > PRINTED:
                    yield f"{one.label}: {score} is no share of {one.trials:g} answers; {nearest:.2f} would be"


def _twice(results: Iterable[Result]) -> Iterable[str]:
    keys = Counter(
        (one.label, one.template, one.source) for one in results if not one.flags & {"repeat", "approximate"}
    )
    for (label, _, _), times in keys.items():
        if times > 1:
            yield f"{label}: {times} rows"


def _averages(results: Iterable[Result]) -> Iterable[str]:
    """A printed average is the mean of its study's benchmarks, of those with AIME24 once."""
    tables: dict[tuple[Any, ...], list[Result]] = defaultdict(list)
    for one in results:
        tables[one.study, one.base_model, one.algorithm, one.template].append(one)
    for table in tables.values():
        parts = [one for one in table if one.benchmark in PROBLEMS and one.benchmark != "GPQA-Diamond"]
        if any(one.metric == "pass@1" for one in parts):
            parts = [one for one in parts if one.metric == "pass@1"]
        if len(parts) < 5 or any("misprint" in one.flags for one in parts):
            continue
        for average in (one for one in table if one.benchmark == "Average"):
            for column in ("base_score", "rl_score"):
                values = [getattr(one, column) for one in parts]
                printed = getattr(average, column)
                if printed is not None and None not in values and abs(np.mean(values) - printed) > 0.1:
                    yield f"{average.label}: {printed} is not the mean {np.mean(values):.2f} of its benchmarks"


def _two_bases(results: Iterable[Result]) -> Iterable[str]:
    """One base under one protocol has one score."""
    scores: dict[tuple[Any, ...], set[float]] = defaultdict(set)
    for one in results:
        if one.base_score is not None and "approximate" not in one.flags and one.start != "rl":
            key = (one.study, one.base_model, one.benchmark, one.metric, one.template, one.start)
            scores[key].add(one.base_score)
    for key, found in scores.items():
        if len(found) > 1:
            yield f"{', '.join(map(str, key[:4]))}: base scores {sorted(found)}"


# --- statistics ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A Spearman rank correlation with a 95% interval over bases."""

    value: float
    low: float
    high: float


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata  # 0.3 s to import

    return rankdata(values, axis=-1)


def _rho(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho along the last axis: Pearson's r of mid-ranks; not a number where a side is constant."""
    a, b = _ranks(x), _ranks(y)
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=-1) / scale


def spearman(x: np.ndarray, y: np.ndarray, *, seed: int = 0, draws: int = 4000) -> Correlation:
    """Rank correlation, percentile bootstrap over pairs. Samples in which a side is constant say nothing and are dropped.

    Ten bases make wide intervals, and bases of one family are less than ten independent ones.
    """
    picks = np.random.default_rng(seed).integers(0, x.size, size=(draws, x.size))
    low, high = np.nanpercentile(_rho(x[picks], y[picks]), [2.5, 97.5])
    return Correlation(value=float(_rho(x, y)), low=float(low), high=float(high))


def null_gain(before: np.ndarray, after: np.ndarray, *, seed: int = 0, draws: int = 4000) -> Correlation:
    """Base against gain if the base did not matter: every base gets the final score of a base drawn at random.

    It is far below zero, since gain = after - before holds `before` with a minus: the artefact of every such plot.
    """
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(after.size), (draws, 1)), axis=1)
    rho = _rho(np.broadcast_to(before, order.shape), after[order] - before)
    low, high = np.percentile(rho, [2.5, 97.5])
    return Correlation(value=float(np.median(rho)), low=float(low), high=float(high))


def logit(percent: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Log odds of a score, half an answer added to either side so that 0 and 100% have one (Haldane-Anscombe).

    >>> logit(np.array([50.0, 0.0]), np.array([100.0, 100.0])).round(2).tolist()
    [0.0, -5.3]
    """
    right = percent / 100 * trials
    return np.log((right + 0.5) / (trials - right + 0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What starting ability says of results, over the bases of one group on one benchmark."""

    group: str
    benchmark: str
    metric: str
    bases: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray
    trials: np.ndarray

    @property
    def final(self) -> Correlation:
        """The same on raw and on logit scale, which keeps the order."""
        return spearman(self.before, self.after)

    @property
    def gain(self) -> Correlation:
        return spearman(self.before, self.after - self.before)

    @property
    def logit_gain(self) -> Correlation:
        before, after = logit(self.before, self.trials), logit(self.after, self.trials)
        return spearman(before, after - before)

    @property
    def null(self) -> Correlation:
        return null_gain(self.before, self.after)


def relations(results: Sequence[Result]) -> list[Relation]:
    """By study and benchmark, then over all studies: every group of at least `FEWEST` bases with both scores.

    Several runs of a study from one base count once, by their mean. Re-evaluations are left out, since their checkpoints
    are here already. Over all studies a base counts once too, by its mean over studies, whose protocols differ.
    """
    usable = [
        one
        for one in results
        if one.base_score is not None
        and one.rl_score is not None
        and one.averages_samples
        and one.re_evaluates is None
        and one.start in {"base", "primed", "continued"}
        and not one.flags & {"misprint", "trained-on-test"}
    ]
    groups: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for one in usable:
        family = f" {one.base_model.split(' [')[0]}" if one.study == "Cognitive behaviours" else ""
        groups[one.study + family, one.benchmark, one.metric].append(one)
    for one in usable:
        if one.start == "base" and one.benchmark in PROBLEMS:
            groups["all studies", one.benchmark, "pass@1 or avg@n"].append(one)
    found = [_relation(*key, members) for key, members in groups.items()]
    return [one for one in found if len(one.bases) >= FEWEST]


def _relation(group: str, benchmark: str, metric: str, members: Sequence[Result]) -> Relation:
    by_base: dict[str, list[Result]] = defaultdict(list)
    for one in members:
        by_base[one.base_model].append(one)
    means = [
        [np.mean([getattr(one, column) for one in same]) for same in by_base.values()]
        for column in ("base_score", "rl_score", "trials")
    ]
    before, after, trials = (np.array(column, dtype=float) for column in means)
    return Relation(
        group=group,
        benchmark=benchmark,
        metric=metric,
        bases=tuple(by_base),
        before=before,
        after=after,
        trials=trials,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReEvaluation:
    """A checkpoint's claimed score beside what somebody else measured."""

    claim: Result
    found: Result

    @property
    def shrinkage(self) -> float:
        """Points by which the found score lies below the claimed one."""
        return float(self.claim.rl_score or 0) - float(self.found.rl_score or 0)

    @property
    def z(self) -> float | None:
        """Found gain in standard errors of its mean over seeds; None where no spread over seeds is known."""
        one = self.found
        if None in (one.base_score, one.base_sd, one.rl_sd, one.samples_per_problem) or not (one.base_sd or one.rl_sd):
            return None
        error = np.hypot(float(one.base_sd or 0), float(one.rl_sd or 0)) / np.sqrt(float(one.samples_per_problem or 1))
        return (float(one.rl_score or 0) - float(one.base_score or 0)) / float(error)


def re_evaluations(results: Sequence[Result]) -> list[ReEvaluation]:
    """Every claim with every later measurement of the same checkpoint on the same benchmark."""
    found = [one for one in results if one.re_evaluates and one.rl_score is not None and one.averages_samples]
    return [
        ReEvaluation(claim=claim, found=one)
        for one in found
        for claim in results
        if claim.study == one.re_evaluates
        and claim.rl_score is not None
        and claim.averages_samples
        and claim.start != "rl"
        and (claim.base_model, claim.benchmark) == (one.base_model, one.benchmark)
        and claim.algorithm.split()[0] == one.algorithm.split()[0]
    ]
