"""Run folders with known fates, written as a training run would write them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evals.estimate import Estimate, mean_over_problems
from evals.forecast import forecast
from evals.passk import pass_at_k, powers_of_two
from evals.rollouts import SCHEMA

STEPS, EVERY, SAMPLES, GROUP_SIZE, GROUPS = 80, 8, 64, 16, 32


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What happens to one base: mean pass rates on both ends, and the middle step of a logistic rise between them."""

    base: str
    start: float
    end: float
    middle: int = 30
    spread: float = 1.0  # sum of the Beta's parameters: small means few problems hold all the mass
    signal: float | None = None  # mean pass rate on training problems, where it is not `start`
    recipe: str = "tiny"
    control_of: str | None = None


LATENT = Fate(base="tiny-latent", start=0.0, end=0.94, middle=34, signal=0.004)
WORKED = Fate(base="tiny-worked", start=0.006, end=0.96, middle=18)
BLANK = Fate(base="tiny-blank", start=0.0005, end=0.003)
SILENT = Fate(base="tiny-silent", start=0.0, end=0.0)
TINY = (LATENT, WORKED, BLANK, SILENT)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What one run folder says differently from the others."""

    manifest: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)


def write_run(root: Path, fate: Fate, seed: int = 0, *, problems: int = 128, changes: Changes | None = None) -> Path:
    """One finished run in root/<base>-s<seed>. Seeds share the start audit, as one base is audited once."""
    changes = changes or Changes()
    folder = root / f"{fate.base}-{fate.recipe}-s{seed}"
    folder.mkdir(parents=True)
    rng, start_rng = np.random.default_rng([seed, len(fate.base)]), np.random.default_rng(len(fate.base))
    signal = _rates(fate.start if fate.signal is None else fate.signal, fate.spread, problems, start_rng)
    suite = {"name": "sums-test", "fingerprint": "aaaa"}
    train_suite = {"name": "sums-train", "fingerprint": "bbbb"}
    start = start_rng.binomial(SAMPLES, _rates(fate.start, fate.spread, problems, start_rng))
    end = rng.binomial(SAMPLES, _rates(fate.end, 5.0, problems, rng))
    _write(folder / "audit-start.json", _audit(fate, start, 0, suite) | changes.audit)
    _write(folder / "audit-end.json", _audit(fate, end, STEPS, suite) | changes.audit)
    _write(folder / "audit-signal.json", _audit(fate, start_rng.binomial(SAMPLES, signal), 0, train_suite))
    groups = rng.binomial(GROUP_SIZE, rng.choice(signal, GROUPS))
    silent = float(np.mean((groups == 0) | (groups == GROUP_SIZE)))
    metrics = [
        {
            "step": step,
            "reward": 0.1,
            "accuracy": float(rng.binomial(GROUPS * GROUP_SIZE, _rate(fate, step, seed)) / (GROUPS * GROUP_SIZE)),
            "frac_reward_zero_std": silent if step == 1 else 0.5,
            "entropy": 1.0,
        }
        for step in range(1, STEPS + 1)
    ]
    _write_lines(folder / "metrics.jsonl", metrics)
    _write_lines(
        folder / "heldout.jsonl",
        [{"step": step, "pass_at_1": _held_out(fate, step, seed, rng)} for step in range(0, STEPS + 1, EVERY)],
    )
    _write(
        folder / "manifest.json",
        {
            "run": folder.name,
            "kind": "grpo",
            "status": "finished",
            "base": fate.base,
            "recipe": fate.recipe,
            "control_of": fate.control_of,
            "seed": seed,
            "template": "qa",
            "suite": suite,
            "train_suite": train_suite,
            "sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": 64},
            "verifier": "1",
            "group_size": GROUP_SIZE,
            "groups_per_step": GROUPS,
            "seconds": 90.0 + seed,
            "split": {"audit": 10.0, "rollout": 50.0, "update": 30.0},
            "commit": "0" * 40,
        }
        | changes.manifest,
    )
    return folder


def write_counts(
    root: Path, before: list[int], after: list[int], *, samples: int, fate: Fate | None = None, seed: int = 0
) -> Path:
    """A finished run whose problems had these right samples before and after."""
    fate = fate or Fate(base="made", start=0.1, end=0.1)
    folder = write_run(root, fate, seed, problems=8)
    for name, counts, step in (("start", before, 0), ("end", after, STEPS)):
        suite = {"name": "sums-test", "fingerprint": "aaaa"}
        _write(folder / f"audit-{name}.json", _audit(fate, np.array(counts), step, suite, samples))
    return folder


def _rates(mean: float, spread: float, problems: int, rng: np.random.Generator) -> np.ndarray:
    return np.full(problems, mean) if mean in (0, 1) else rng.beta(mean * spread, (1 - mean) * spread, problems)


def _rate(fate: Fate, step: int, seed: int) -> float:
    return fate.start + (fate.end - fate.start) / (1 + np.exp(-(step - fate.middle - 3 * seed) / 4))


def _held_out(fate: Fate, step: int, seed: int, rng: np.random.Generator) -> dict[str, Any]:
    return mean_over_problems(rng.binomial(8, _rate(fate, step, seed), 64) / 8).to_json()


def _audit(fate: Fate, correct: np.ndarray, step: int, suite: dict[str, str], drawn: int = SAMPLES) -> dict[str, Any]:
    samples = np.full(correct.size, drawn)
    curve = _json({k: mean_over_problems(pass_at_k(correct, samples, k)) for k in powers_of_two(drawn)})
    rate = mean_over_problems(np.full(correct.size, 0.9)).to_json()
    return {
        "base": fate.base,
        "step": step,
        "suite": suite | {"problems": correct.size, "bad_gold": []},
        "template": "qa",
        "reading": "strict",
        "verifier": "1",
        "sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": 64, "samples": drawn, "seed": 7},
        "pass_at_k": {"read": curve, "lenient": curve},
        "maj_at_k": curve,
        "status": {"graded": int(samples.sum()), "no_answer": 0},
        "stop_rate": rate,
        "truncation_rate": rate,
        "answer_rate": rate,
        "completion_tokens": {"mean": 20.0, "median": 19.0, "p95": 40.0, "max": 64},
        "forecast": _json(forecast(correct, samples)),
        "problems": [
            {"id": f"{suite['name']}/{index:05d}", "samples": drawn, "correct": int(each), "lenient": int(each)}
            for index, each in enumerate(correct)
        ],
    }


def _json(estimates: dict[int, Estimate]) -> dict[str, Any]:
    return {str(k): each.to_json() for k, each in estimates.items()}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_training(folder: Path, rollouts: int) -> None:
    """Kept training rollouts as a run leaves them, each with a text of some 200 letters, in parts of 4,096 rows."""
    rng = np.random.default_rng(0)
    store = folder / "rollouts" / "train"
    store.mkdir(parents=True)
    for number, first in enumerate(range(0, rollouts, 4096)):
        place = np.arange(first, min(first + 4096, rollouts))
        drawn = rng.integers(20, 80, place.size)
        columns = {
            "problem_id": (place // GROUP_SIZE % 500).astype(str),
            "sample": place % GROUP_SIZE,
            "completion": [f"{'so it is ' * 20}{n}" for n in place],
            "prompt_tokens": np.full(place.size, 30),
            "completion_tokens": drawn,
            "correct": drawn > 50,
            "step": 1 + place * STEPS // rollouts,
        }
        arrays = [
            pa.array(columns[name], type=kind) if name in columns else pa.nulls(place.size, kind)
            for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)
        ]
        pq.write_table(pa.table(arrays, schema=SCHEMA), store / f"part-{number:06d}.parquet", compression="zstd")
    path = folder / "manifest.json"
    _write(path, json.loads(path.read_text()) | {"settings": {"recipe": {"grpo": {}}}})
