"""The race of predictors, against scipy, counted orders and simulated races without a winner."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from math import asin, pi
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from synthetic import BLANK, Changes, Fate, write_counts, write_run

from evals.compare import compare
from evals.estimate import Estimate
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


def test_where_nothing_changed_no_predictor_foretells_a_gain_more_often_than_chance(tmp_path):
    """Six bases of one pass rate: pass@1 of the start's own samples has p <= 0.05 in a quarter of such races."""
    run = load_run(write_counts(tmp_path, [0] * 30, [0] * 30, samples=4))
    rng = np.random.default_rng(8)

    def drawn(audit):
        counted = [replace(each, correct=int(rng.binomial(4, 0.3))) for each in audit.problems]
        passed = Estimate(value=float(np.mean([each.correct / 4 for each in counted])), low=0, high=1, n=len(counted))
        curve = replace(audit.pass_at_k, read={**audit.pass_at_k.read, 1: passed})
        return replace(audit, problems=tuple(counted), pass_at_k=curve)

    p = {"end pass@1": [], "gain": [], "logit gain": []}
    naive = []
    for _ in range(200):
        audits = [[drawn(audit) for audit in (run.start, run.end, run.signal)] for _ in range(6)]
        bases = [
            replace(run, manifest=replace(run.manifest, base=f"b{n}"), folder=Path(f"b{n}"), start=s, end=e, signal=t)
            for n, (s, e, t) in enumerate(audits)
        ]
        laid = compare(bases)
        for runner in race(laid):
            if runner.rho is not None:
                p[runner.outcome].append(runner.p)
        start = [arm.before[1].value for arm in laid.arms]
        naive += [each.p for each in heat("r", "gain", {"start": start}, np.array([a.gain.value for a in laid.arms]))]
    assert np.mean(np.array(naive) <= 0.05) > 0.2
    for outcome, found in p.items():
        assert len(found) >= 190, outcome
        assert np.mean(np.array(found) <= 0.05) <= 0.1, outcome


def test_a_gain_is_not_raced_by_its_own_samples_nor_a_logit_gain_that_rests_on_the_correction(tmp_path):
    fates = [Fate(base=f"base-{n}", start=0.1 + 0.05 * n, end=0.4 + 0.07 * n, signal=0.1 + 0.05 * n) for n in range(6)]
    runs = load_runs([write_run(tmp_path, fate, problems=64) for fate in fates])[0]
    found = {(runner.outcome, runner.predictor): runner for runner in race(compare(runs))}
    assert found["end pass@1", "pass@1"].rho is not None
    for outcome in ("gain", "logit gain"):
        assert found[outcome, "pass@8"].note == "not comparable: shares samples with the gain; see end pass@1"
        assert found[outcome, "pass@8"].rho is None
        assert found[outcome, "pass@1 on training problems"].rho is not None
    nothing = load_run(write_run(tmp_path, Fate(base="nothing", start=0.0, end=0.5), problems=64))
    runners = race(compare([*runs, nothing]))
    assert {one.note for one in runners if one.outcome == "logit gain"} == {"rests on the correction: nothing"}
    assert verdict(runners)[2] == "tiny, logit gain: no race, rests on the correction: nothing."


def test_arms_of_another_setting_that_do_not_run_are_named(tmp_path):
    runs = load_runs([write_run(tmp_path, fate) for fate in FATES[:3]])[0]
    settings = {"recipe": {"grpo": {"beta": 0.1}}}
    other = load_run(write_run(tmp_path / "b", FATES[0], changes=Changes(manifest={"settings": settings})))
    for runner in race(compare([*runs, other])):
        assert runner.bases == 3
        assert runner.note.endswith("left out, as another setting of a base that runs: base-0, beta 0.1")
