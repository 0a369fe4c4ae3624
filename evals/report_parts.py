"""The tables and figures of report.html. To add one, add it to `parts`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from evals.compare import Arm, Comparison, summary, table
from evals.crossing import crossings
from evals.curves import Point, curve, price_of
from evals.estimate import Estimate
from evals.headroom import logit_gains, matched_gains
from evals.race import race, race_rows, verdict
from evals.report import Axis, Chart, Column, Section, Series
from evals.transitions import transitions

PASS_1 = Axis(label="held-out pass@1, %", low=0, high=100)

COSTS: dict[str, Callable[[Point], float | None]] = {
    "optimizer step": lambda point: point.step,
    "completion tokens sampled in training": lambda point: point.sampled_tokens,
    "tokens trained on": lambda point: point.training_tokens,
    "seconds of wall time, audits included": lambda point: point.seconds,
    "US dollars, middle of the price range": lambda point: point.usd and math.sqrt(point.usd.low * point.usd.high),
}
"""What a learning curve can be drawn over."""


def parts(comparison: Comparison) -> list[Section | Chart]:
    """All of them, in the order of the page."""
    found: list[Section | Chart] = [
        learning_curves(comparison.arms),
        start_and_end(comparison.arms),
        pass_at_k(comparison.arms),
        *forecasts(comparison.arms),
        arms(comparison),
        moved(comparison),
        caught_up(comparison),
        *headroom(comparison),
        *predictors(comparison),
        runs(comparison),
    ]
    if comparison.unfinished:
        found.append(left_out(comparison))
    return found


def facts(comparison: Comparison) -> dict[str, str]:
    """How all numbers were measured, which is the same for all runs (`evals.runs.check_comparable` sees to it)."""
    runs = [run for arm in comparison.arms for run in arm.runs]
    audit, about = runs[0].start, runs[0].manifest
    samples = sorted({int(count) for run in runs for count in (*run.start.samples, *run.end.samples)})
    drawn = str(samples[0]) if len(samples) == 1 else f"{samples[0]} to {samples[-1]}"
    return {
        "problems": f"{len(audit.problems)} of {audit.suite.name} ({audit.suite.fingerprint}), {drawn} samples each",
        "template": f"{audit.template}, {audit.reading} reading, verifier {audit.verifier}",
        "sampling": f"temperature {audit.sampling.temperature:g}, top-p {audit.sampling.top_p:g}, at most "
        f"{audit.sampling.max_tokens} tokens",
        "trained on": about.train_suite.name,
        "runs": f"{len(runs)} finished, {len(comparison.baselines)} baselines, {len(comparison.unfinished)} left out",
    }


# --- tables -----------------------------------------------------------------------------------------------------------


def arms(comparison: Comparison) -> Section:
    """One row an arm, as in summary.csv."""
    largest = max(set.intersection(*(set(arm.before) for arm in comparison.arms)))
    several = any(arm.seeds > 1 for arm in comparison.arms)
    least, most = (Column(title=f"{which} of a seed", kind="points") for which in ("least", "most"))
    seeds = {"gain_seed_min": least, "gain_seed_max": most} if several else {}
    columns = {
        "arm": Column(title="arm"),
        "seeds": Column(title="seeds", kind="number"),
        "pass_at_1_start": Column(title="pass@1 before, %", kind="percent"),
        "pass_at_1_end": Column(title="pass@1 after, %", kind="percent"),
        "gain": Column(title="gain, points", kind="points"),
        **seeds,
        f"pass_at_{largest}_start": Column(title=f"pass@{largest} before, %", kind="percent"),
        f"pass_at_{largest}_end": Column(title=f"pass@{largest} after, %", kind="percent"),
        "forecast_share": Column(title="informative share forecast, %", kind="percent"),
        "observed_share_mean": Column(title="at step 1, %", kind="percent"),
        "forecasts_held": Column(title="forecasts that held", kind="number"),
        "seeds_taken_off": Column(title="seeds that took off", kind="number"),
        "take_off_step_median": Column(title="median step of take-off", kind="number"),
    }
    note = (
        "A base under a recipe and its settings, seeds averaged. Small figures are 95% intervals over problems; they say nothing of seeds. "
        "A gain whose interval holds zero is marked: a rerun on other problems could show no gain, or a loss."
    )
    return Section(title="Arms", note=note, columns=_filled(columns, rows := summary(comparison)), rows=rows)


def moved(comparison: Comparison) -> Section:
    """Problems that came to be solved, stayed so, were lost or never solved, as in transitions.csv."""
    columns = {
        "arm": Column(title="arm"),
        "solved_if": Column(title="solved if"),
        "move": Column(title="base to RL"),
        "share": Column(title="problems, %", kind="percent"),
        "share_in_halves": Column(title="by half of the samples, %", kind="percent"),
        "without_change_in_halves": Column(title="by sampling alone, %", kind="percent"),
        "beyond_sampling": Column(title="beyond sampling, points", kind="points"),
    }
    note = (
        "Two draws from one base differ too: what sampling alone moves is told from one half of the base's samples against the "
        "other, and is held against the same halves of both audits. transitions_by_problem.csv has every problem."
    )
    return Section(title="Problems gained and lost", note=note, columns=columns, rows=transitions(comparison))


def caught_up(comparison: Comparison) -> Section:
    """Where the base's pass@k reaches the trained model's, as in crossings.csv."""
    columns = {
        "arm": Column(title="arm"),
        "told": Column(title="pass@k of the base against what was trained from it"),
        "caught_up_at_k": Column(title="caught up at k", kind="number"),
        "ahead_beyond_noise_to_k": Column(title="RL surely ahead up to k", kind="number"),
        "behind_beyond_noise_from_k": Column(title="surely behind from k", kind="number"),
    }
    note = (
        "Where the base catches up, RL may have made likely what many samples found before; the last k is where samples "
        "end."
    )
    return Section(title="Does the base catch up?", note=note, columns=columns, rows=crossings(comparison))


def headroom(comparison: Comparison) -> list[Section]:
    """Gains that do not hang on how much room a base had, as in logit_gain.csv and matched_gain.csv."""
    logit = {
        "arm": Column(title="arm"),
        "logit_gain": Column(title="gain, log odds, half an answer added", kind="number"),
        "logit_gain_jeffreys": Column(title="by Jeffreys' mean", kind="number"),
        "rests_on_the_correction": Column(title="rests on the correction"),
    }
    binned = {
        "base_pass_rate": Column(title="base pass rate"),
        "arm": Column(title="arm"),
        "problems": Column(title="problems", kind="number"),
        "start": Column(title="before, %", kind="percent"),
        "end": Column(title="after, %", kind="percent"),
        "gain": Column(title="gain, points", kind="points"),
        "gain_if_chosen_and_measured_by_the_same_samples": Column(title="naive gain", kind="points"),
    }
    found = [
        Section(
            title="Gain in log odds",
            note="A base near 0 or 100% has no room in points; in log odds it has, but there a correction may decide.",
            columns=logit,
            rows=logit_gains(comparison),
        )
    ]
    if rows := matched_gains(comparison):
        note = (
            "Bins by one half of the base's samples, measured by the other: chosen and measured by the same samples, "
            "problems seem to gain where the base was unlucky (naive gain)."
        )
        found.append(Section(title="Gain where bases had equal room", note=note, columns=binned, rows=rows))
    return found


def predictors(comparison: Comparison) -> list[Section]:
    """What was measured before RL against what came out, as in race.csv; none for fewer than three bases."""
    rows = [row for row in race_rows(comparison) if row["rho"] is not None]
    if not rows:
        return []
    columns = {
        "outcome": Column(title="outcome"),
        "predictor": Column(title="measured before RL"),
        "recipe": Column(title="recipe"),
        "rho": Column(title="rank correlation", kind="number"),
        "rho_without_one_base_min": Column(title="least with one base left out", kind="number"),
        "rho_without_one_base_max": Column(title="most", kind="number"),
        "p": Column(title="p", kind="number"),
        "p_of_best": Column(title="p, corrected for the race", kind="number"),
        "note": Column(title="note"),
    }
    told = " ".join(verdict(race(comparison)))
    note = f"Spearman's rho over bases. {told} race.csv names what was constant, not measured or not comparable, too."
    return [Section(title="What foretold the outcome", note=note, columns=_filled(columns, rows), rows=rows)]


def runs(comparison: Comparison) -> Section:
    """One row a run, baselines last, as in table.csv."""
    columns = {
        "run": Column(title="run"),
        "kind": Column(title="kind"),
        "base": Column(title="base"),
        "recipe": Column(title="recipe"),
        "seed": Column(title="seed", kind="number"),
        "pass_at_1_start": Column(title="pass@1 before, %", kind="percent"),
        "pass_at_1_end": Column(title="pass@1 after, %", kind="percent"),
        "gain": Column(title="gain, points", kind="points"),
        "take_off_step": Column(title="step of take-off", kind="number"),
        "forecast_share": Column(title="informative share forecast, %", kind="percent"),
        "observed_share": Column(title="at step 1, %", kind="percent"),
        "answer_rate_start": Column(title="answered before, %", kind="percent"),
        "answer_rate_end": Column(title="answered after, %", kind="percent"),
        "steps": Column(title="steps", kind="number"),
        "sampled_tokens": Column(title="tokens sampled", kind="number"),
        "training_tokens": Column(title="tokens trained on", kind="number"),
        "seconds": Column(title="seconds", kind="number"),
    }
    note = "Every finished run by itself, and what was done without RL; audits are not among the tokens."
    return Section(title="Runs", note=note, columns=_filled(columns, rows := table(comparison)), rows=rows)


def left_out(comparison: Comparison) -> Section:
    """Runs that no number of the page is of."""
    return Section(
        title="Left out",
        note="Not finished, so in no number, no figure and no claim of this page.",
        columns={"run": Column(title="run"), "status": Column(title="status")},
        rows=[{"run": each.name, "status": each.status} for each in comparison.unfinished],
    )


def _filled(columns: Mapping[str, Column], rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Without columns in which no row has anything."""
    return {key: column for key, column in columns.items() if any(row.get(key) is not None for row in rows)}


