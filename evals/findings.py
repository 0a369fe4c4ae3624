"""What a comparison found, as one paragraph computed from the runs: no clause that the data did not decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import eq, lt
from statistics import median

from evals.compare import (
    CHOOSING,
    TAKE_OFF,
    TAKE_OFF_STEPS,
    Arm,
    Comparison,
    ahead,
    by_settings,
    ended,
    predictors,
)
from evals.crossing import crossing
from evals.estimate import Estimate
from evals.race import FEWEST, race, verdict


def findings(comparison: Comparison) -> str:
    """Fates, what told them apart beforehand, gains, the record of the forecasts, and what the intervals leave out."""
    arms = comparison.arms
    paid = [arm for arm in arms if not arm.runs[0].manifest.control_of]  # a coin's outcome is not foretold
    clauses = [
        _scope(comparison),
        *_fates(arms),
        *_order(arms),
        *_separation(paid),
        *_gains(arms),
        *_foretold(comparison, paid),
        *_crossings(arms),
        *_forecast_record(comparison.singles),
        *_baselines(comparison),
        _coverage(arms),
    ]
    return " ".join(clauses)


def _scope(comparison: Comparison) -> str:
    arms, runs = comparison.arms, comparison.singles
    seeds = sorted({arm.seeds for arm in arms})
    per_arm = _count(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    steps = sorted({single.steps for single in runs})
    told = str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    text = f"{_count(len(arms), _noun(arms))}, {per_arm}{' each' if len(arms) > 1 else ''}, {told} steps"
    if comparison.unfinished:
        text += f" (left out: {_join(f'{each.name}, {each.status}' for each in comparison.unfinished)})"
    return text + "."


def _fates(arms: Sequence[Arm]) -> list[str]:
    """Sentences on who was above the line at the start, who crossed it and when, and who never did."""
    line = f"{TAKE_OFF:.0%} training accuracy over {TAKE_OFF_STEPS} steps"
    if any(run.manifest.sampler in CHOOSING for arm in arms for run in arm.runs):
        line += ", or held-out pass@1 where a sampler chose the problems"
    above = [arm for arm in arms if _started_above(arm)]
    rest = [arm for arm in arms if not _started_above(arm)]
    rose, mixed, never = _by_fate(rest)
    sentences = []
    if above:
        verb = "was" if len(above) == 1 else "were"
        names = _join(arm.label for arm in above)
        sentences.append(
            f"{names} {verb} at {TAKE_OFF:.0%} held-out pass@1 or more before training, so had no take-off."
        )
    if rose:
        sentences.append(f"{_join(f'{arm.label} ({_when(arm)})' for arm in rose)} took off (reached {line}).")
    sentences += [f"{arm.label} took off in {arm.took_off} of {arm.seeds} seeds ({_when(arm)})." for arm in mixed]
    if never:
        reached = f"; it ended at {_percent(never[0].after[1])}" if len(never) == 1 else ""
        sentences.append(f"{_join(arm.label for arm in never)} never took off{reached}.")
    return sentences


def _order(arms: Sequence[Arm]) -> list[str]:
    """Neighbours by median take-off, compared seed by seed: tiny bases of one seed share what they were made from."""
    rose = [arm for arm in arms if arm.took_off == arm.seeds and not _started_above(arm)]
    rose.sort(key=lambda arm: median(_steps(arm).values()))
    clauses = []
    for early, late in pairwise(rose):
        first, second = _steps(early), _steps(late)
        shared = sorted(first.keys() & second.keys())
        if shared:
            before, tied = (sum(how(first[s], second[s]) for s in shared) for how in (lt, eq))
            clause = f"{early.label} took off before {late.label} in {before} of {_count(len(shared), 'seed')}"
            clauses.append(clause + (f" (tied in {tied})" if tied else ""))
    return [f"Seed by seed, {_join(clauses)}."] if clauses else []


def _steps(arm: Arm) -> dict[int, int]:
    """Step of take-off by training seed, of the seeds that took off."""
    pairs = zip(arm.runs, arm.take_offs, strict=True)
    return {run.manifest.seed: step for run, step in pairs if step is not None}


def _separation(arms: Sequence[Arm]) -> list[str]:
    """Whether each measurement before training was higher in every arm that took off than in every one that did not."""
    rose, _, never = _by_fate([arm for arm in arms if not _started_above(arm)])
    if not rose or not never:
        return ["What foretells take-off cannot be judged: both fates are needed."] if len(arms) > 1 else []
    verdicts = []
    for predictor in predictors(arms):
        high, low = [predictor.of(arm) for arm in rose], [predictor.of(arm) for arm in never]
        verdicts.append(f"{predictor.name} {_verdict(high, low)} ({_range(high)} against {_range(low)})")
    return [f"Before training, {'; '.join(verdicts)}."]


def _verdict(rose: Sequence[Estimate], never: Sequence[Estimate]) -> str:
    if min(each.low for each in rose) > max(each.high for each in never):
        return "told the two fates apart"
    if min(each.value for each in rose) > max(each.value for each in never):
        return "ranked the two fates right, but with overlapping intervals"
    if max(each.value for each in rose) < min(each.value for each in never):
        return "ranked the two fates the wrong way round"
    return "did not tell the two fates apart"


def _gains(arms: Sequence[Arm]) -> list[str]:
    """Which gains have intervals above, across or below zero."""
    sentences = []
    up = [arm for arm in arms if arm.gain.low > 0]
    down = [arm for arm in arms if arm.gain.high < 0]
    flat = [arm for arm in arms if arm.gain.low <= 0 <= arm.gain.high]
    for group, verb in ((up, "gained"), (down, "lost")):
        if group:
            sentences.append(f"{_join(f'{arm.label} {verb} {_points(arm.gain, verb)}' for arm in group)}.")
    if flat:
        plural = "s" if len(flat) > 1 else ""
        sentences.append(f"The gain{plural} of {_join(arm.label for arm in flat)} cannot be told from zero.")
    return sentences


def _foretold(comparison: Comparison, arms: Sequence[Arm]) -> list[str]:
    """What ranked the bases as their gains did, recipe by recipe, where there are bases enough to say something."""
    runners = race(replace(comparison, arms=tuple(arms)))
    told = verdict([one for one in runners if one.outcome == "gain" and one.bases >= FEWEST])
    return [f"The strongest rank correlation with what was measured before: {' '.join(told)}"] if told else []


def _crossings(arms: Sequence[Arm]) -> list[str]:
    """At most a sentence: whose base overtakes it at larger k, and who stays ahead as far as samples go, beyond noise."""
    found = [(arm, crossing(arm)) for arm in arms]
    passed = [f"{arm.label} from k = {each.behind_from}" for arm, each in found if each.ahead_to and each.behind_from]
    ahead = [(arm, each) for arm, each in found if each.at is None and each.ahead_to == max(each.lead) > 1]
    clauses = [f"the base overtakes {_join(passed)}"] if passed else []
    if ahead:
        ends = sorted({max(each.lead) for _, each in ahead})
        told = f"k = {ends[0]}" if len(ends) == 1 else f"k = {ends[0]} to {ends[-1]}"
        stay = "stays ahead of its base" if len(ahead) == 1 else "stay ahead of their bases"
        clauses.append(f"{_join(arm.label for arm, _ in ahead)} {stay} up to {told}, the largest tested")
    return [f"In pass@k, beyond noise at that k, {'; '.join(clauses)}."] if clauses else []


def _forecast_record(singles: Sequence[Arm]) -> list[str]:
    scored = [(single, each) for single in singles for each in single.forecasts if each]
    if not scored:
        about = [run.manifest for single in singles for run in single.runs]
        asked = [each for each in about if not each.control_of and each.sampler == "uniform"]
        reasons = ["is a control, whose reward no audit foretells"] * any(each.control_of for each in about)
        reasons += ["had a sampler choose its problems"] * any(
            each.sampler != "uniform" for each in about if not each.control_of
        )
        reasons += ["did not log step 1, or was audited with fewer samples than a group has"] * bool(asked)
        return [f"No forecast could be scored: every run {', or '.join(reasons)}."]
    missed = [single.runs[0].manifest.run for single, each in scored if not each.held]
    text = (
        f"The share of informative groups at step 1 fell inside its 95% prediction interval in "
        f"{len(scored) - len(missed)} of {_count(len(scored), 'run')}"
    )
    return [text + (f" (not in {_join(missed)})." if missed else ".")]


def _baselines(comparison: Comparison) -> list[str]:
    """Where each baseline ended and what it took, and how far RL from the same base and seeds ended from there."""
    told = []
    for group in by_settings(comparison.baselines):
        about = group[0].manifest
        seeds = f"{_count(len(group), 'seed')}, " if len(group) > 1 else ""
        tokens = [
            f"{sum(getattr(one.manifest.budget, name) for one in group) / len(group):,.0f} tokens {what}"
            for name, what in (("sampled_tokens", "sampled"), ("training_tokens", "trained on"))
        ]
        clause = f"{about.kind} from {about.base} ({seeds}{_join(tokens)}) ended at {_percent(ended(group))}"
        for arm in (arm for arm in comparison.arms if arm.runs[0].manifest.base == about.base):
            if lead := ahead(arm, group):
                clause += f", {arm.label} by GRPO {_lead(*lead, of=arm.seeds)}"
        told.append(clause)
    return [f"Without RL, {'; '.join(told)}."] if told else []


def _lead(gap: Estimate, seeds: Sequence[int], *, of: int) -> str:
    side = "above" if gap.value >= 0 else "below"
    sure = "" if gap.low > 0 or gap.high < 0 else ", which cannot be told from zero"
    shared = f" over {_count(len(seeds), 'shared seed')}" if of > 1 else ""
    return f"{100 * abs(gap.value):.1f} points {side} it{shared} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]{sure}"


def _coverage(arms: Sequence[Arm]) -> str:
    text = "Intervals are 95% over problems"
    if all(arm.seeds == 1 for arm in arms):
        return f"{text}; with one seed per {_noun(arms)}, how much another training seed would differ is unknown."
    spread = max(max(arm.gain_by_seed) - min(arm.gain_by_seed) for arm in arms)
    text += f"; they do not cover the training seed, over which gains differed by up to {100 * spread:.1f} points"
    single = [arm.label for arm in arms if arm.seeds == 1]
    return text + (f" ({_join(single)}: one seed only, spread unknown)." if single else ".")


def _started_above(arm: Arm) -> bool:
    return all(step == 0 for step in arm.take_offs)


def _by_fate(arms: Iterable[Arm]) -> tuple[list[Arm], list[Arm], list[Arm]]:
    """Arms whose seeds all took off, some did, and none did."""
    arms = list(arms)
    return (
        [arm for arm in arms if arm.took_off == arm.seeds],
        [arm for arm in arms if 0 < arm.took_off < arm.seeds],
        [arm for arm in arms if not arm.took_off],
    )


def _when(arm: Arm) -> str:
    steps = sorted(step for step in arm.take_offs if step is not None)
    return f"step {steps[0]}" if steps[0] == steps[-1] else f"steps {steps[0]} to {steps[-1]}"


def _noun(arms: Sequence[Arm]) -> str:
    """Arms are bases unless one base stands under several recipes or settings."""
    return "base" if len({arm.runs[0].manifest.base for arm in arms}) == len(arms) else "arm"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _join(parts: Iterable[str]) -> str:
    *firsts, last = parts
    return f"{', '.join(firsts)} and {last}" if firsts else last


def _percent(estimate: Estimate) -> str:
    return f"{_figures(estimate.value)}% [{_figures(estimate.low)}, {_figures(estimate.high)}]"


def _figures(rate: float) -> str:
    """Percent with one decimal, or two where one would hide a small rate."""
    return f"{100 * rate:.2f}" if 0 < rate < 0.001 else f"{100 * rate:.1f}"


def _points(gain: Estimate, verb: str) -> str:
    low, high = (gain.low, gain.high) if verb == "gained" else (-gain.high, -gain.low)
    return f"{100 * abs(gain.value):.1f} points [{100 * low:.1f}, {100 * high:.1f}]"


def _range(estimates: Sequence[Estimate]) -> str:
    low, high = min(each.value for each in estimates), max(each.value for each in estimates)
    return f"{_figures(low)}%" if low == high else f"{_figures(low)} to {_figures(high)}%"
