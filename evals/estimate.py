"""A number with its interval: means over problems, and before-after differences paired by problem.

Every interval here is 95%. `mean_over_problems` and `paired_difference` treat the problems as a draw from the population
of problems like them; `fixed_questions` and `fixed_difference` speak of these very problems and of sampling noise alone.
None says anything of training seeds: a rerun of the training can differ by more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NORMAL = 1.959964  # 97.5% quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over problems with its 95% interval. Rates are in [0, 1], differences in [-1, 1]."""

    value: float
    low: float
    high: float
    n: int
    """Problems averaged over, not samples."""

    def to_json(self) -> dict[str, float | int]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}

    @classmethod
    def from_json(cls, data: Mapping[str, float]) -> Estimate:
        return cls(value=float(data["value"]), low=float(data["low"]), high=float(data["high"]), n=int(data["n"]))


def mean_over_problems(values: np.ndarray, *, same: Sequence[object] | None = None) -> Estimate:
    """Mean of one rate in [0, 1] per problem, with a 95% interval for the mean over all such problems.

    The problem is the cluster; where problems repeat, `same` names for each the question it is, and that is the
    cluster. The mean m with squared error V is worth as much as m(1 - m)/V yes-or-no problems (Korn & Graubard 1998),
    less where few problems make up V, since V is then itself uncertain: times (1.96/t)^2, with as many degrees of
    freedom as problems that depart from the median (Kish's effective count), but never less than one per problem, as no
    rates vary more than coins. At that number the end towards 1/2 is Wilson's and the end towards 0 or 1 is Jeffreys'.

    Over 72 simulated kinds of audit (LOG.md; a part of them in tests/evals/test_estimate.py) it covers 93.5% and up; above
    97% where few problems depart from the rest, as there nothing narrower holds for all-or-nothing problems.

    >>> nothing = mean_over_problems(np.zeros(64))
    >>> nothing.value, nothing.low, round(nothing.high, 3)
    (0.0, 0.0, 0.057)
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not values.size or not np.all((values >= 0) & (values <= 1)):
        raise ValueError("mean_over_problems takes one rate in [0, 1] for each of at least one problem")
    low, high = _population(values, _clusters(values, same))
    return Estimate(value=float(values.mean()), low=low, high=high, n=values.size)


def fixed_questions(correct: np.ndarray, samples: np.ndarray) -> Estimate:
    """Mean pass rate on these very questions, with a 95% interval for sampling noise alone.

    What a second audit of the same model on the same questions would move by: narrower than `mean_over_problems`, and
    no statement about other questions. The interval is as there, at the effective number of samples m(1 - m)/V, where V
    is the mean's variance within questions, p(1 - p)/(n - 1) each; at least all samples, as easy and hard questions
    vary less. With one sample a question V is not seen, and all questions count as alike: an interval too wide.

    >>> fixed_questions(np.array([4, 0]), np.array([8, 8])).value
    0.25
    """
    correct, samples = np.asarray(correct, dtype=float), np.asarray(samples, dtype=float)
    rates = correct / samples
    within = (rates * (1 - rates) / np.maximum(samples - 1, 1)).sum() / rates.size**2
    mean, total = float(rates.mean()), float(samples.sum())
    effective = max(total, mean * (1 - mean) / within) if within > 0 else total
    low, high = _wilson_jeffreys(mean, effective)
    return Estimate(value=mean, low=low, high=high, n=rates.size)


def paired_difference(
    before: np.ndarray,
    after: np.ndarray,
    *,
    same: Sequence[object] | None = None,
    weights: np.ndarray | None = None,
) -> Estimate:
    """Mean of after - before over the same problems in the same order, for all such problems.

    `weights`, above 0, say how much each problem counts (1 where none are given), as where it falls into a class by chance.
    Gains and losses each get the interval of `mean_over_problems`, and the two are joined by Zou & Donner (2008), eq. 2,
    with their correlation over problems. Pairing cancels what makes some problems hard before and after.

    >>> paired_difference(np.zeros(50), np.tile([0.0, 1.0], 25)).value
    0.5
    """
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if before.shape != after.shape:
        raise ValueError(f"paired differences need the same problems twice, not {before.size} and {after.size}")
    gains, losses = np.maximum(after - before, 0), np.maximum(before - after, 0)
    clusters = _clusters(before, same)
    gain, loss = (
        (float(np.average(part, weights=weights)), *_population(part, clusters, weights)) for part in (gains, losses)
    )
    together = correlation_of_means(gains, losses, same=same, weights=weights)
    low, high = difference_interval(gain, loss, correlation=together)
    return Estimate(value=gain[0] - loss[0], low=max(low, -1.0), high=min(high, 1.0), n=before.size)


def fixed_difference(before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> Estimate:
    """How much better on these very questions: (correct, samples) of each, sampling noise alone.

    The two `fixed_questions` are independent, so they are joined as in `paired_difference` with correlation 0.
    """
    one, other = fixed_questions(*after), fixed_questions(*before)
    if one.n != other.n:
        raise ValueError(f"differences need the same questions twice, not {other.n} and {one.n}")
    ends = ((each.value, each.low, each.high) for each in (one, other))
    low, high = difference_interval(*ends, correlation=0.0)
    return Estimate(value=one.value - other.value, low=max(low, -1.0), high=min(high, 1.0), n=one.n)


def ratio_over_problems(amounts: np.ndarray, counts: np.ndarray, *, same: Sequence[object] | None = None) -> Estimate:
    """Sum of amounts over sum of counts, such as tokens a completion or log-probability a token, one pair a problem.

    The interval is Student's over problems, of the ratio's linear part (Cochran 1977, sec. 6.4): for amounts without
    bounds, which need no care at 0 and 1. With one problem there is none, and its ends are infinite.

    >>> ratio_over_problems(np.array([10.0, 30.0]), np.array([2, 2])).value
    10.0
    """
    amounts, counts = np.asarray(amounts, dtype=float), np.asarray(counts, dtype=float)
    value = float(amounts.sum() / counts.sum())
    residual_C = np.bincount(_clusters(amounts, same), amounts - value * counts)
    freedom = residual_C.size - 1
    half = np.inf
    if freedom:
        error = residual_C.size / freedom * float((residual_C**2).sum()) / counts.sum() ** 2
        half = _t(freedom) * float(np.sqrt(error))
    return Estimate(value=value, low=value - half, high=value + half, n=amounts.size)


def _clusters(values: np.ndarray, same: Sequence[object] | None) -> np.ndarray:
    """The number of each problem's cluster: its own where none is named."""
    if same is None:
        return np.arange(values.size)
    if len(same) != values.size:
        raise ValueError(f"{values.size} problems need as many clusters, not {len(same)}")
    number: dict[object, int] = {}
    return np.array([number.setdefault(name, len(number)) for name in same])


