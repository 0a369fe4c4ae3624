"""When a budget of tokens or hours is reached; whole runs under one are in test_train.py."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from test_plan import plan_of

from configs.errors import UsageError
from rl.budget import Limit
from rl.record import Clock


def test_a_budget_is_reached_at_it_and_not_below() -> None:
    clock = Clock({}, spent=7200.0)
    bound = dataclasses.replace(plan_of(), budget_tokens=100)
    assert [Limit(bound, clock).reached(tokens) for tokens in (99, 100, 101)] == [False, True, True]
    for hours, late in ((1.99, True), (2.5, False)):
        limit = Limit(dataclasses.replace(plan_of(), budget_hours=hours), clock)
        control = SimpleNamespace(should_training_stop=False, should_save=False)
        limit.on_step_end(None, SimpleNamespace(global_step=1, max_steps=9, num_input_tokens_seen=5), control)
        assert (control.should_training_stop, control.should_save, limit.reason == "hours") == (late, late, late)
    last = SimpleNamespace(global_step=9, max_steps=9, num_input_tokens_seen=500)
    whole = Limit(bound, clock)
    whole.on_step_end(None, last, SimpleNamespace())
    assert whole.reason is None  # it took all its steps


def test_a_budget_of_nothing_is_refused_and_another_budget_is_another_run() -> None:
    nothing: list[dict[str, Any]] = [{"budget_tokens": 0}, {"budget_hours": -1.0}]
    for changes in nothing:
        with pytest.raises(UsageError, match=r"--budget-(tokens|hours) must be more than 0"):
            dataclasses.replace(plan_of(), **changes).check()
    assert dataclasses.replace(plan_of(), budget_tokens=5).settings() != plan_of().settings()
