"""The arithmetic of a run before it starts, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.errors import UsageError
from configs.load import load_base, load_recipe, load_template, names
from configs.overrides import LORA
from rl.plan import Plan, processes


def plan_of(
    recipe: str = "tiny",
    *,
    template: str = "qa",
    count: int = 1,
    context: int | None = 512,
    parameters: float | None = None,
    lora: dict[str, Any] | None = None,
    audit: dict[str, int] | None = None,
    **grpo: object,
) -> Plan:
    base = load_recipe(recipe)
    changed = base.model_copy(
        update={"grpo": {**base.grpo, **grpo}, "audit": base.audit.model_copy(update=audit or {}), "lora": lora}
    )
    return Plan(
        base="base",
        origin="owner/base",
        revision="0123456789" * 4,
        stop_token_ids=None,
        parameters=parameters,
        context_length=context,
        recipe=changed,
        template=load_template(template),
        suite="sums",
        train_suite="sums-train",
        seed=0,
        out=Path("runs/x"),
        processes=count,
    )


def test_a_step_of_64_completions_in_groups_of_8_is_8_prompts() -> None:
    plan = plan_of(per_device_train_batch_size=64, num_generations=8, max_steps=10)
    assert (plan.group_size, plan.completions_per_rollout, plan.prompts_per_rollout) == (8, 64, 8)
    assert plan.rollouts == 10 * 64


def test_accumulation_and_processes_multiply_the_batch() -> None:
    plan = plan_of(
        per_device_train_batch_size=4, gradient_accumulation_steps=8, count=2, num_generations=16, max_steps=5
    )
    assert plan.completions_per_rollout == 4 * 8 * 2
    assert plan.prompts_per_rollout == 4
    assert plan.rollouts == 5 * 64  # one rollout an update


def test_several_updates_to_a_rollout_draw_fewer_rollouts() -> None:
    plan = plan_of(
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        steps_per_generation=8,
        num_generations=8,
        max_steps=12,
    )
    assert plan.completions_per_rollout == 32  # used up by four updates of 8
    assert plan.rollouts == 3 * 32
    twice = plan_of(
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        steps_per_generation=8,
        num_generations=8,
        max_steps=16,
        num_iterations=2,
    )
    assert twice.rollouts == 2 * 32  # and each of them is gone through twice


@pytest.mark.parametrize(
    ("recipe", "prompts", "group"),
    [("r1-zero", 32, 16), ("dr-grpo", 128, 8), ("simplerl-zoo", 1024, 8)],  # as their papers state them
)
def test_a_published_recipe_has_its_papers_batch_on_eight_processes(recipe: str, prompts: int, group: int) -> None:
    plan = plan_of(recipe, template="qwen-math", count=8, context=None)
    plan.check()
    assert (plan.prompts_per_rollout, plan.group_size) == (prompts, group)


def test_simplerl_zoo_makes_four_updates_of_256_prompts_to_a_rollout() -> None:
    plan = plan_of("simplerl-zoo", template="qwen-math", count=8, context=None)
    grpo = plan.recipe.grpo
    update = grpo["per_device_train_batch_size"] * grpo["gradient_accumulation_steps"] * 8
    assert (update, plan.completions_per_rollout) == (2048, 8192)
    assert plan.rollouts == grpo["max_steps"] // 4 * 8192


def test_gspo_splits_a_rollout_into_four_mini_batches() -> None:
    plan = plan_of("gspo", template="qwen-math", count=8, context=None)
    grpo = plan.recipe.grpo
    assert (plan.prompts_per_rollout, plan.completions_per_rollout) == (64, 1024)
    assert (
        plan.rollouts == grpo["max_steps"] // 4 * 1024
    )  # ratios of sequences differ from 1 in later mini-batches only


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_generations": 1}, ["num_generations", "2 or more"]),
        ({"num_generations": 0}, ["num_generations"]),
        ({"num_generations": None}, ["num_generations"]),
        ({"num_generations": 3, "per_device_train_batch_size": 16}, ["groups of 3", "16 completions"]),
        ({"max_completion_length": 512}, ["max_completion_length=512", "context of 512"]),
        ({"max_completion_length": 0}, ["max_completion_length"]),
        ({"max_completion_length": None}, ["max_completion_length"]),
        ({"mask_truncated_completions": True}, ["mask_truncated_completions=false", "qa"]),
        ({"per_device_train_batch_size": 0}, ["per_device_train_batch_size"]),
        ({"gradient_accumulation_steps": 0}, ["gradient_accumulation_steps"]),
        ({"max_steps": -1}, ["max_steps"]),
        ({"max_steps": 0}, ["max_steps"]),
        ({"temperature": 0.0}, ["temperature"]),
        ({"top_p": 0.0}, ["top_p"]),
        ({"steps_per_generation": 4, "save_steps": 6}, ["save_steps=6", "4 updates", "multiple of 4"]),
        ({"num_iterations": 2, "save_steps": 3}, ["save_steps=3", "2 updates"]),
        ({"audit": {"samples": 8}}, ["G = 16", "audit.samples=16"]),
        ({"audit": {"problems": 8, "every_problems": 9, "every": 1}}, ["audit.every_problems"]),
    ],
)
def test_what_cannot_work_is_refused_before_anything_loads(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        plan_of(**changes).check()
    for word in words:
        assert word in str(refused.value)


def test_what_can_work_is_not_refused() -> None:
    plan_of().check()
    plan_of(context=None, max_completion_length=100_000).check()
    plan_of(max_completion_length=511).check()
    plan_of(steps_per_generation=4, gradient_accumulation_steps=2, save_steps=6).check()  # two updates a rollout
    plan_of(save_steps=7).check()
    plan_of(audit={"every": 0, "every_problems": 10_000}).check()  # never measured between, so its size is no matter


def test_every_base_can_be_planned_with_its_own_recipe_on_eight_processes() -> None:
    for name in names("bases"):
        base = load_base(name)
        plan = plan_of(base.recipe, template=base.template, count=1 if base.corpus else 8, context=base.context_length)
        plan.check()


def test_the_plan_counts_audits_by_hand() -> None:
    plan = plan_of(
        per_device_train_batch_size=16,
        num_generations=4,
        max_steps=10,
        max_completion_length=20,
        audit={"problems": 8, "samples": 5, "signal_problems": 3, "every": 2, "every_problems": 4, "every_samples": 2},
    )
    rows = dict(plan.rows())
    assert rows["prompts x G a rollout"] == "4 x 4 = 16 completions"
    assert rows["training rollouts"] == "160, at most 3,200 tokens"
    # Start and end: 2 x 8 x 5. Signal: 3 x 4. Held out: at 0, 2, 4, 6, 8 and 10, 4 x 2 each.
    assert rows["audit rollouts"].startswith(f"{80 + 12 + 48},")


def test_memory_is_bytes_of_weights_gradients_and_adam() -> None:
    gib = 2**30
    full = dict(plan_of(parameters=gib, bf16=False).rows())["memory"]
    assert "weights 4.00 GiB" in full
    assert "16.00 GiB over all devices" in full  # 4 weights + 4 gradients + 8 Adam
    half = dict(plan_of(parameters=gib, bf16=True).rows())["memory"]
    assert "weights 4.00 GiB, bfloat16 copy for products 2.00 GiB" in half
    assert "18.00 GiB over all devices" in half
    assert (
        "weights 2.00 GiB; optimizer of the adapter only"
        in dict(plan_of(parameters=gib, bf16=True, lora=LORA).rows())["memory"]
    )
    assert "unknown" in dict(plan_of().rows())["memory"]


def test_settings_tell_apart_runs_that_differ_and_only_those() -> None:
    assert plan_of().settings() == plan_of().settings()
    assert plan_of(learning_rate=1e-5).settings() != plan_of().settings()
    assert plan_of(count=2).settings() != plan_of().settings()
    assert plan_of(template="none").settings() != plan_of().settings()


def test_processes_are_as_the_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert processes() == 1
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert processes() == 8


def test_weights_that_are_trained_are_float32_because_bfloat16_ones_hardly_move() -> None:
    import torch

    start = torch.randn(10_000, generator=torch.Generator().manual_seed(0)).mul(0.02).bfloat16()
    moved = {}
    for kind in (torch.bfloat16, torch.float32):
        weights = torch.nn.Parameter(start.to(kind, copy=True))
        weights.grad = torch.ones_like(weights)
        optimizer = torch.optim.AdamW([weights], lr=1e-6, weight_decay=0.0)
        for _ in range(10):
            optimizer.step()
        moved[kind] = float((weights.detach() != start).float().mean())
    assert moved[torch.bfloat16] < 0.05
    assert moved[torch.float32] == 1
    assert plan_of().weights_dtype == "float32"
    assert plan_of(lora=LORA).weights_dtype == "auto"


def test_several_rollouts_for_one_update_are_refused() -> None:
    with pytest.raises(UsageError, match=r"grpo\.gradient_accumulation_steps or a multiple"):
        plan_of(gradient_accumulation_steps=4, steps_per_generation=2).check()
    plan_of(gradient_accumulation_steps=4, steps_per_generation=4).check()


def test_every_step_is_logged() -> None:
    with pytest.raises(UsageError, match="logging_steps must be 1"):
        plan_of(logging_steps=10).check()


def test_the_room_of_vllm_bounds_prompts_only_where_it_draws() -> None:
    plan = plan_of(vllm_max_model_length=128)
    assert plan.vllm_room is None
    assert replace(plan, recipe=plan.recipe.model_copy(update={"engine": "vllm"})).vllm_room == 128