def _population(values: np.ndarray, clusters: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """C = clusters. The mean is over problems, so a question asked twice counts twice and as one observation."""
    weight = np.ones(values.size) if weights is None else weights
    weight_C = np.bincount(clusters, weight) / np.bincount(clusters)
    mean, count = float(np.average(values, weights=weight)), float(weight_C.sum() ** 2 / (weight_C**2).sum())
    residual_C = np.bincount(clusters, weight * (values - mean))
    error = count / max(count - 1, 1) * float((residual_C**2).sum()) / weight.sum() ** 2
    if error <= 1e-24:  # rounding
        return _wilson_jeffreys(mean, count)
    middle = np.median(values) if weights is None else np.quantile(values, 0.5, weights=weights, method="inverted_cdf")
    departure_C = np.abs(np.bincount(clusters, weight * (values - middle)))
    alike = departure_C.sum() ** 2 / (departure_C**2).sum()
    effective = mean * (1 - mean) / error
    return _wilson_jeffreys(mean, max(min(count, effective), effective * (NORMAL / _t(max(alike, 1.0))) ** 2))


def _wilson_jeffreys(mean: float, trials: float) -> tuple[float, float]:
    """The end towards 1/2 is Wilson's: Jeffreys' is too near where nothing was seen. The other is Jeffreys': Wilson's is
    too near there where little was seen (Brown, Cai & DasGupta 2001, sec. 4)."""
    from scipy.special import betaincinv  # 0.3 s to import

    if mean > 0.5:
        low, high = _wilson_jeffreys(1 - mean, trials)
        return 1 - high, 1 - low
    successes, square = mean * trials, NORMAL**2
    root = np.sqrt(square * (mean * (1 - mean) * trials + square / 4))
    high = (successes + square / 2 + root) / (trials + square)
    low = betaincinv(successes + 0.5, trials - successes + 0.5, 0.025) if mean > 0 else 0.0
    return float(min(low, mean)), float(max(high, mean))


def _t(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def correlation_of_means(
    one: np.ndarray,
    other: np.ndarray,
    *,
    same: Sequence[object] | None = None,
    weights: np.ndarray | None = None,
) -> float:
    """How two means over the same problems go together from one draw of problems to the next; 0 where one is fixed."""
    clusters, weight = _clusters(one, same), np.ones(one.size) if weights is None else weights
    one_C, other_C = (
        np.bincount(clusters, weight * (part - np.average(part, weights=weight))) for part in (one, other)
    )
    spread = np.sqrt((one_C**2).sum() * (other_C**2).sum())
    return float((one_C * other_C).sum() / spread) if spread else 0.0


def difference_interval(
    one: tuple[float, float, float], other: tuple[float, float, float], *, correlation: float
) -> tuple[float, float]:
    """The interval of one - other, each given as (value, low, high): Zou & Donner (2008), eq. 2. Ends may be infinite."""

    def margin(first: float, second: float) -> float:
        if np.isinf([first, second]).any():
            return np.inf
        return float(np.sqrt(max(first**2 + second**2 - 2 * correlation * first * second, 0.0)))

    value = one[0] - other[0]
    low = value - margin(one[0] - one[1], other[2] - other[0])
    return low, value + margin(one[2] - one[0], other[0] - other[1])
