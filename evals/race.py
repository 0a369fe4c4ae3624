"""Which measurement before RL ranks bases as RL will: every predictor against every outcome, base by base.

The correlation is Spearman's over the bases of one recipe, each base a point with its seeds averaged. It says nothing of
problems or seeds: its interval and p are of bases drawn from bases like them, and a study has few.

A gain is the end less the start, so what the start's samples had by luck is missing from it: pass@k of those very samples
would seem to foretell a loss where nothing changed. Such predictors run for where a base ends, and not for what it gains.
Answer rates and behaviours of those samples do run for gains: they share a part of that luck, as a right sample is an
answered one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np

from evals.compare import FIRST_REPORTED_K, Arm, Comparison, rank_correlation
from evals.estimate import NORMAL
from evals.headroom import logit_gain

FEWEST = 5
"""Below it no order of bases has a two-sided p below 0.05: of four, one order in 24 is each extreme."""
EXACT = 7  # bases, up to which all orders are counted; 5040 for 7
DRAWN_ORDERS = 10_000
RACED_K = (8, 16, 32, 64, 128, 256)
OUTCOMES: dict[str, Callable[[Arm], float]] = {
    "end pass@1": lambda arm: arm.after[1].value,
    "gain": lambda arm: arm.gain.value,
    "logit gain": lambda arm: logit_gain(arm).gain.value,
}
OF_THE_START = ("gain", "logit gain")
"""Outcomes from which the start audit's right samples are subtracted."""
SHARED = "not comparable: shares samples with the gain; see end pass@1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """One predictor of one outcome over the bases of one recipe. Correlations are None where `note` says why.

    `low` and `high` are the 95% interval by Fisher's z with the error sqrt((1 + rho^2/2) / (bases - 3)) (Bonett & Wright
    2000); a perfect order counts as half a swap of neighbours short of it, as an interval of no width would be claimed
    else. `without_low` and `without_high` are the least and the largest rho with one base left out.
    """

    recipe: str
    outcome: str
    predictor: str
    bases: int
    rho: float | None
    low: float | None = None
    high: float | None = None
    without_low: float | None = None
    without_high: float | None = None
    p: float | None = None
    """Two-sided: share of orders of the bases that correlate as much or more."""
    p_of_best: float | None = None
    """The same of the best of all predictors of this outcome (Westfall & Young 1993): what corrects for the race."""
    note: str = ""


def race(comparison: Comparison) -> list[Runner]:
    """Recipe by recipe and outcome by outcome, the strongest predictor first. Recipes of fewer than 3 bases run no race.

    Controls race by themselves: what ranks the bases under a coin is not what ranks them under right answers.
    Of arms of one base and recipe that differ in a setting, the first named runs, and `note` names the others.
    """
    by_recipe: dict[str, dict[str, list[Arm]]] = {}
    for arm in comparison.arms:
        about = arm.runs[0].manifest
        recipe = about.recipe + (" (control)" if about.control_of else "")
        by_recipe.setdefault(recipe, {}).setdefault(about.base, []).append(arm)
    found = []
    for recipe, by_base in by_recipe.items():
        arms = [group[0] for group in by_base.values()]
        if len(arms) < 3:
            continue
        others = [arm.label for group in by_base.values() for arm in group[1:]]
        left_out = f"left out, as another setting of a base that runs: {'; '.join(others)}" if others else ""
        for outcome, of in OUTCOMES.items():
            runners = heat(recipe, outcome, _comparable(arms, outcome), np.array([of(arm) for arm in arms]))
            found += [replace(one, note="; ".join(filter(None, (one.note, left_out)))) for one in runners]
    return found


def _comparable(arms: Sequence[Arm], outcome: str) -> dict[str, list[float] | str]:
    """The predictors, without those that share what decides this outcome, and none of an outcome that says nothing."""
    values = predictors(arms)
    if outcome == "logit gain":
        resting = [arm.label for arm in arms if logit_gain(arm).rests_on_the_correction]
        if resting:
            return dict.fromkeys(values, f"rests on the correction: {', '.join(resting)}")
    if outcome in OF_THE_START:
        of_start = {name for name in values if name.removeprefix("pass@").isdigit()}
        values |= {name: SHARED for name in of_start if not isinstance(values[name], str)}
    return values


def predictors(arms: Sequence[Arm]) -> dict[str, list[float] | str]:
    """What was measured of each arm before training, seeds averaged; or why it cannot be compared over these arms."""
    shared = sorted(set.intersection(*({k for k in arm.before if k == 1 or k >= FIRST_REPORTED_K} for arm in arms)))
    groups = sorted({run.manifest.group_size for arm in arms for run in arm.runs})
    found: dict[str, list[float] | str] = {f"pass@{k}": [arm.before[k].value for arm in arms] for k in shared}
    for k in RACED_K:
        found.setdefault(f"pass@{k}", f"not measured: an audit drew fewer than {k} samples")
    mixed = len({run.signal.suite.fingerprint for arm in arms for run in arm.runs}) > 1
    other_problems = "not comparable: train_suite.fingerprint differs between these bases"
    training = "pass@1 on training problems"
    found[training] = other_problems if mixed else _each(arms, lambda run: run.signal.pass_at_k.read[1].value)
    share = f"informative share at G = {'/'.join(map(str, groups))}"
    if mixed or len(groups) > 1:
        found[share] = other_problems if mixed else "not comparable: group_size differs between these bases"
    else:
        found[share] = _each(arms, lambda run: _value(run.signal.forecast.get(groups[0])))
    found["answer rate"] = _each(arms, lambda run: run.start.answer_rate.value)
    found["stop rate"] = _each(arms, lambda run: run.start.stop_rate.value)
    for name in ("mean_token_logprob", "mean_completion_tokens"):
        found[name.replace("_", " ")] = _each(arms, lambda run, name=name: _value(getattr(run.start, name)))
    for name in sorted({name for arm in arms for run in arm.runs for name in run.start.behaviours}):
        told = f"behaviour: {name.replace('_', ' ')}"
        found[told] = _each(arms, lambda run, name=name: _value(run.start.behaviours.get(name)))
    return found


def _value(estimate: Any) -> float | None:
    return None if estimate is None else estimate.value


def _each(arms: Sequence[Arm], of: Callable[[Any], float | None]) -> list[float] | str:
    """Means over seeds by arm, or the arms that lack it."""
    values = [[of(run) for run in arm.runs] for arm in arms]
    lacking = [arm.label for arm, each in zip(arms, values, strict=True) if None in each]
    if lacking:
        return f"not measured: {', '.join(lacking)}"
    return [float(np.mean([one for one in each if one is not None])) for each in values]


def heat(recipe: str, outcome: str, values: dict[str, list[float] | str], target: np.ndarray) -> list[Runner]:
    """All predictors of one outcome, the strongest first; those without a correlation last, with the reason."""
    bases = target.size
    known = {name: each for name, each in values.items() if not isinstance(each, str)}
    rhos = {name: rank_correlation(each, list(target)) for name, each in known.items()}
    running = {name: rho for name, rho in rhos.items() if rho is not None}
    p, p_of_best = _chances(np.array([known[name] for name in running]), target, np.array([*running.values()]))
    runners = []
    for place, (name, rho) in enumerate(running.items()):
        without = [
            rank_correlation([*known[name][:out], *known[name][out + 1 :]], [*target[:out], *target[out + 1 :]])
            for out in range(bases)
        ]
        left = [each for each in without if each is not None]
        low, high = rho_interval(rho, bases) if bases >= FEWEST else (None, None)
        runners.append(
            Runner(
                recipe=recipe,
                outcome=outcome,
                predictor=name,
                bases=bases,
                rho=rho,
                low=low,
                high=high,
                without_low=min(left, default=None),
                without_high=max(left, default=None),
                p=float(p[place]),
                p_of_best=float(p_of_best[place]),
                note="" if bases >= FEWEST else f"says nothing: fewer than {FEWEST} bases",
            )
        )
    runners.sort(key=lambda one: -abs(one.rho or 0))
    still = "the outcome is the same for all bases" if len(set(target)) == 1 else "constant over these bases"
    silent = {name: still for name, rho in rhos.items() if rho is None}
    silent |= {name: each for name, each in values.items() if isinstance(each, str)}
    runners += [
        Runner(recipe=recipe, outcome=outcome, predictor=name, bases=bases, rho=None, note=note)
        for name, note in silent.items()
    ]
    return runners


def _chances(values_VB: np.ndarray, target: np.ndarray, rho_V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Permutation p of each predictor, and of the best of them. V = predictors, B = bases, O = orders of the bases."""
    if not rho_V.size:
        return rho_V, rho_V
    bases = target.size
    if bases <= EXACT:
        order_OB = np.array([*permutations(range(bases))])
    else:
        rng = np.random.default_rng(0)
        order_OB = np.tile(np.arange(bases), (DRAWN_ORDERS, 1))
        order_OB[1:] = rng.permuted(order_OB[1:], axis=1)
    from scipy.stats import rankdata  # 0.7 s to import

    one_VB, other_B = _standard(rankdata(values_VB, axis=1)), _standard(rankdata(target))
    by_chance_VO = np.abs(one_VB @ other_B[order_OB].T) / bases
    seen_V = np.abs(rho_V) - 1e-5  # rho is rounded
    p = (by_chance_VO >= seen_V[:, None]).mean(axis=1)
    return p, (by_chance_VO.max(axis=0) >= seen_V[:, None]).mean(axis=1)


