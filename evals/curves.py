"""Held-out pass@1 against what it took: optimizer steps, tokens sampled and trained on, wall time, dollars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from configs.schema import Price
from evals.compare import Comparison, spread
from evals.cost import HOUR, device_of
from evals.estimate import Estimate
from evals.runs import THROWN, Run, iterations, tokens_by_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Held-out pass@1 after `step` optimizer steps, and what the run had used by then. None is what was not kept."""

    step: int
    pass_at_1: Estimate
    sampled_tokens: int | None
    """Of completions drawn to train on; audits draw their own."""
    training_tokens: int | None
    """Of prompts and completions drawn by then, as TRL counts them (`num_tokens`), less what resampling threw away, as
    often as the optimizer reads each (`num_iterations`): as `evals.runs.spent` counts them."""
    seconds: float | None
    """Wall time of the whole run, its audits included; 0 at step 0."""
    usd: Price | None


def curve(run: Run) -> list[Point]:
    """The run's held-out measurements in order of steps."""
    logged = {0: {"num_tokens": 0, "seconds": 0.0}} | {row["step"]: row for row in run.metrics if "step" in row}
    drawn = tokens_by_step(run.folder)
    price, _ = price_of(run)
    gpus = len(run.manifest.hardware.get("gpus", ()))
    times = iterations(run.manifest.settings)
    points = []
    for measured in sorted(run.heldout, key=lambda row: row.step):
        row = logged.get(measured.step, {})
        seconds, tokens = row.get("seconds"), row.get("num_tokens")
        thrown = sum(one.get(THROWN, 0) for step, one in logged.items() if step <= measured.step)
        hours = None if seconds is None else gpus * seconds / HOUR
        points.append(
            Point(
                step=measured.step,
                pass_at_1=measured.pass_at_1,
                sampled_tokens=sum(each for step, (_, each) in drawn.items() if step <= measured.step)
                if drawn
                else None,
                training_tokens=None if tokens is None else round(times * (tokens - thrown)),
                seconds=seconds,
                usd=Price(low=price.low * hours, high=price.high * hours) if price and hours is not None else None,
            )
        )
    return points


def price_of(run: Run) -> tuple[Price | None, str]:
    """Dollars an hour of one of the run's devices, or why none is known."""
    gpus = run.manifest.hardware.get("gpus", ())
    if not gpus:
        return None, "no price is known for a CPU"
    device = device_of(gpus)
    if device is None:
        return None, f"no price is known for {', '.join(sorted(set(gpus)))}; describe it in configs/devices"
    return device.usd_per_hour, ""


def curves(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per run and measurement, controls among them; an empty cell is what was not kept, or has no price."""
    return [
        {
            "run": run.manifest.run,
            "arm": single.label,
            "base": run.manifest.base,
            "recipe": run.manifest.recipe,
            "control_of": run.manifest.control_of,
            "seed": run.manifest.seed,
            "step": point.step,
            "sampled_tokens": point.sampled_tokens,
            "training_tokens": point.training_tokens,
            "seconds": point.seconds,
            "usd_low": point.usd and round(point.usd.low, 4),
            "usd_high": point.usd and round(point.usd.high, 4),
            "usd_unknown": price_of(run)[1],
            **spread("pass_at_1", point.pass_at_1),
        }
        for single in comparison.singles
        for run in single.runs
        for point in curve(run)
    ]
