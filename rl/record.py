"""What a run writes as it goes: metrics a step at a time, seconds by kind of work; and what of it is whole after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from rl.plan import Plan


class Clock:
    """Seconds by kind of work, summed over a run and over its resumes."""

    def __init__(self, split: dict[str, float]) -> None:
        self.split = split

    def add(self, kind: str, began: float) -> None:
        self.split[kind] = round(self.split.get(kind, 0.0) + time.perf_counter() - began, 3)


class Record(TrainerCallback):
    """Writes metrics.jsonl a step at a time and measures held-out pass@1 while training goes on."""

    def __init__(self, plan: Plan, clock: Clock, measure: Callable[[int], None]) -> None:
        self.plan, self.clock, self.measure = plan, clock, measure
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
        if (
            state.is_world_process_zero
            and every
            and state.global_step % every == 0
            and state.global_step < state.max_steps
        ):
            self.measure(state.global_step)


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Add one line to a JSON Lines file."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def cut_jsonl(path: Path, step: int) -> None:
    """Drop the rows of steps beyond `step`, and a last line that was cut short."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if row["step"] <= step:
            kept.append(line + "\n")
    path.write_text("".join(kept), encoding="utf-8")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole: its trainer state, the last file written, can be read."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            continue
        return path
    return None