# --- figures ----------------------------------------------------------------------------------------------------------


def learning_curves(arms: Sequence[Arm]) -> Chart:
    """Held-out pass@1 over steps, and over tokens, time and dollars where every run tells them."""
    points = [[{point.step: point for point in curve(run)} for run in arm.runs] for arm in arms]
    every = [point for of_arm in points for by_step in of_arm for point in by_step.values()]
    axes = {label: of for label, of in COSTS.items() if all(of(point) is not None for point in every)}
    series = [
        Series(
            name=arm.label,
            look=look,
            points=_curve(of_arm, axes.values()),
            band=True,
            dashed=arm.runs[0].manifest.control_of is not None,
        )
        for look, (arm, of_arm) in enumerate(zip(arms, points, strict=True))
    ]
    note = "Bands: 95% intervals over problems; one seed each."
    if any(arm.seeds > 1 for arm in arms):
        note = "Bands: the range over seeds; with one seed its 95% interval over problems."
    if any(one.dashed for one in series):
        note += " Dashed: controls, whose reward is not the right answer."
    unpriced = {price_of(run)[1] for arm in arms for run in arm.runs} - {""}
    if unpriced:
        note += f" Not by dollars: {'; '.join(sorted(unpriced))}."
    return Chart(
        title="Held-out pass@1 during training",
        note=note,
        x=[Axis(label=label, low=0) for label in axes],
        y=PASS_1,
        panels={"": series},
    )


