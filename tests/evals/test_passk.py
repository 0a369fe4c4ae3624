import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from configs.errors import UsageError
from evals.passk import maj_at_k, pass_at_k, pass_hat_k, powers_of_two


def test_pass_at_k_and_pass_hat_k_are_what_counting_subsets_gives():
    for samples, k in [(1, 1), (4, 2), (6, 3), (7, 7)]:
        for correct in range(samples + 1):
            draws = list(itertools.combinations([True] * correct + [False] * (samples - correct), k))
            counts = np.array([correct]), np.array([samples])
            assert pass_at_k(*counts, k)[0] == pytest.approx(sum(map(any, draws)) / len(draws))
            assert pass_hat_k(*counts, k)[0] == pytest.approx(sum(map(all, draws)) / len(draws))


def test_large_counts_agree_with_exact_fractions():
    for correct, samples, k in [(1, 4096, 1), (1, 4096, 4096), (3, 4096, 64), (2048, 4096, 1024), (4095, 4096, 2048)]:
        some = 1 - Fraction(math.comb(samples - correct, k), math.comb(samples, k))
        every = Fraction(math.comb(correct, k), math.comb(samples, k))
        counts = np.array([correct]), np.array([samples])
        assert pass_at_k(*counts, k)[0] == pytest.approx(float(some), rel=1e-9)
        assert pass_hat_k(*counts, k)[0] == pytest.approx(float(every), rel=1e-9)


def test_problems_may_have_different_numbers_of_samples():
    assert pass_at_k(np.array([1, 1]), np.array([2, 4]), 1).tolist() == [0.5, 0.25]


def test_more_draws_than_samples_are_refused_with_what_to_type():
    with pytest.raises(UsageError, match=r"pass@8 needs at least 8 samples.*one has 4.*--samples 8"):
        pass_at_k(np.array([1, 1]), np.array([4, 16]), 8)
    with pytest.raises(UsageError, match="maj@3"):
        maj_at_k(*counted(["1", "2"], [True, False]), 3, np.random.default_rng(0))


def test_powers_of_two_end_at_or_below_n():
    assert powers_of_two(1) == [1]
    assert powers_of_two(64) == [1, 2, 4, 8, 16, 32, 64]
    assert powers_of_two(63)[-1] == 32


def counted(answers, flags):
    """What `maj_at_k` takes for one problem: how often each answer was given and was right; and the samples."""
    texts = sorted({text for text in answers if text is not None})
    given = np.array([answers.count(text) for text in texts], dtype=int)
    right = np.array([sum(f for t, f in zip(answers, flags, strict=True) if t == text) for text in texts], dtype=int)
    return [(given, right)], np.array([len(answers)])


def vote(drawn):
    """Chance that the winner among (text, right) pairs is right, ties drawn by lot."""
    votes = Counter(text for text, _ in drawn if text is not None)
    winners = [text for text in votes if votes[text] == max(votes.values())]
    return sum(dict(drawn)[text] for text in winners) / len(winners) if winners else 0


def test_majority_vote_is_what_counting_subsets_gives():
    answers = ["7", "7", "9", "9", "9", "3", None, None]
    flags = [text == "7" for text in answers]
    for k in (1, 3, 5, 8):
        draws = [vote(drawn) for drawn in itertools.combinations(zip(answers, flags, strict=True), k)]
        exact = 1e-12 if k in (1, 8) else 0.05
        ours = maj_at_k(*counted(answers, flags), k, np.random.default_rng(0))[0]
        assert ours == pytest.approx(sum(draws) / len(draws), abs=exact)


def test_ties_split_and_silence_never_wins():
    rng = np.random.default_rng(0)
    assert maj_at_k(*counted(["1", "2"], [True, False]), 2, rng)[0] == 0.5
    assert maj_at_k(*counted([None, None, None, "1"], [False, False, False, True]), 4, rng)[0] == 1
    assert maj_at_k(*counted([None, None], [False, False]), 2, rng)[0] == 0


def test_majority_of_one_is_pass_at_1():
    answers, flags = ["1", "2", None, "1"], [True, False, False, True]
    assert maj_at_k(*counted(answers, flags), 1, np.random.default_rng(0)) == pass_at_k(np.array([2]), np.array([4]), 1)


def test_majority_depends_on_the_generator_it_is_given_only():
    answers, flags = ["1", "2", "3", "1", "2", "1"], [True, False, False, True, False, True]
    draws = [maj_at_k(*counted(answers, flags), 3, np.random.default_rng(seed))[0] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
