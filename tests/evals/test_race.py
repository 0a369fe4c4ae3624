"""The race of predictors, against scipy, counted orders and simulated races without a winner."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from math import asin, pi

import numpy as np
import pytest
from scipy.stats import spearmanr
from synthetic import BLANK, Fate, write_run

from evals.compare import compare
from evals.race import FEWEST, RACED_K, heat, race, race_rows, rho_interval, verdict
from evals.runs import load_run, load_runs


def one(values, target):
    (runner,) = heat("r", "gain", {"x": list(values)}, np.array(target, dtype=float))
    return runner


def test_rho_its_leave_one_out_and_its_p_are_what_counting_all_orders_gives():
    rng = np.random.default_rng(0)
    for bases in (5, 6):
        values, target = rng.integers(0, 5, bases).astype(float), rng.random(bases)
        found = one(values, target)
        assert found.rho == pytest.approx(spearmanr(values, target).statistic, abs=1e-6)
        rhos = [spearmanr(values, order).statistic for order in permutations(target)]
        assert found.p == pytest.approx(np.mean(np.abs(rhos) >= abs(found.rho) - 1e-5))
        without = [spearmanr(np.delete(values, out), np.delete(target, out)).statistic for out in range(bases)]
        assert (found.without_low, found.without_high) == pytest.approx((min(without), max(without)), abs=1e-6)


def test_five_bases_in_perfect_order_are_two_orders_of_120_and_four_say_nothing():
    found = one([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert found.p == pytest.approx(2 / 120)
    assert found.low < 0.3 < found.rho == found.high == 1
    four = one([1, 2, 3, 4], [1, 2, 3, 4])
    assert four.low is None
    assert "fewer than 5" in four.note
    assert four.p == pytest.approx(2 / 24)


@pytest.mark.parametrize(("bases", "correlation"), [(6, 0.0), (8, 0.7), (20, 0.9)])
def test_the_interval_of_rho_holds_the_truth_95_percent_of_the_time(bases, correlation):
    """Normal pairs of this correlation r have Spearman's rho 6/pi asin(r/2)."""
    rng = np.random.default_rng(1)
    truth, held = 6 / pi * asin(correlation / 2), 0
    for _ in range(200):
        first = rng.normal(size=bases)
        other = correlation * first + np.sqrt(1 - correlation**2) * rng.normal(size=bases)
        low, high = rho_interval(spearmanr(first, other).statistic, bases)
        held += low <= truth <= high
    assert held >= 182


def test_the_best_of_many_useless_predictors_looks_good_and_its_corrected_p_does_not():
    rng = np.random.default_rng(2)
    plain, corrected = [], []
    for _ in range(150):
        values = {str(name): list(rng.random(6)) for name in range(15)}
        best = heat("r", "gain", values, rng.random(6))[0]
        plain.append(best.p <= 0.05)
        corrected.append(best.p_of_best <= 0.05)
    assert np.mean(plain) > 0.3  # the winner's curse
    assert np.mean(corrected) < 0.1


def test_what_does_not_vary_or_was_not_measured_is_said_to_be_so():
    values = {"flat": [1.0] * 5, "absent": "not measured: b", "good": [1.0, 2, 3, 4, 5]}
    found = {runner.predictor: runner for runner in heat("r", "gain", values, np.arange(5.0))}
    assert [*found] == ["good", "flat", "absent"]
    assert (found["flat"].rho, found["flat"].note) == (None, "constant over these bases")
    assert found["absent"].note == "not measured: b"
    stuck = heat("r", "gain", values, np.zeros(5))
    assert {runner.note for runner in stuck} == {"the outcome is the same for all bases", "not measured: b"}


FATES = [Fate(base=f"base-{n}", start=0.02 * n + 0.01, end=0.1 * n + 0.1) for n in range(6)]


def test_bases_race_under_one_recipe_and_controls_by_themselves(tmp_path):
    controls = [replace(fate, recipe="tiny-random", control_of="tiny", end=1 - fate.end) for fate in FATES[:3]]
    folders = [write_run(tmp_path, fate) for fate in [*FATES, *controls, replace(BLANK, recipe="other")]]
    for number, folder in enumerate(folders):
        path = folder / "audit-start.json"
        audit = json.loads(path.read_text())
        rate = {"value": 0.1 * (number % 6), "low": 0.0, "high": 1.0, "n": 128}
        path.write_text(json.dumps(audit | {"behaviours": {"boxes": rate}}))
    laid = compare(load_runs(folders)[0])
    found = race(laid)
    assert {runner.recipe: runner.bases for runner in found} == {"tiny": 6, "tiny-random (control)": 3}
    mine = {runner.predictor: runner for runner in found if (runner.recipe, runner.outcome) == ("tiny", "end pass@1")}
    assert mine["pass@1"].rho == mine["behaviour: boxes"].rho == 1
    assert mine["stop rate"].note == "constant over these bases"
    assert mine["mean token logprob"].note.startswith("not measured: base-0")
    assert "fewer than 256" in mine[f"pass@{RACED_K[-1]}"].note
    assert {"pass@8", "pass@64", "informative share at G = 16", "pass@1 on training problems"} <= mine.keys()
    assert all(row["rho"] is not None or row["note"] for row in race_rows(laid))
    told = verdict(found)
    assert told[0].startswith("tiny, end pass@1: ")
    assert "more than chance gives the best of" in told[0]
    assert told[3] == f"tiny-random (control): 3 bases say nothing of predictors; {FEWEST} are needed."


def test_two_bases_run_no_race(tmp_path):
    assert race(compare([load_run(write_run(tmp_path, fate)) for fate in FATES[:2]])) == []


def test_what_was_measured_on_other_problems_or_in_other_groups_does_not_race(tmp_path):
    folders = [write_run(tmp_path, fate) for fate in FATES]
    path = folders[0] / "audit-signal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"suite": {"name": "other", "fingerprint": "cccc"}}))
    notes = {runner.predictor: runner.note for runner in race(compare(load_runs(folders)[0]))}
    assert "train_suite.fingerprint differs" in notes["pass@1 on training problems"]
    assert "train_suite.fingerprint differs" in notes["informative share at G = 16"]
    path = folders[1] / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"group_size": 8}))
    notes = {runner.predictor: runner.note for runner in race(compare(load_runs(folders[1:])[0]))}
    assert "group_size differs" in notes["informative share at G = 8/16"]
