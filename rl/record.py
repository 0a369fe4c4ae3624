"""What a run writes as it goes: metrics a step at a time, seconds by kind of work; and what of it is whole after a kill."""

from __future__ import annotations

import json
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tqdm import tqdm
from transformers import TrainerCallback

from rl.plan import Plan
from rl.utilization import Utilization

SILENT_STEPS = 10
"""With 32 groups a step, ten such steps in a row happen by chance to 1 in 20 runs when 0.94% of groups are informative."""

KINDS = ("rollout", "grading", "sync", "audit")
"""Kinds of work that the clock is told of while training goes on."""


class Clock:
    """Seconds by kind of work, summed over a run and over its resumes; `spent` is what went before this process."""

    def __init__(self, split: dict[str, float], spent: float = 0.0) -> None:
        self.split = split
        self.began = time.perf_counter() - spent

    def seconds(self) -> float:
        """Wall time of the whole run so far."""
        return time.perf_counter() - self.began

    def add(self, kind: str, began: float) -> None:
        self.split[kind] = round(self.split.get(kind, 0.0) + time.perf_counter() - began, 3)


class Pace:
    """Seconds of each step by kind of work. `update` is what the clock was not told of: passes, optimizer, checkpoints.

    `mfu` is there where the device is known; audits, which are no part of training, are left out of it.
    """

    def __init__(self, clock: Clock, utilization: Utilization | None) -> None:
        self.clock, self.utilization = clock, utilization
        self.before: dict[str, float] = {}

    def begin(self) -> None:
        """From here on the first step counts."""
        self.before = {"all": self.clock.seconds(), **self.clock.split}

    def of(self, step: int) -> dict[str, float]:
        """What went since the step before, and `seconds`, the wall time of the whole run."""
        past = self.before
        self.begin()
        whole, *parts = (self.before.get(kind, 0.0) - past.get(kind, 0.0) for kind in ("all", *KINDS))
        took = {"update": whole - sum(parts), **dict(zip(KINDS, parts, strict=True))}
        told = {f"{kind}_seconds": round(seconds, 3) for kind, seconds in took.items() if seconds}
        told["seconds"] = round(self.before["all"], 2)
        if self.utilization:
            told["mfu"] = self.utilization.of(step, whole - took["audit"])
        return told


class Record(TrainerCallback):
    """Writes metrics.jsonl a step at a time and measures held-out pass@1 while training goes on."""

    def __init__(self, plan: Plan, measure: Callable[[int], None]) -> None:
        self.plan, self.measure = plan, measure
        self.path = plan.out / "metrics.jsonl"
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=f"{self.plan.base} {self.plan.recipe.name}",
            unit="step",
            disable=not state.is_world_process_zero,
            mininterval=1,
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.close()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if state.is_world_process_zero and logs and "reward" in logs:
            numbers = {key: value for key, value in logs.items() if isinstance(value, int | float)}
            append_jsonl(self.path, {"step": state.global_step, **numbers})
            self.bar.set_postfix_str(f"reward {logs['reward']:.3f}, informative {1 - logs['frac_reward_zero_std']:.0%}")
            self.bar.update()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        every = self.plan.recipe.audit.every
        if every and state.global_step % every == 0 and state.global_step < state.max_steps:
            self.measure(state.global_step)


class Silence(TrainerCallback):
    """Warns once when `SILENT_STEPS` steps in a row had no informative group: such steps cost as much and teach nothing."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.steps = plan, 0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "frac_reward_zero_std" not in logs:
            return
        self.steps = self.steps + 1 if logs["frac_reward_zero_std"] >= 1 else 0
        if state.is_world_process_zero and self.steps == SILENT_STEPS:
            print(self.warning(state.global_step, logs["reward"]), file=sys.stderr)

    def warning(self, step: int, reward: float) -> str:
        """What was forecast, and what to change for groups that are all wrong or all right."""
        audit = json.loads((self.plan.out / "audit-signal.json").read_text(encoding="utf-8"))
        forecast = audit["forecast"].get(str(self.plan.group_size))
        expected = f"{forecast['value']:.1%} [{forecast['low']:.1%}, {forecast['high']:.1%}]" if forecast else "unknown"
        if reward > 0.5:
            change = "every group is paid alike for being right: choose a harder --suite"
        else:
            change = (
                f"no group is paid: choose an easier --suite, --set grpo.num_generations={2 * self.plan.group_size} or "
                "--set sampler=posterior, or audit the base under other templates (scripts/audit.py --template all)"
            )
        return (
            f"warning: no informative group in {SILENT_STEPS} steps up to step {step}, where the audit before training "
            f"forecast a share of {expected}: {change}"
        )


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Add one line to a JSON Lines file."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file, up to a line that was cut short; none where there is no file."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def cut_jsonl(path: Path, step: int) -> None:
    """Drop the rows of steps beyond `step`, and a last line that was cut short."""
    if path.is_file():
        kept = [json.dumps(row) + "\n" for row in read_jsonl(path) if row["step"] <= step]
        whole = path.with_name(f".{path.name}")
        whole.write_text("".join(kept), encoding="utf-8")
        whole.replace(path)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole; that a newer one is not is said on stderr."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        if broken := _broken(path):
            print(f"note: {path} is left out: {broken} was not written whole", file=sys.stderr)
        else:
            return path
    return None


def _broken(checkpoint: Path) -> str | None:
    """The first file that was cut short: trainer state, which is written last, or weights and optimizer, by their framing.

    Of spread weights in folders of their own nothing is looked at.
    """
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return "trainer_state.json"
    for path in sorted(checkpoint.glob("*.safetensors")):
        try:
            with safe_open(str(path), framework="np"):
                pass
        except SafetensorError:
            return path.name
    packed = (path for pattern in ("*.pt", "*.pth", "*.bin") for path in sorted(checkpoint.glob(pattern)))
    return next((path.name for path in packed if not zipfile.is_zipfile(path)), None)
