"""Finished runs laid side by side: what each base gained, when it took off, and whether the forecast held.

An arm is one base under one recipe and its settings, over its training seeds. Every number of an arm is computed the
same way for one seed and for many: rates are averaged over seeds within each problem, and intervals are over problems.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import UsageError
from evals.arms import labels
from evals.estimate import Estimate, mean_over_problems, paired_difference
from evals.forecast import predictive_interval
from evals.passk import pass_at_k, powers_of_two
from evals.runs import Baseline, Run, SavedAudit, Unfinished, spent

TAKE_OFF = 0.20
TAKE_OFF_STEPS = 3
"""A run takes off at the first step up to which the accuracy of training completions, over this many steps in a row,
averaged `TAKE_OFF` or more. Every step is counted, so it is finer than held-out audits some steps apart. Where a sampler
chose the problems, their accuracy is not the data set's, and it is the first held-out audit of `TAKE_OFF` or more. The
line is a convention, not a property of RL."""

CHOOSING = ("edge", "posterior")
"""Samplers that ask other problems than the data set has, or more of some."""

FIRST_REPORTED_K = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Step 1 against what the audit said of it: shares of groups whose rewards are not all equal."""

    expected: Estimate
    low: float
    high: float
    observed: float

    @property
    def held(self) -> bool:
        return self.low - 1e-6 <= self.observed <= self.high + 1e-6  # TRL logs the share in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One base under one recipe and its settings, over one or more training seeds. Per-seed tuples are in the order of `runs`."""

    label: str
    runs: tuple[Run, ...]
    before: dict[int, Estimate]
    """pass@k before training, by k."""
    after: dict[int, Estimate]
    gain: Estimate
    """pass@1 after minus before, paired by problem."""
    gain_by_seed: tuple[float, ...]
    answered: tuple[Estimate, Estimate]
    """Share of completions with an answer to read: before, after."""
    stopped: tuple[Estimate, Estimate]
    """Share of completions that ended by themselves: before, after."""
    share: Estimate | None
    """Expected share of informative groups at the training group size; None when the audit drew fewer samples."""
    forecasts: tuple[Forecast | None, ...]
    take_offs: tuple[int | None, ...]
    """Step of take-off, or None for never; 0 when held-out pass@1 before training was `TAKE_OFF` or more."""
    steps: int
    seconds: tuple[float, ...]

    @property
    def seeds(self) -> int:
        return len(self.runs)

    @property
    def took_off(self) -> int:
        return sum(step is not None for step in self.take_offs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Arms in the order their first run was named; `singles` are the same runs one by one."""

    arms: tuple[Arm, ...]
    singles: tuple[Arm, ...]
    unfinished: tuple[Unfinished, ...]
    baselines: tuple[Baseline, ...] = ()
    """What RL must beat: in the table and the paragraph, not among the arms, which are forecast and take off."""


def compare(
    runs: Sequence[Run], unfinished: Sequence[Unfinished] = (), baselines: Sequence[Baseline] = ()
) -> Comparison:
    """Measure every run and every arm. The runs must be comparable (`evals.runs.load_runs` sees to it)."""
    label = labels(runs)
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(label(run), []).append(run)
    singles = {run.folder: _arm(label(run), [run]) for run in runs}
    arms = (singles[group[0].folder] if len(group) == 1 else _arm(name, group) for name, group in grouped.items())
    return Comparison(
        arms=tuple(arms),
        singles=tuple(singles.values()),
        unfinished=tuple(unfinished),
        baselines=tuple(baselines),
    )


def _arm(label: str, runs: Sequence[Run]) -> Arm:
    fewest = min(int(audit.samples.min()) for run in runs for audit in (run.start, run.end))
    before = {k: rates([run.start for run in runs], k) for k in powers_of_two(fewest)}
    after = {k: rates([run.end for run in runs], k) for k in powers_of_two(fewest)}
    shares = [run.signal.forecast.get(run.manifest.group_size) for run in runs]
    same = runs[0].start.questions
    return Arm(
        label=label,
        runs=tuple(runs),
        before={k: mean_over_problems(passed, same=same) for k, passed in before.items()},
        after={k: mean_over_problems(passed, same=same) for k, passed in after.items()},
        gain=paired_difference(before[1], after[1], same=same),
        gain_by_seed=tuple(float((rates([run.end], 1) - rates([run.start], 1)).mean()) for run in runs),
        answered=(_mean([run.start.answer_rate for run in runs]), _mean([run.end.answer_rate for run in runs])),
        stopped=(_mean([run.start.stop_rate for run in runs]), _mean([run.end.stop_rate for run in runs])),
        share=_mean([share for share in shares if share is not None]) if None not in shares else None,
        forecasts=tuple(_score_forecast(run) for run in runs),
        take_offs=tuple(_take_off(run) for run in runs),
        steps=max((row.step for run in runs for row in run.heldout), default=0),
        seconds=tuple(run.manifest.seconds for run in runs),
    )


def by_settings(baselines: Sequence[Baseline]) -> list[list[Baseline]]:
    """Baselines that differ in nothing but the seed, together; in the order named."""
    groups: dict[str, list[Baseline]] = {}
    for one in baselines:
        settings = {key: value for key, value in one.manifest.settings.items() if key not in ("seed", "origin")}
        groups.setdefault(json.dumps([one.manifest.kind, one.manifest.base, settings], sort_keys=True), []).append(one)
    return list(groups.values())


def ended(group: Sequence[Baseline]) -> Estimate:
    """Pass@1 where a baseline ended, averaged over its seeds."""
    return mean_over_problems(rates([one.end for one in group], 1), same=group[0].end.questions)


def ahead(arm: Arm, group: Sequence[Baseline]) -> tuple[Estimate, list[int]] | None:
    """Pass@1 where RL ended less where the baseline did, paired by problem and by seed, and the seeds of both.

    None where no seed is shared: a tiny base of another seed is another base.
    """
    baseline = {one.manifest.seed: one.end for one in group}
    rl = {run.manifest.seed: run.end for run in arm.runs}
    seeds = sorted(baseline.keys() & rl.keys())
    if not seeds:
        return None
    before, after = (rates([audits[seed] for seed in seeds], 1) for audits in (baseline, rl))
    return paired_difference(before, after, same=arm.runs[0].end.questions), seeds


def rates(audits: Sequence[SavedAudit], k: int) -> np.ndarray:
    """pass@k of each problem, averaged over seeds; problems in the order of their ids, so that arms pair up.

    Seeds are averaged and not pooled: the start audits of one base may be the same samples several times over.
    """
    return np.clip(np.mean([pass_at_k(audit.correct, audit.samples, k) for audit in audits], axis=0), 0, 1)


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    """Mean over seeds of rates on the same problems; the ends are averaged too, as seeds share their problems."""
    return Estimate(
        value=float(np.mean([each.value for each in estimates])),
        low=float(np.mean([each.low for each in estimates])),
        high=float(np.mean([each.high for each in estimates])),
        n=min(each.n for each in estimates),
    )


def _score_forecast(run: Run) -> Forecast | None:
    """None when the audit drew fewer samples than a group has, or step 1 was not logged; and for a control or a sampler.

    The audit's forecast is of groups paid for right answers, which a control does not pay, on problems as the data set
    has them, which a sampler does not ask.
    """
    if run.manifest.control_of or run.manifest.sampler != "uniform":
        return None
    expected = run.signal.forecast.get(run.manifest.group_size)
    silent = next((row["frac_reward_zero_std"] for row in run.metrics if row.get("step") == 1), None)
    if expected is None or silent is None:
        return None
    low, high = predictive_interval(expected, run.manifest.groups_per_step)
    return Forecast(expected=expected, low=low, high=high, observed=1 - float(silent))


def _take_off(run: Run) -> int | None:
    """Steps that were not logged, or logged without an accuracy, break a row of steps.

    Under a sampler of `CHOOSING` training accuracy is of the problems asked, so held-out pass@1 is read instead.
    """
    if rates([run.start], 1).mean() >= TAKE_OFF:
        return 0
    if run.manifest.sampler in CHOOSING:
        return min((row.step for row in run.heldout if row.step and row.pass_at_1.value >= TAKE_OFF), default=None)
    accuracy = {row["step"]: row["accuracy"] for row in run.metrics if "accuracy" in row}
    for last in sorted(accuracy):
        steps = range(last - TAKE_OFF_STEPS + 1, last + 1)
        if all(step in accuracy for step in steps) and np.mean([accuracy[step] for step in steps]) >= TAKE_OFF:
            return last
    return None


# --- predictors -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """Something measured before training that might tell which bases will gain."""

    name: str
    of: Callable[[Arm], Estimate]


def predictors(arms: Sequence[Arm]) -> list[Predictor]:
    """pass@1, pass@k at the largest k that all arms share, and the informative-group share where all arms have one."""
    largest = max(set.intersection(*(set(arm.before) for arm in arms)))
    found = [Predictor(name="pass@1", of=lambda arm: arm.before[1])]
    if largest > 1:
        found.append(Predictor(name=f"pass@{largest}", of=lambda arm: arm.before[largest]))
    if all(arm.share is not None for arm in arms):
        sizes = "/".join(str(size) for size in sorted({run.manifest.group_size for arm in arms for run in arm.runs}))
        found.append(Predictor(name=f"informative share at G = {sizes}", of=lambda arm: _known(arm.share)))
    return found


def _known(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rho, ties at their mean rank; None for fewer than 3 points or where one side is constant.

    >>> rank_correlation([1, 2, 3], [10, 20, 15])
    0.5
    """
    if len(one) < 3 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return round(float(np.corrcoef(_ranks(one), _ranks(other))[0, 1]), 6)


def _ranks(values: Sequence[float]) -> np.ndarray:
    value = np.asarray(values, dtype=float)
    return (value[:, None] > value).sum(axis=1) + (value[:, None] == value).sum(axis=1) / 2


# --- tables -----------------------------------------------------------------------------------------------------------


def table(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per run: rates in [0, 1], gain paired by problem, seconds of wall time. Baselines come last."""
    return [*map(_run_row, comparison.singles), *map(_baseline_row, comparison.baselines)]


def summary(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per arm. Intervals are over problems; the spread over seeds stands beside them as min and max."""
    return [_arm_row(arm) for arm in comparison.arms]


def _run_row(single: Arm) -> dict[str, Any]:
    about, scored, budget = single.runs[0].manifest, single.forecasts[0], spent(single.runs[0].folder)
    return {
        "run": about.run,
        "kind": about.kind,
        "base": about.base,
        "recipe": about.recipe,
        "seed": about.seed,
        **_scores(single),
        "group_size": about.group_size,
        **spread("forecast_share", single.share),
        "observed_share": _rounded(scored.observed) if scored else None,
        "predicted_low": _rounded(scored.low) if scored else None,
        "predicted_high": _rounded(scored.high) if scored else None,
        "forecast_held": scored.held if scored else None,
        "take_off_step": single.take_offs[0],
        "steps": single.steps,
        "sampled_tokens": budget and budget.sampled_tokens,
        "training_tokens": budget and budget.training_tokens,
        "seconds": about.seconds,
    }


def _baseline_row(one: Baseline) -> dict[str, Any]:
    about = one.manifest
    return {
        "run": about.run,
        "kind": about.kind,
        "base": about.base,
        "recipe": about.kind,
        "seed": about.seed,
        **spread("pass_at_1_start", one.start.pass_at_k.read[1]),
        **spread("pass_at_1_end", one.end.pass_at_k.read[1]),
        "problems": about.gain.n,
        **spread("gain", about.gain),
        "sampled_tokens": about.budget.sampled_tokens,
        "training_tokens": about.budget.training_tokens,
        "seconds": about.seconds,
    }


def _arm_row(arm: Arm) -> dict[str, Any]:
    scored = [each for each in arm.forecasts if each]
    stepped = [step for step in arm.take_offs if step is not None]
    return {
        "arm": arm.label,
        "seeds": arm.seeds,
        **_scores(arm),
        "gain_seed_min": _rounded(min(arm.gain_by_seed)),
        "gain_seed_max": _rounded(max(arm.gain_by_seed)),
        **spread("forecast_share", arm.share),
        "observed_share_mean": _rounded(float(np.mean([each.observed for each in scored]))) if scored else None,
        "forecasts_held": sum(each.held for each in scored),
        "forecasts_scored": len(scored),
        "seeds_taken_off": len(stepped),
        "take_off_step_median": float(np.median(stepped)) if stepped else None,
        "take_off_step_min": min(stepped, default=None),
        "take_off_step_max": max(stepped, default=None),
        "steps": arm.steps,
        "seconds_mean": round(float(np.mean(arm.seconds)), 1),
    }


def _scores(arm: Arm) -> dict[str, Any]:
    row = spread("pass_at_1_start", arm.before[1]) | spread("pass_at_1_end", arm.after[1])
    row |= {"problems": arm.gain.n} | spread("gain", arm.gain)
    for k in [k for k in arm.before if k >= FIRST_REPORTED_K]:
        row |= spread(f"pass_at_{k}_start", arm.before[k]) | spread(f"pass_at_{k}_end", arm.after[k])
    for name, (start, end) in {"answer_rate": arm.answered, "stop_rate": arm.stopped}.items():
        row |= {f"{name}_start": _rounded(start.value), f"{name}_end": _rounded(end.value)}
    return row


def spread(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """A value and the ends of its interval as three cells of a row; empty where there is none."""
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = _rounded(estimate.low), _rounded(estimate.high)
    return {name: _rounded(estimate.value), f"{name}_low": low, f"{name}_high": high}


def _rounded(value: float) -> float:
    return round(value, 6)


# --- writing ----------------------------------------------------------------------------------------------------------


def claim(out: Path, runs: Sequence[Run | Baseline]) -> None:
    """Take `out` for the comparison of exactly these runs; one that holds anything else of that kind is refused."""
    if out.is_file():
        raise UsageError(f"--out {out} is a file; name a folder")
    if (out / "manifest.json").exists():
        raise UsageError(f"--out {out} is a run folder; name another")
    names = sorted(Path(os.path.relpath(run.folder.resolve(), out.resolve())).as_posix() for run in runs)
    label = out / "compare.json"
    if label.exists() and json.loads(label.read_text(encoding="utf-8"))["runs"] != names:
        raise UsageError(f"--out {out} holds a comparison of other runs ({label} lists them); name another folder")
    out.mkdir(parents=True, exist_ok=True)
    label.write_text(
        json.dumps({"runs": names, "take_off": TAKE_OFF, "take_off_steps": TAKE_OFF_STEPS}, indent=1) + "\n",
        encoding="utf-8",
    )


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Rows under the columns that any of them has; a cell that a row lacks is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
