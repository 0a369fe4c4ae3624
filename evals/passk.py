"""pass@k, pass^k and maj@k from counts: n samples of a problem, c of them correct, k drawn without replacement.

Everything is per problem (arrays of one entry each); `evals.estimate` turns problems into an `Estimate`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configs.errors import UsageError

MAJORITY_DRAWS = 1000
MAJORITY_TOTAL = 128_000


def pass_at_k(correct: np.ndarray, samples: np.ndarray, k: int) -> np.ndarray:
    """Chance that at least one of k samples is correct: 1 - C(n-c, k) / C(n, k) for each problem.

    Unbiased for every k <= n (Chen et al. 2021, eq. 1). k > n is refused: no estimate without bias exists.

    >>> pass_at_k(np.array([0, 1, 4]), np.array([4, 4, 4]), k=2).tolist()
    [0.0, 0.5, 1.0]
    """
    correct, samples = _checked(correct, samples, k, name=f"pass@{k}")
    return 1 - _all_among(samples - correct, samples, k)


def pass_hat_k(correct: np.ndarray, samples: np.ndarray, k: int) -> np.ndarray:
    """Chance that all of k samples are correct: C(c, k) / C(n, k) for each problem (Yao et al. 2024, sec. 3).

    >>> pass_hat_k(np.array([0, 2, 4]), np.array([4, 4, 4]), k=2).round(3).tolist()
    [0.0, 0.167, 1.0]
    """
    return _all_among(*_checked(correct, samples, k, name=f"pass^{k}"), k)


def maj_at_k(
    votes: Sequence[tuple[np.ndarray, np.ndarray]], samples: np.ndarray, k: int, rng: np.random.Generator
) -> np.ndarray:
    """Chance that the most frequent answer among k samples is right, for each problem.

    `votes` holds for each problem how often each of its answers was given, and how often that was right; samples without
    an answer are in `samples` alone. Answers are the same when their texts are. None never wins, and k samples without
    any answer score 0. Ties split evenly. A text whose samples were judged differently counts by the share judged right.
    Exact for k = 1 and k = n; otherwise the mean of 1,000 draws of k (standard error at most 0.016 per problem), of
    fewer with more than 128 problems, 50 at the least: their mean is what counts.

    >>> maj_at_k([(np.array([2, 1]), np.array([2, 0]))], np.array([4]), 4, np.random.default_rng(0)).tolist()
    [1.0]
    """
    _checked(np.array([right.sum() for _, right in votes]), samples, k, name=f"maj@{k}")
    draws = max(50, min(MAJORITY_DRAWS, MAJORITY_TOTAL // max(1, len(votes))))
    return np.array([_majority(*columns, int(n), k, rng, draws) for columns, n in zip(votes, samples, strict=True)])


def powers_of_two(n: int) -> list[int]:
    """The k worth reporting for n samples.

    >>> powers_of_two(20)
    [1, 2, 4, 8, 16]
    """
    return [2**exponent for exponent in range(n.bit_length())]


def _all_among(marked: np.ndarray, total: np.ndarray, k: int) -> np.ndarray:
    """C(marked, k) / C(total, k): all of k drawn are marked. A product of k ratios, as the binomials overflow."""
    chance = np.ones(total.shape)
    for drawn in range(k):
        chance *= np.maximum(marked - drawn, 0) / (total - drawn)
    return chance


def _checked(correct: np.ndarray, samples: np.ndarray, k: int, *, name: str) -> tuple[np.ndarray, np.ndarray]:
    correct, samples = np.asarray(correct), np.asarray(samples)
    if correct.shape != samples.shape or np.any(correct < 0) or np.any(correct > samples):
        raise ValueError("every problem needs 0 <= correct <= samples")
    if k < 1:
        raise UsageError(f"{name} needs k >= 1")
    if samples.size and k > samples.min():
        raise UsageError(
            f"{name} needs at least {k} samples of every problem, but one has {samples.min()}: "
            f"audit with --samples {k}, or ask for k <= {samples.min()}"
        )
    return correct, samples


def _majority(
    given: np.ndarray, right: np.ndarray, samples: int, k: int, rng: np.random.Generator, draws: int
) -> float:
    if not given.size:
        return 0.0
    credit = right / given
    if k == 1:
        return float(right.sum() / samples)
    if k == samples:
        drawn = given[None, :]
    else:
        colours = np.append(given, samples - given.sum())
        drawn = rng.multivariate_hypergeometric(colours, k, size=draws, method="count")[:, :-1]
    wins = (drawn == drawn.max(axis=1, keepdims=True)) & (drawn > 0)
    return float((wins @ credit / np.maximum(wins.sum(axis=1), 1)).mean())
