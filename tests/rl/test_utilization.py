"""MFU of a step, by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from test_plan import plan_of

from configs.load import load_device
from configs.schema import Architecture
from evals.rollouts import RolloutStore
from rl.utilization import Utilization

# One layer of width 2, no heads worth speaking of: all weights that multiply are the MLP's 3 x 2 x 4, attention's and the head's.
SHAPE = Architecture(layers=1, hidden=2, intermediate=4, heads=1, kv_heads=1, head_dim=2, vocabulary=10, tied=True)
WEIGHTS = 3 * 2 * 4 + 4 * 2 * 2 + 2 * 10
PROMPT, NEW = 3, 5


def forward(length: int, start: int = 0) -> float:
    """2 a weight and token; 4 x heads x head_dim a pair of query and key."""
    pairs = sum(range(start + 1, length + 1))
    return 2 * WEIGHTS * (length - start) + 4 * 1 * 2 * pairs


def row(**changes: Any) -> dict[str, Any]:
    return {"problem_id": "p/0", "sample": 0, "prompt_tokens": PROMPT, "completion_tokens": NEW, "step": 1, **changes}


def test_a_steps_mfu_is_its_drawing_and_its_share_of_the_updates_over_what_the_gpus_could_do(tmp_path: Path) -> None:
    plan = plan_of(
        per_device_train_batch_size=1, steps_per_generation=2, num_generations=2, count=2, bf16=True, save_steps=2
    )
    plan = dataclasses.replace(plan, out=tmp_path)
    store = RolloutStore(tmp_path / "train")
    for rank in range(2):  # a group of two in each process: its prompt is run once
        store.write(f"000001-{rank}", [row(sample=2 * rank), row(sample=2 * rank + 1)])
    h100 = load_device("h100")
    found = Utilization(plan, SHAPE, h100, store)
    drawing = 4 * forward(PROMPT + NEW, PROMPT) + 2 * forward(PROMPT)
    scoring = 4 * forward(PROMPT + NEW)  # TRL scores anew where an update falls inside a rollout
    update = 3 * 4 * forward(PROMPT + NEW) / 2  # forward and backward, half of the rollout in each of two steps
    could = 2 * h100.peak_tflops["bf16"] * 1e12 * 10.0
    both = [found.of(1, 10.0), found.of(2, 10.0)]
    assert both == pytest.approx([(drawing + scoring + update) / could, update / could])


def test_where_the_device_is_not_known_there_is_no_mfu(tmp_path: Path) -> None:
    assert Utilization.known(plan_of(), [], RolloutStore(tmp_path)) is None
    assert Utilization.known(plan_of(), ["Some other card"], RolloutStore(tmp_path)) is None