def start_and_end(arms: Sequence[Arm]) -> Chart:
    """Pass@1 before and after, an arm a line, with intervals."""
    series = []
    for look, arm in enumerate(arms):
        aside = 0.03 * (look - (len(arms) - 1) / 2)  # so that intervals at one height can be told apart
        gain = f"gain {100 * arm.gain.value:+.1f} points [{100 * arm.gain.low:+.1f}, {100 * arm.gain.high:+.1f}]"
        pairs = enumerate((arm.before[1], arm.after[1]))
        points = [{"x": [at + aside], **_in_percent(estimate), "note": gain} for at, estimate in pairs]
        control = arm.runs[0].manifest.control_of is not None
        series.append(Series(name=arm.label, look=look, points=points, dashed=control))
    return Chart(
        title="Where each arm started and ended",
        note="Bars: 95% intervals over problems, seeds averaged. Arms stand a little apart so that none hides another.",
        x=[Axis(label="", low=-0.4, high=1.4, ticks=[(0, "before training"), (1, "after training")])],
        y=PASS_1,
        panels={"": series},
    )


def pass_at_k(arms: Sequence[Arm]) -> Chart:
    """A panel an arm: pass@k before and after."""
    panels = {}
    for look, arm in enumerate(arms):
        panels[arm.label] = [
            Series(
                name=name,
                look=look,
                points=[{"x": [k], **_in_percent(estimate)} for k, estimate in passes.items()],
                band=True,
                dashed=name == "before training",
                hollow=name == "before training",
            )
            for name, passes in (("before training", arm.before), ("after training", arm.after))
        ]
    return Chart(
        title="Pass@k before and after training",
        note="Bands: 95% intervals over problems. What pass@k reached before training was in reach of sampling alone.",
        x=[Axis(label="k, samples per problem", log=True)],
        y=Axis(label="held-out pass@k, %", low=0, high=100),
        panels=panels,
    )


