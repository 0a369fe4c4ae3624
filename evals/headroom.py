"""Gains that do not depend on how much room a base had: on the logit scale, and on problems of equal base pass rate.

A base at 90% cannot gain 20 points and one at 1% can hardly lose any, so gains in points rank bases by their room. Log odds
have no ceiling, and problems of one base pass rate have the same room whatever base they belong to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.compare import Arm, Comparison, rates, spread
from evals.estimate import Estimate, correlation_of_means, difference_interval, paired_difference
from evals.runs import SavedAudit

BINS = ("0%", "0 to 25%", "25 to 50%", "50 to 75%", "75 to 100%", "100%")
"""Of a base's pass rate in one half of its samples: the ends 0 and 100% for themselves, quarters open at the right."""


# --- logit scale ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitGain:
    """Log odds of pass@1 after less before, natural logarithm.

    At 0 and 100% log odds are whatever the correction makes them. `gain` adds half an answer to the right and to the wrong
    ones of one audit (Haldane-Anscombe); `jeffreys` takes the posterior mean of the log odds under Jeffreys' prior.
    The interval is that of the two rates, on the logit scale and joined with their correlation; it needs no correction,
    and is infinite where a rate of 0 or 1 is inside. Then, and where the two values differ by more than a tenth, the
    number says more about the correction than about the model: of none right before or after it is the log of the ratio
    of the sample counts.
    """

    gain: Estimate
    jeffreys: float

    @property
    def rests_on_the_correction(self) -> bool:
        endless = not (math.isfinite(self.gain.low) and math.isfinite(self.gain.high))
        return endless or abs(self.gain.value - self.jeffreys) > 0.1


def logit_gain(arm: Arm) -> LogitGain:
    """Seeds are averaged as rates, before the logarithm."""
    from scipy.special import digamma, logit  # 0.3 s to import

    ends = [[run.start for run in arm.runs], [run.end for run in arm.runs]]
    before, after = (rates(audits, 1) for audits in ends)
    half, jeffreys = [], []
    for audits, passed in zip(ends, (before, after), strict=True):
        answers = np.mean([audit.samples.sum() for audit in audits])
        right, wrong = passed.mean() * answers + 0.5, (1 - passed.mean()) * answers + 0.5
        half.append(float(np.log(right / wrong)))
        jeffreys.append(float(digamma(right) - digamma(wrong)))
    limits = [(value, float(logit(e.low)), float(logit(e.high))) for value, e in zip(half, _ends(arm), strict=True)]
    together = correlation_of_means(before, after, same=arm.runs[0].start.questions)
    low, high = difference_interval(limits[1], limits[0], correlation=together)
    gain = Estimate(value=half[1] - half[0], low=low, high=high, n=arm.gain.n)
    return LogitGain(gain=gain, jeffreys=jeffreys[1] - jeffreys[0])


def _ends(arm: Arm) -> tuple[Estimate, Estimate]:
    return arm.before[1], arm.after[1]


def logit_gains(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per arm. `inf` is an interval without an end: a rate of 0 or 1 is inside."""
    found = [(arm, logit_gain(arm)) for arm in comparison.arms]
    return [
        {
            "arm": arm.label,
            "seeds": arm.seeds,
            "problems": each.gain.n,
            **spread("logit_gain", each.gain),
            "logit_gain_jeffreys": round(each.jeffreys, 6),
            "rests_on_the_correction": each.rests_on_the_correction,
        }
        for arm, each in found
    ]


# --- matched problems -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Problems of one base pass rate, told from one half of the base's samples and measured by the other.

    A problem that was lucky in the samples that chose it is not lucky again in others, so what training did not change
    shows no gain. `naive` is the gain that the choosing half itself would show. Every split into halves is counted, so a
    problem falls into several bins by chance and counts in each by that chance.
    """

    bin: str
    problems: float
    """Sum of those chances, averaged over seeds."""
    base: float
    end: float
    gain: Estimate
    naive: float


def matched(arm: Arm, half: int) -> list[Matched]:
    """The bins that hold one problem and more, by `half` samples of each problem, of twice as many or more.

    Every seed's problems are observations of their own, clustered by what they ask.
    """
    parts = [_by_bin(run.start, half) for run in arm.runs]
    after = np.concatenate([run.end.correct / run.end.samples for run in arm.runs])
    same = np.array([question for run in arm.runs for question in run.start.questions])
    chance_BO, chosen_BO, other_BO = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    found = []
    for name, chance, chosen, other in zip(BINS, chance_BO, chosen_BO, other_BO, strict=True):
        inside = chance > 0
        if chance.sum() < arm.seeds:
            continue
        weights, end, base = chance[inside], after[inside], other[inside] / chance[inside]
        found.append(
            Matched(
                bin=name,
                problems=float(weights.sum()) / arm.seeds,
                base=float(np.average(base, weights=weights)),
                end=float(np.average(end, weights=weights)),
                gain=paired_difference(base, end, same=list(same[inside]), weights=weights),
                naive=float(np.average(end - chosen[inside] / weights, weights=weights)),
            )
        )
    return found


def _by_bin(audit: SavedAudit, half: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B = bins, P = problems, H = right samples in the choosing half: the chance of a bin, and times that chance the mean
    pass rate in the choosing half and in the rest."""
    from scipy.stats import hypergeom  # 0.7 s to import

    right_H = np.arange(half + 1)
    chance_HP = hypergeom.pmf(right_H[:, None], audit.samples, audit.correct, half)
    rest_HP = (audit.correct - right_H[:, None]) / (audit.samples - half)
    bin_H = np.where(right_H == half, len(BINS) - 1, np.where(right_H == 0, 0, 1 + 4 * right_H // half))
    in_BH = bin_H == np.arange(len(BINS))[:, None]
    return in_BH @ chance_HP, in_BH @ (chance_HP * right_H[:, None] / half), in_BH @ (chance_HP * rest_HP)


def matched_gains(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per bin and arm, bin by bin, so that bases stand together where they had equal room; none for one sample.

    All arms are binned by equally many samples, half of what the smallest audit before training has.
    """
    half = min(int(run.start.samples.min()) for arm in comparison.arms for run in arm.runs) // 2
    if not half:
        return []
    found = [(arm, each) for arm in comparison.arms for each in matched(arm, half)]
    found.sort(key=lambda pair: BINS.index(pair[1].bin))
    return [
        {
            "base_pass_rate": each.bin,
            "arm": arm.label,
            "seeds": arm.seeds,
            "problems": round(each.problems, 2),
            "samples_that_choose": half,
            "start": round(each.base, 6),
            "end": round(each.end, 6),
            **spread("gain", each.gain),
            "gain_if_chosen_and_measured_by_the_same_samples": round(each.naive, 6),
        }
        for arm, each in found
    ]
