"""Gains on the logit scale and on matched problems, against hand counts and simulated audits of known truth."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import log
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import beta as beta_distribution
from synthetic import Fate, write_counts

from evals.compare import compare
from evals.estimate import paired_difference
from evals.headroom import BINS, logit_gain, logit_gains, matched, matched_gains
from evals.runs import load_run


def arm_of(root, before, after, samples):
    return compare([load_run(write_counts(root, list(before), list(after), samples=samples))]).arms[0]


def test_log_odds_by_hand_and_what_rests_on_the_correction(tmp_path):
    found = logit_gain(arm_of(tmp_path / "a", [4, 4, 8, 0], [8, 8, 8, 0], 8))
    assert found.gain.value == pytest.approx(log(24.5 / 8.5))  # 16 of 32 before, 24 of 32 after
    assert not found.rests_on_the_correction
    assert found.gain.low < 0 < found.gain.high  # four problems show nothing
    found = logit_gain(arm_of(tmp_path / "b", [0] * 40, [4] * 40, 8))
    assert found.gain.value == pytest.approx(log(320.5 / 0.5))
    # the mean of log odds under Beta(1/2, 320.5), by drawing it
    drawn = beta_distribution(0.5, 320.5).rvs(400_000, random_state=0)
    assert found.jeffreys == pytest.approx(-np.log(drawn / (1 - drawn)).mean(), abs=0.02)
    assert found.rests_on_the_correction
    assert found.gain.high == np.inf
    assert found.gain.low > 2  # 0 of 40 problems: at most 8.8%, and half of the samples after


def test_a_gain_between_two_audits_without_a_right_answer_rests_on_the_correction(tmp_path):
    """8 samples a problem before and 2 after: log(0.5 / 80.5) less log(0.5 / 320.5) is a gain out of nothing."""
    arm = arm_of(tmp_path, [0] * 40, [0] * 40, 8)
    (run,) = arm.runs
    fewer = [replace(each, samples=2) for each in run.end.problems]
    found = logit_gain(compare([replace(run, end=replace(run.end, problems=tuple(fewer)))]).arms[0])
    assert found.gain.value == pytest.approx(log(320.5 / 80.5)) == pytest.approx(1.38, abs=0.01)
    assert found.gain.value == pytest.approx(found.jeffreys, abs=0.1)
    assert found.rests_on_the_correction


def test_the_logit_interval_holds_the_true_gain_95_percent_of_the_time(tmp_path):
    rng = np.random.default_rng(2)
    before, after = rng.beta(0.5, 2, 100_000), rng.beta(2, 2, 100_000)
    before, after = np.sort(before), after[np.argsort(np.sort(before) + rng.normal(0, 0.2, before.size))]
    truth = log(after.mean() / (1 - after.mean())) - log(before.mean() / (1 - before.mean()))
    held = 0
    for trial in range(100):
        chosen = rng.integers(0, before.size, 80)
        arm = arm_of(tmp_path / str(trial), rng.binomial(8, before[chosen]), rng.binomial(8, after[chosen]), 8)
        gain = logit_gain(arm).gain
        held += gain.low <= truth <= gain.high
    assert held >= 90  # 95, less 2.3 standard errors


def test_bins_are_what_all_splits_into_halves_give(tmp_path):
    before, after, samples = [1, 2, 3, 4, 0], [4, 0, 2, 4, 1], 4
    found = {each.bin: each for each in matched(arm_of(tmp_path, before, after, samples), 2)}
    rows = {name: [] for name in BINS}
    for right, end in zip(before, after, strict=True):
        drawn = [1] * right + [0] * (samples - right)
        for chosen in itertools.combinations(range(samples), 2):
            first = sum(drawn[place] for place in chosen)
            name = {0: "0%", 1: "50 to 75%", 2: "100%"}[first]
            rows[name].append((first / 2, (right - first) / 2, end / samples))
    for name, splits in rows.items():
        if not splits:
            assert name not in found
            continue
        chosen, base, end = (fmean(column) for column in zip(*splits, strict=True))
        assert found[name].problems == pytest.approx(len(splits) / 6)
        assert found[name].base == pytest.approx(base)
        assert found[name].gain.value == pytest.approx(end - base)
        assert found[name].naive == pytest.approx(end - chosen)


def test_where_nothing_changed_no_bin_gains_but_naive_bins_do(tmp_path):
    rng = np.random.default_rng(4)
    gains, naive, held = ({name: [] for name in BINS} for _ in range(3))
    for trial in range(40):
        rates = rng.beta(0.6, 1.2, 150)
        arm = arm_of(tmp_path / str(trial), rng.binomial(16, rates), rng.binomial(16, rates), 16)
        for each in matched(arm, 8):
            gains[each.bin].append(each.gain.value)
            naive[each.bin].append(each.naive)
            held[each.bin].append(each.gain.low <= 0 <= each.gain.high)
    for name in BINS:
        assert abs(fmean(gains[name])) < 4 * np.std(gains[name]) / np.sqrt(40) < 0.02, name
        assert fmean(held[name]) >= 0.88, name
    assert fmean(naive["0%"]) > 0.02  # what was all wrong looks as if it rose
    assert fmean(naive["100%"]) < -0.02


def test_a_weight_of_two_is_a_problem_that_stands_there_twice():
    rng = np.random.default_rng(6)
    before, after = rng.random(30), rng.random(30)
    double = np.arange(30) < 10
    weights = np.where(double, 2.0, 1.0)
    mine = paired_difference(before, after, weights=weights)
    twice = np.concatenate([np.arange(30), np.flatnonzero(double)])
    theirs = paired_difference(before[twice], after[twice], same=[*range(30), *range(10)])
    assert mine.value == pytest.approx(theirs.value)
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    same = paired_difference(before, after, weights=np.full(30, 0.3))
    plain = paired_difference(before, after)
    assert (same.value, same.low, same.high) == pytest.approx((plain.value, plain.low, plain.high), abs=2e-3)


def test_bases_stand_together_in_a_bin_and_one_sample_makes_none(tmp_path):
    """Low: 0, 0, 1, 2 right of 4. A bin that holds less than one problem by chance is left out."""
    bases = {"low": [0, 0, 1, 2], "high": [1, 2, 3, 4]}
    runs = [
        load_run(write_counts(tmp_path, each, [4] * 4, samples=4, fate=Fate(base=name, start=0.1, end=0.1)))
        for name, each in bases.items()
    ]
    rows = matched_gains(compare(runs))
    assert [(row["base_pass_rate"], row["arm"], row["problems"]) for row in rows] == [
        ("0%", "low", 2.67),  # 1 + 1 + 1/2 + 1/6
        ("50 to 75%", "low", 1.17),
        ("50 to 75%", "high", 1.67),
        ("100%", "high", 1.67),
    ]
    assert logit_gains(compare(runs))[0]["rests_on_the_correction"]  # all right after
    single = arm_of(tmp_path / "one", [1, 0], [1, 1], 1)
    assert matched_gains(compare(single.runs)) == []
