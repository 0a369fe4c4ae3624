import itertools

import numpy as np
import pytest

from evals.estimate import Estimate
from evals.forecast import forecast, informative_share, predictive_interval


def test_the_share_is_what_counting_mixed_groups_gives():
    for samples, size in [(4, 2), (6, 3), (7, 7)]:
        for correct in range(samples + 1):
            outcomes = [1.0] * correct + [0.0] * (samples - correct)
            groups = list(itertools.combinations(outcomes, size))
            mixed = np.mean([len(set(group)) > 1 for group in groups])
            assert informative_share(np.array([correct]), np.array([samples]), size).value == pytest.approx(mixed)


def test_the_share_agrees_with_groups_of_nonzero_reward_std():
    """As TRL counts them: rewards in rows of G, a row is silent when its standard deviation is 0."""
    rng = np.random.default_rng(0)
    rates = rng.beta(0.3, 2, 2000)
    rewards = rng.binomial(1, np.repeat(rates, 16)).reshape(-1, 16)
    observed = np.mean(rewards.std(axis=1, ddof=1) > 0)
    audited = informative_share(rng.binomial(64, rates), np.full(2000, 64), 16)
    assert audited.value == pytest.approx(observed, abs=0.03)
    assert audited.value == pytest.approx(np.mean(1 - rates**16 - (1 - rates) ** 16), abs=0.01)


def test_sizes_above_the_samples_are_left_out():
    assert list(forecast(np.array([1, 2]), np.array([16, 20]))) == [2, 4, 8, 16]


@pytest.mark.parametrize(
    ("a", "b"),
    [(0.05, 5), (0.3, 3), (1, 1), (5, 5), (0.02, 0.02)],
    ids=["rare", "hard", "even", "coins", "all-or-none"],
)
def test_the_interval_holds_the_observed_share(a, b):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        rates = rng.beta(a, b, 64)
        expected = informative_share(rng.binomial(32, rates), np.full(64, 32), 16)
        groups = rng.binomial(16, rng.beta(a, b, 32))
        low, high = predictive_interval(expected, 32)
        held += low <= np.mean((groups > 0) & (groups < 16)) <= high
    assert held / 400 >= 0.95


def test_silence_is_forecast_as_silence_with_room_for_a_little_signal():
    silent = Estimate(value=0.0, low=0.0, high=0.056, n=64)
    low, high = predictive_interval(silent, 32)
    assert low == 0
    assert 0 < high < 0.15


def test_the_interval_agrees_with_drawing_from_the_posterior():
    rng = np.random.default_rng(0)
    drawn = rng.binomial(32, rng.beta(64 * 0.3 + 0.5, 64 * 0.7 + 0.5, 400_000)) / 32
    ours = predictive_interval(Estimate(value=0.3, low=0.2, high=0.4, n=64), 32)
    assert ours == tuple(np.quantile(drawn, [0.025, 0.975]))


def test_a_sure_share_is_predicted_up_to_one_and_no_further():
    low, high = predictive_interval(Estimate(value=1.0, low=0.9, high=1.0, n=64), 32)
    assert 0.8 < low < 1
    assert high == 1
