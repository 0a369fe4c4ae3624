"""What an audit says about the first training step: the share of groups that will carry a gradient.

A group of G rewards that are all 0 or all 1 has zero advantage everywhere. With p the pass rate of a problem, a group
is informative with chance 1 - p^G - (1-p)^G, and the mean of that over problems is pass@G - pass^G.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np

from evals.estimate import Estimate, mean_over_problems
from evals.passk import pass_at_k, pass_hat_k

GROUP_SIZES = (2, 4, 8, 16, 32, 64)


def informative_share(
    correct: np.ndarray, samples: np.ndarray, group_size: int, *, same: Sequence[object] | None = None
) -> Estimate:
    """Expected share of groups whose 0/1 rewards are not all equal; TRL logs it as 1 - frac_reward_zero_std.

    Unbiased per problem for n >= G samples with c correct: [1 - C(n-c,G)/C(n,G)] - C(c,G)/C(n,G). It forecasts the
    first step only, for prompts like the audited ones, at the audit's template and sampling. Larger groups than an
    audit has samples have at least the share of G = n: it grows with G, and no estimate without bias exists.

    >>> informative_share(np.array([2, 0]), np.array([4, 4]), 4).value
    0.5
    """
    mixed = pass_at_k(correct, samples, group_size) - pass_hat_k(correct, samples, group_size)
    return mean_over_problems(np.clip(mixed, 0, 1), same=same)  # rounding leaves -1e-16 at G = 1


def forecast(
    correct: np.ndarray,
    samples: np.ndarray,
    sizes: Sequence[int] = GROUP_SIZES,
    *,
    same: Sequence[object] | None = None,
) -> dict[int, Estimate]:
    """`informative_share` by group size; sizes above the fewest samples of any problem are left out."""
    fewest = int(np.min(samples))
    return {size: informative_share(correct, samples, size, same=same) for size in sizes if size <= fewest}


def outlook(correct: np.ndarray, samples: np.ndarray, *, same: Sequence[object] | None = None) -> dict[str, Any]:
    """What else the audit says of the first steps of training.

    `expected_reward`: of the first step, which is pass@1. `rollouts_to_first_reward`: completions of random problems
    until one is right, 1/pass@1, its interval that of pass@1 turned over; null where it has no upper end.
    `smallest_group`: the least G whose groups are informative half of the time; null where none up to n is.
    `never_solved`: problems without a right sample, and `missed_below`: pass rates up to which one
    of them escapes n samples once in twenty, 1 - 0.05^(1/n) (rule of three).
    """
    correct, samples = np.asarray(correct), np.asarray(samples)
    fewest = int(samples.min())
    reward = mean_over_problems(correct / samples, same=same)
    rollouts = [1 / rate if rate > 0 else None for rate in (reward.value, reward.high, reward.low)]

    def informative(size: int) -> bool:
        return bool((pass_at_k(correct, samples, size) - pass_hat_k(correct, samples, size)).mean() >= 0.5)

    smallest = bisect_left(range(fewest + 1), True, lo=1, key=informative)  # the share grows with the group
    return {
        "expected_reward": reward.to_json(),
        "rollouts_to_first_reward": dict(zip(("value", "low", "high"), rollouts, strict=True)),
        "smallest_group": smallest if smallest <= fewest else None,
        "never_solved": int((correct == 0).sum()),
        "missed_below": 1 - 0.05 ** (1 / fewest),
    }


def predictive_interval(share: Estimate, groups: int) -> tuple[float, float]:
    """Where the observed share of informative groups should fall, 95% of the time, in a step of `groups` fresh prompts.

    Fresh prompts are independent draws from the audited population, so given the true share s the count of
    informative groups is Binomial(groups, s). Of s the audit knows at least as much as n yes-or-no problems would tell
    (a fractional value varies less than a coin of the same mean), so s gets the posterior of n coins under Jeffreys'
    prior: Beta(x, y) with x = n * value + 1/2, y = n * (1 - value) + 1/2. The count is then
    Beta-binomial(groups, x, y); returned are its 2.5% and 97.5% quantiles over `groups`. At value 0 or 1 the bound
    stays off the edge: 64 silent problems do not prove silence.

    >>> predictive_interval(Estimate(value=0.0, low=0.0, high=0.056, n=64), groups=32)
    (0.0, 0.0625)
    """
    from scipy.special import betaln, gammaln  # 0.3 s to import

    if groups < 1:
        raise ValueError("a step has at least one group")
    x, y = share.n * share.value + 0.5, share.n * (1 - share.value) + 0.5
    count = np.arange(groups + 1)
    choose = gammaln(groups + 1) - gammaln(count + 1) - gammaln(groups - count + 1)
    below = np.cumsum(np.exp(choose + betaln(count + x, groups - count + y) - betaln(x, y)))
    low, high = np.searchsorted(below, [0.025, 0.975])
    return float(low / groups), float(min(high, groups) / groups)