def forecasts(arms: Sequence[Arm]) -> list[Chart]:
    """The informative share that the audit forecast of step 1 against what training then logged; none where none is scored."""
    series, largest = [], 0.0
    for look, arm in enumerate(arms):
        points = []
        for run, each in zip(arm.runs, arm.forecasts, strict=True):
            if each is not None:
                share = {"y": 100 * each.observed, "low": 100 * each.low, "high": 100 * each.high}
                verdict = "inside its prediction interval" if each.held else "outside its prediction interval"
                note = f"seed {run.manifest.seed}: {verdict}; in brackets the interval"
                points.append({"x": [100 * each.expected.value], **share, "note": note})
                largest = max(largest, points[-1]["x"][0], share["y"], share["high"])
        if points:
            series.append(Series(name=arm.label, look=look, points=points, line=False))
    if not series:
        return []
    edge = min(100.0, 5 * math.ceil(1.05 * largest / 5) or 5.0)
    return [
        Chart(
            title="Informative groups at step 1: forecast against observed",
            note="Bars: where 95% of observed shares should fall. A point off its bar is a forecast that failed.",
            x=[Axis(label="forecast informative share, %", low=0, high=edge)],
            y=Axis(label="observed at step 1, %", low=0, high=edge),
            panels={"": series},
            diagonal=True,
        )
    ]


def _curve(
    by_seed: Sequence[Mapping[int, Point]], axes: Collection[Callable[[Point], float | None]]
) -> list[dict[str, Any]]:
    """At the steps that all seeds share: the mean over seeds with their range, or one seed with its interval."""
    points = []
    for step in sorted(set.intersection(*(set(seed) for seed in by_seed))):
        here = [seed[step] for seed in by_seed]
        rates = [each.pass_at_1 for each in here]
        values = [each.value for each in rates]
        low, high = (rates[0].low, rates[0].high) if len(rates) == 1 else (min(values), max(values))
        x = [float(np.mean([of(each) or 0.0 for each in here])) for of in axes]
        points.append({"x": x, "y": 100 * float(np.mean(values)), "low": 100 * low, "high": 100 * high})
    return points


def _in_percent(estimate: Estimate) -> dict[str, float]:
    return {"y": 100 * estimate.value, "low": 100 * estimate.low, "high": 100 * estimate.high}
