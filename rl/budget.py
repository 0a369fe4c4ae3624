"""Spending is bounded: training ends at the first step that reaches a budget of tokens or hours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from rl.plan import Plan
from rl.record import Clock

HOUR = 3600
Reason = Literal["tokens", "hours", "steps"]


class Limit(TrainerCallback):
    """Asks after every step whether the budget is spent. All processes decide alike.

    Tokens are those of every completion and of its prompt, over all processes, as TRL counts and checkpoints them: a
    resumed run ends where the undisturbed one does. Hours are the first process's, and what a killed run spent counts.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan, self.clock = plan, clock
        self.reason: Reason | None = None

    def reached(self, tokens: int) -> bool:
        """Whether to stop after `tokens`. With a budget of hours all processes must ask together."""
        if self.plan.budget_tokens is not None and tokens >= self.plan.budget_tokens:
            self.reason = "tokens"
        elif self.plan.budget_hours is not None:
            late: list[Any] = broadcast_object_list([self.clock.seconds() >= self.plan.budget_hours * HOUR])
            self.reason = "hours" if late[0] else None
        return self.reason is not None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step < state.max_steps and self.reached(state.num_input_tokens_seen):
            control.should_training_stop = control.should_save = True


def tokens_seen(checkpoint: Path) -> int:
    """Tokens that had been drawn to train on when a checkpoint was written, prompts included."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return int(state["num_input_tokens_seen"])
