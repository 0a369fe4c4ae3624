"""Moves of problems and the crossing of pass@k, against enumeration of samples, hand counts and simulated audits."""

from __future__ import annotations

import itertools
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import fisher_exact
from synthetic import LATENT, SILENT, write_counts, write_run

from evals.compare import compare
from evals.crossing import Crossing, crossing, crossings
from evals.estimate import Estimate
from evals.passk import pass_at_k
from evals.runs import load_run, load_runs
from evals.transitions import MOVES, RULES, fisher, moves, transitions, transitions_by_problem


def arm_of(root: Path, before: list[int], after: list[int], samples: int) -> object:
    return compare([load_run(write_counts(root, before, after, samples=samples))]).arms[0]


def by_name(arm, rule):
    return {move.name: move for move in moves(arm) if move.rule == rule}


def test_moves_of_five_problems_counted_by_hand(tmp_path):
    arm = arm_of(tmp_path, before=[4, 0, 2, 1, 0], after=[4, 3, 1, 0, 0], samples=4)
    half, once = by_name(arm, "half"), by_name(arm, "once")
    assert {name: move.share.value for name, move in half.items()} == pytest.approx(
        {"stays": 0.2, "gained": 0.2, "lost": 0.2, "never": 0.4}
    )
    assert {name: move.share.value for name, move in once.items()} == pytest.approx(
        {"stays": 0.4, "gained": 0.2, "lost": 0.2, "never": 0.2}
    )
    rows = transitions_by_problem(compare(arm.runs))
    assert [row["move_half"] for row in rows] == ["stays", "gained", "lost", "never", "never"]
    assert [row["move_once"] for row in rows] == ["stays", "gained", "stays", "lost", "never"]
    assert rows[1]["p_no_change"] == pytest.approx(
        2 * 4 / 56, abs=1e-6
    )  # all three right ones on one side: 2 C(4,3)/C(8,3)
    assert rows[0]["p_no_change"] == 1


def test_p_of_no_change_is_scipys_exact_test():
    for first, second in ((4, 4), (5, 3), (16, 16)):
        table = fisher(first, second)
        for one, other in itertools.product(range(first + 1), range(second + 1)):
            expected = fisher_exact([[one, first - one], [other, second - other]]).pvalue
            assert table[one, other] == pytest.approx(expected, abs=1e-9), (first, second, one, other)


def ordered_states(samples, size, rule):
    """Solved or not in the first `size` and in the next `size` samples, over all orders of the samples."""
    need = size / 2 if rule == "half" else 1
    orders = set(itertools.permutations(samples))
    return [(sum(order[:size]) >= need, sum(order[size : 2 * size]) >= need) for order in orders]


@pytest.mark.parametrize("samples", [2, 4, 5, 7])
def test_moves_in_halves_are_what_all_orders_of_the_samples_give(tmp_path, samples):
    before, after = list(range(samples + 1)), list(range(samples, -1, -1))
    arm = arm_of(tmp_path, before, after, samples)
    for rule in RULES:
        size, found = samples // 2, by_name(arm, rule)
        expected = {name: {"null": [], "real": []} for name in MOVES}
        for first, second in zip(before, after, strict=True):
            one, other = ([True] * right + [False] * (samples - right) for right in (first, second))
            alone = ordered_states(one, size, rule)
            firsts, seconds = ([was for was, _ in ordered_states(each, size, rule)] for each in (one, other))
            for name, states in MOVES.items():
                expected[name]["null"].append(alone.count(states) / len(alone))
                was, is_ = (
                    each.count(wanted) / len(each) for each, wanted in zip((firsts, seconds), states, strict=True)
                )
                expected[name]["real"].append(was * is_)
        for name, each in expected.items():
            assert found[name].no_change.value == pytest.approx(fmean(each["null"]))
            assert found[name].halves.value == pytest.approx(fmean(each["real"]))


def test_a_model_that_did_not_change_moves_problems_and_the_halves_say_how_many(tmp_path):
    """A quarter of problems near 1/2 flip by chance. What is left beyond sampling is 0 on average and inside its interval."""
    rng = np.random.default_rng(3)
    beyond, lost, covered = [], [], 0
    for trial in range(60):
        rates = rng.beta(0.7, 0.7, 200)
        before, after = rng.binomial(8, rates), rng.binomial(8, rates)
        found = by_name(arm_of(tmp_path / str(trial), list(before), list(after), 8), "half")
        lost.append(found["lost"].share.value)
        beyond.append(found["lost"].beyond.value)
        covered += found["lost"].beyond.low <= 0 <= found["lost"].beyond.high
    assert fmean(lost) > 0.05
    assert abs(fmean(beyond)) < 3 * np.std(beyond) / np.sqrt(60) < 0.01
    assert covered >= 54


def test_one_sample_a_problem_has_no_halves(tmp_path):
    found = by_name(arm_of(tmp_path, before=[1, 0, 0], after=[1, 1, 0], samples=1), "half")
    assert found["gained"].share.value == pytest.approx(1 / 3)
    assert found["gained"].no_change is found["gained"].beyond is None


def test_moves_of_a_rule_add_up_to_one_and_seeds_are_averaged_by_problem(tmp_path):
    runs, _ = load_runs([write_run(tmp_path, fate, seed) for fate in (LATENT, SILENT) for seed in (0, 1)])
    laid = compare(runs)
    assert len(transitions(laid)) == 2 * len(RULES) * len(MOVES)
    for arm in laid.arms:
        for rule in RULES:
            found = by_name(arm, rule)
            for kind in ("share", "halves", "no_change"):
                assert sum(getattr(move, kind).value for move in found.values()) == pytest.approx(1)
    latent = by_name(laid.arms[0], "half")["gained"].share.value
    alone = [by_name(single, "half")["gained"].share.value for single in laid.singles[:2]]
    assert latent == pytest.approx(fmean(alone))