def _standard(ranks: np.ndarray) -> np.ndarray:
    centred = ranks - ranks.mean(axis=-1, keepdims=True)
    return centred / centred.std(axis=-1, keepdims=True)


def rho_interval(rho: float, bases: int) -> tuple[float, float]:
    """The interval that `Runner` describes, of 4 bases and more."""
    edge = 1 - 6 / (bases**3 - bases)  # one swap of neighbours costs twice that
    inside = min(max(rho, -edge), edge)
    half = NORMAL * math.sqrt((1 + inside**2 / 2) / (bases - 3))
    low, high = math.tanh(math.atanh(inside) - half), math.tanh(math.atanh(inside) + half)
    return min(low, rho), max(high, rho)


def race_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The race as rows."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    return [
        {
            "recipe": one.recipe,
            "outcome": one.outcome,
            "predictor": one.predictor,
            "bases": one.bases,
            "rho": rounded(one.rho),
            "rho_low": rounded(one.low),
            "rho_high": rounded(one.high),
            "rho_without_one_base_min": rounded(one.without_low),
            "rho_without_one_base_max": rounded(one.without_high),
            "p": rounded(one.p),
            "p_of_best": rounded(one.p_of_best),
            "note": one.note,
        }
        for one in race(comparison)
    ]


def verdict(runners: Sequence[Runner]) -> list[str]:
    """A sentence per recipe and outcome: the strongest predictor, and whether the race itself can be told from chance."""
    told = []
    for recipe in dict.fromkeys(one.recipe for one in runners):
        mine = [one for one in runners if one.recipe == recipe]
        if mine[0].bases < FEWEST:
            told.append(f"{recipe}: {mine[0].bases} bases say nothing of predictors; {FEWEST} are needed.")
            continue
        for outcome in dict.fromkeys(one.outcome for one in mine):
            told.append(f"{recipe}, {outcome}: {_winner([one for one in mine if one.outcome == outcome])}")
    return told


def _winner(runners: Sequence[Runner]) -> str:
    running = [one for one in runners if one.rho is not None]
    if not running:
        why = {one.note for one in runners}
        return f"no race, {why.pop()}." if len(why) == 1 else "no race, as nothing that can be compared varies."
    best = running[0]
    level = [one.predictor for one in running if abs(one.rho or 0) == abs(best.rho or 0)]
    more = "no more than chance gives" if (best.p_of_best or 0) > 0.05 else "more than chance gives"
    others = f" and {len(level) - 1} more" if len(level) > 1 else ""
    return (
        f"{level[0]}{others} at rho {best.rho:+.2f} [{best.low:+.2f}, {best.high:+.2f}] over {best.bases} bases, {more} "
        f"the best of {len(running)} predictors (p = {best.p_of_best:.2g})."
    )
