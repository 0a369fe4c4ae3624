import numpy as np
import pytest
from scipy.stats import beta, bootstrap

from evals.estimate import Estimate, mean_over_problems, paired_difference


def coverage(mean, spread, problems, repeats=400):
    """Share of simulated audits (64 samples a problem) whose interval holds the mean of their population."""
    rng = np.random.default_rng([problems, int(1000 * mean), int(10 * spread)])
    audits = rng.binomial(64, rng.beta(mean * spread, (1 - mean) * spread, (repeats, problems))) / 64
    estimates = [mean_over_problems(audit, draws=500) for audit in audits]
    return np.mean([each.low <= mean <= each.high for each in estimates])


@pytest.mark.parametrize("problems", [30, 128])
@pytest.mark.parametrize("spread", [1, 3, 10])
def test_the_interval_holds_the_population_mean_as_often_as_it_says(problems, spread):
    assert 0.92 <= coverage(0.25, spread, problems) <= 0.98


@pytest.mark.parametrize("problems", [30, 128])
@pytest.mark.parametrize("spread", [0.3, 1, 10])
@pytest.mark.parametrize("mean", [0.01, 0.95])
def test_the_interval_never_falls_under_90_percent_at_the_edges(mean, spread, problems):
    assert coverage(mean, spread, problems) >= 0.90


def test_no_success_at_all_leaves_room_up_to_the_exact_binomial_bound():
    nothing = mean_over_problems(np.zeros(64))
    assert (nothing.value, nothing.low) == (0, 0)
    assert nothing.high == pytest.approx(1 - 0.025 ** (1 / 64))
    everything = mean_over_problems(np.ones(64))
    assert (everything.low, everything.high) == (pytest.approx(0.025 ** (1 / 64)), 1)


def test_few_all_or_nothing_problems_get_clopper_pearsons_interval():
    three_of_fifty = mean_over_problems(np.repeat([1.0, 0.0], [3, 47]))
    assert three_of_fifty.low == pytest.approx(beta.ppf(0.025, 3, 48), rel=0.03)
    assert three_of_fifty.high == pytest.approx(beta.ppf(0.975, 4, 47), rel=0.03)


def test_many_differing_problems_get_the_percentile_bootstrap_that_scipy_computes():
    rates = np.random.default_rng(1).uniform(size=200)
    theirs = bootstrap((rates,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    ours = mean_over_problems(rates, draws=20_000)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.002), pytest.approx(theirs.high, abs=0.002))


def test_the_same_seed_gives_the_same_interval():
    rates = np.random.default_rng(1).uniform(size=50)
    assert mean_over_problems(rates, seed=3) == mean_over_problems(rates, seed=3)
    assert mean_over_problems(rates, seed=3) != mean_over_problems(rates, seed=4)


def test_numbers_that_are_no_rates_are_refused():
    for wrong in ([], [1.2], [np.nan], [[0.5]]):
        with pytest.raises(ValueError, match="one rate"):
            mean_over_problems(np.array(wrong))


def test_pairing_cancels_the_difficulty_of_the_problems():
    before = np.random.default_rng(1).uniform(0, 0.8, 100)
    after = before + np.random.default_rng(2).normal(0.1, 0.02, 100)
    paired = paired_difference(before, after)
    assert paired.value == pytest.approx(0.1, abs=0.01)
    assert paired.high - paired.low < 0.02  # unpaired it would be about 0.13


def test_the_paired_interval_holds_the_true_gain():
    for low, high in ((0.0, 0.02), (0.2, 0.5), (0.0, 0.9)):
        rng = np.random.default_rng(5)
        held = 0
        for _ in range(300):
            before = rng.binomial(32, rng.beta(0.2, 0.2 / max(low, 0.01), 60) * (low > 0)) / 32
            after = np.clip(before + rng.beta(1, 1 / (high - low) - 1, 60), 0, None)
            estimate = paired_difference(before, after, draws=400)
            held += estimate.low <= high - low <= estimate.high
        assert held / 300 >= 0.91


def test_a_base_that_never_changed_may_still_have_changed_a_little():
    still = paired_difference(np.zeros(50), np.zeros(50))
    assert still.value == 0
    assert still.high == -still.low == pytest.approx(1 - 0.025 ** (1 / 50))


def test_a_gain_on_every_problem_is_not_certain_to_be_one():
    full = paired_difference(np.zeros(50), np.ones(50))
    assert full.value == full.high == 1
    assert 0.85 < full.low < 1


def test_an_estimate_survives_json():
    estimate = Estimate(value=0.5, low=0.4, high=0.6, n=10)
    assert Estimate.from_json(estimate.to_json()) == estimate