def test_the_crossing_is_the_first_k_at_which_counting_subsets_puts_the_base_level(tmp_path):
    rng = np.random.default_rng(5)
    seen = set()
    for trial in range(30):
        samples = int(rng.integers(4, 40))
        before = rng.binomial(samples, 0.15, 40)
        after = rng.binomial(samples, rng.choice([0.0 if trial % 2 else 0.5, 0.6], 40))
        arm = arm_of(tmp_path / str(trial), list(before), list(after), samples)
        n = np.full(40, samples)
        level = [
            k for k in range(1, samples + 1) if pass_at_k(before, n, k).mean() >= pass_at_k(after, n, k).mean() - 1e-9
        ]
        found = crossing(arm)
        assert found.at == (level[0] if level else None)
        seen.add(found.at is None)
    assert seen == {True, False}


def lead_of(**leads):
    at_k = {int(name[1:]): ends for name, ends in leads.items()}
    return {k: Estimate(value=(low + high) / 2, low=low, high=high, n=50) for k, (low, high) in at_k.items()}


@pytest.mark.parametrize(
    ("at", "lead", "told"),
    [
        (None, lead_of(k1=(0.2, 0.4), k2=(0.1, 0.3)), "no crossing up to k = 2, where samples end"),
        (None, lead_of(k1=(0.2, 0.4), k2=(-0.1, 0.3)), "no crossing up to k = 2, ahead beyond noise up to k = 1"),
        (None, lead_of(k1=(-0.2, 0.4), k2=(-0.1, 0.3)), "no crossing up to k = 2, ahead but never beyond noise"),
        (2, lead_of(k1=(0.2, 0.4), k2=(-0.3, 0.1)), "the base catches up at k = 2, inside noise"),
        (
            2,
            lead_of(k1=(0.2, 0.4), k2=(-0.3, 0.1), k4=(-0.4, -0.2)),
            "crosses at k = 2: ahead beyond noise up to k = 1, behind beyond noise from k = 4",
        ),
        (1, lead_of(k1=(-0.2, 0.1)), "never ahead: the base is level or better from k = 1 on, inside noise"),
        (
            1,
            lead_of(k1=(-0.3, -0.2), k2=(-0.2, 0.1)),
            "never ahead: the base is level or better from k = 1 on, beyond noise at k = 1",
        ),
        (
            1,
            lead_of(k1=(-0.2, 0.1), k2=(-0.1, 0.3), k4=(0.2, 0.4)),
            "behind at k = 1, inside noise; ahead from k = 2, beyond noise at k = 4",
        ),
        (1, lead_of(k1=(0.0, 0.0), k2=(-0.1, 0.3)), "level at k = 1; ahead from k = 2, inside noise"),
        (
            1,
            lead_of(k1=(-0.3, -0.1), k2=(0.1, 0.3), k4=(-0.2, 0.1)),
            "behind at k = 1, beyond noise; ahead only at k = 2, beyond noise at k = 2",
        ),
        (
            2,
            lead_of(k1=(0.2, 0.4), k2=(-0.3, -0.1), k4=(0.1, 0.3)),
            "the base catches up at k = 2, beyond noise at k = 2",
        ),
        (1, lead_of(k1=(0.0, 0.0)), "level at every k up to 1"),
    ],
)
def test_a_crossing_is_told_no_stronger_than_the_intervals_are(at, lead, told):
    assert Crossing(at=at, largest=max(lead), lead=lead).told == told


def test_a_base_that_is_better_at_one_try_only_is_not_said_to_be_never_behind(tmp_path):
    """Before: 30 of 60 problems always. After: each 7 times of 16, so 1 - C(9,k)/C(16,k) at k."""
    found = crossing(arm_of(tmp_path, before=[16] * 30 + [0] * 30, after=[7] * 60, samples=16))
    leads = [round(each.value, 2) for each in found.lead.values()]
    assert leads == [-0.06, 0.2, 0.43, 0.5, 0.5]
    assert found.at == 1
    assert found.behind_from is None
    assert found.told.startswith("behind at k = 1, inside noise; ahead from k = 2, beyond noise at k = 2, 4, 8, 16")
    assert found.short == "1?, ahead from 2"


def test_a_base_is_behind_from_the_k_after_which_it_never_is_level_again():
    """Beyond noise at 1 and at 8; between them it is not."""
    lead = lead_of(k1=(-0.3, -0.1), k2=(-0.2, 0.1), k4=(0.1, 0.2), k8=(-0.4, -0.2), k16=(-0.5, -0.3))
    assert Crossing(at=1, largest=16, lead=lead).behind_from == 8
    assert Crossing(at=1, largest=4, lead={k: lead[k] for k in (1, 2, 4)}).behind_from is None


def test_a_base_that_solves_more_problems_now_and_then_is_behind_at_one_and_ahead_at_many(tmp_path):
    """After: 60 of 100 problems always, the others never. Before: each problem 4 times of 16."""
    arm = arm_of(tmp_path, before=[4] * 100, after=[16] * 60 + [0] * 40, samples=16)
    found = crossing(arm)
    assert found.at == 3  # 1 - C(12,k)/C(16,k) is 25, 45, 60.7 and 72.8% at k = 1 to 4
    assert (found.ahead_to, found.behind_from) == (2, 4)  # 60% of 100 is 50.2 to 69.1
    (row,) = crossings(compare(arm.runs))
    assert (row["caught_up_at_k"], row["largest_k"]) == (found.at, 16)
