"""What a training run will do, worked out before anything is loaded: batches, steps, tokens, memory, files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from configs.errors import UsageError
from configs.schema import Recipe, Template

ADAM_BYTES, GRADIENT_BYTES = 8, 4
MOST = 10
"""Batches drawn for one at most by `sampler: resample`; the cost that is reported of dynamic sampling is 3 to 6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole run as numbers. Counts are over all processes; `parameters` is None for a model of unknown size."""

    base: str
    origin: str
    revision: str | None
    stop_token_ids: list[int] | None
    parameters: float | None
    context_length: int | None
    recipe: Recipe
    template: Template
    suite: str
    train_suite: str
    seed: int
    out: Path
    processes: int
    budget_tokens: int | None = None
    """Of completions and their prompts, training alone; the step that reaches it is the last."""
    budget_hours: float | None = None
    """Wall time over resumes, first audits included; the last audit comes on top."""

    @property
    def group_size(self) -> int:
        return int(self.recipe.grpo["num_generations"])

    @property
    def completions_per_rollout(self) -> int:
        """Completions drawn before the weights move: TRL's generation batch."""
        grpo = self.recipe.grpo
        per_process = int(grpo["per_device_train_batch_size"]) * self.steps_per_generation
        return per_process * self.processes

    @property
    def steps_per_generation(self) -> int:
        return int(
            self.recipe.grpo.get("steps_per_generation") or self.recipe.grpo.get("gradient_accumulation_steps", 1)
        )

    @property
    def prompts_per_rollout(self) -> int:
        return self.completions_per_rollout // self.group_size

    @property
    def weights_dtype(self) -> Literal["auto", "float32"]:
        """What weights are loaded as. Those that are trained are float32: a step of 1e-6 is less than half of what tells one
        bfloat16 from the next at 0.001, so it would be rounded away. An adapter's own are float32 on frozen ones of the base.
        """
        return "auto" if self.recipe.lora else "float32"

    @property
    def vllm_room(self) -> int | None:
        """Tokens of prompt and completion that the vLLM of training is built for, where the recipe says so."""
        return self.recipe.grpo.get("vllm_max_model_length") if self.recipe.engine == "vllm" else None

    @property
    def audits_inside(self) -> bool:
        """Whether audits are drawn by the vLLM that training draws with, in all processes: one that is in each of them, whole."""
        grpo = self.recipe.grpo
        alone = grpo.get("vllm_tensor_parallel_size", 1) == 1 and not grpo.get("vllm_enable_sleep_mode")
        return self.recipe.engine == "vllm" and grpo.get("vllm_mode", "colocate") == "colocate" and alone

    @property
    def rollouts(self) -> int:
        """Completions drawn in the whole run, audits aside."""
        times = int(self.recipe.grpo["max_steps"]) / self.updates_per_rollout
        return round(times * self.completions_per_rollout)

    @property
    def updates_per_rollout(self) -> float:
        """Optimizer steps before completions are drawn again."""
        grpo = self.recipe.grpo
        passes = self.steps_per_generation * int(grpo.get("num_iterations", 1))
        return passes / int(grpo.get("gradient_accumulation_steps", 1))

    @property
    def audit_rollouts(self) -> int:
        """Completions drawn to measure: both audits, the one of training problems, and those along the way."""
        audit, steps = self.recipe.audit, int(self.recipe.grpo["max_steps"])
        measured = {0, steps, *range(0, steps, audit.every or steps)}
        along = len(measured) * min(audit.every_problems, audit.problems) * audit.every_samples
        return 2 * audit.problems * audit.samples + audit.signal_problems * self.group_size + along

    def check(self) -> None:
        """Raises UsageError where the arithmetic of the batch, the context or the stop rule cannot work."""
        self._check_numbers()
        grpo = self.recipe.grpo
        if self.recipe.lora and sharded():
            raise UsageError(
                "an adapter is not trained on weights that are spread over processes, as they are frozen; launch it with "
                "configs/accelerate/zero2.yaml or one-gpu.yaml"
            )
        if self.recipe.sampler == "resample" and (self.processes > 1 or self.recipe.engine == "vllm"):
            raise UsageError(
                "sampler: resample draws in one process, by the lab's own engine: add --set engine=transformers and start one "
                "process, or --set sampler=posterior, which throws nothing away"
            )
        if self.group_size < 2:
            raise UsageError("grpo.num_generations must be 2 or more: a group of one has no one to be compared with")
        if self.completions_per_rollout % self.group_size:
            raise UsageError(
                f"groups of {self.group_size} do not divide a batch of {self.completions_per_rollout} completions "
                f"({grpo['per_device_train_batch_size']} per process x {self.steps_per_generation} x {self.processes} "
                f"processes); choose --set grpo.num_generations or grpo.per_device_train_batch_size to match"
            )
        updates = self.updates_per_rollout
        if updates < 1:
            raise UsageError(
                f"grpo.steps_per_generation={self.steps_per_generation} draws several rollouts for one update, which would be kept and "
                "seeded as one; make it grpo.gradient_accumulation_steps or a multiple of it"
            )
        if grpo.get("logging_steps", 1) != 1:
            raise UsageError("grpo.logging_steps must be 1: every step is a row of metrics.jsonl")
        if updates > 1 and int(grpo.get("save_steps", 500)) % updates:  # TRL keeps no rollout in a checkpoint
            raise UsageError(
                f"grpo.save_steps={grpo.get('save_steps', 500)} saves inside a rollout of {updates:g} updates, and a resumed run "
                f"would draw that rollout again; type --set grpo.save_steps=N with N a multiple of {updates:g}"
            )
        if self.context_length and int(grpo["max_completion_length"]) >= self.context_length:
            raise UsageError(
                f"grpo.max_completion_length={grpo['max_completion_length']} leaves no room for a prompt in a context of "
                f"{self.context_length}; lower it with --set"
            )
        if grpo.get("mask_truncated_completions") and self.template.stop:
            raise UsageError(
                f"mask_truncated_completions counts a completion that ends at a stop string as truncated, and template "
                f"{self.template.name} has stop strings; add --set grpo.mask_truncated_completions=false"
            )
        if self.recipe.audit.every and self.recipe.audit.every_problems > self.recipe.audit.problems:
            raise UsageError("audit.every_problems exceeds audit.problems; lower it with --set")
        if self.recipe.audit.samples < self.group_size:
            raise UsageError(
                f"the forecast needs at least G = {self.group_size} audit samples; add --set audit.samples={self.group_size}"
            )

    def _check_numbers(self) -> None:
        """Raises UsageError where a number that the plan needs is missing or out of its range."""
        grpo = self.recipe.grpo
        needed = ("max_steps", "per_device_train_batch_size", "num_generations", "max_completion_length")
        wrong = [key for key in needed if not grpo.get(key) or grpo[key] < 1]
        wrong += [key for key in ("gradient_accumulation_steps", "num_iterations") if (grpo.get(key, 1) or 0) < 1]
        if grpo.get("steps_per_generation") is not None and grpo["steps_per_generation"] < 1:
            wrong.append("steps_per_generation")
        for flag, limit in (("--budget-tokens", self.budget_tokens), ("--budget-hours", self.budget_hours)):
            if limit is not None and not limit > 0:
                raise UsageError(f"{flag} must be more than 0, not {limit}")
        if wrong:
            raise UsageError(f"grpo.{wrong[0]} must be 1 or more, not {grpo.get(wrong[0])}; change it with --set")
        if not grpo.get("temperature") or grpo["temperature"] < 0:
            raise UsageError("grpo.temperature must be more than 0: a group of greedy completions is all alike")
        if not grpo.get("top_p") or not 0 < grpo["top_p"] <= 1:
            raise UsageError(f"grpo.top_p must be more than 0 and at most 1, not {grpo.get('top_p')}")

    def rows(self) -> list[tuple[str, str]]:
        """The plan as (what, value), for --dry-run."""
        grpo = self.recipe.grpo
        limit = int(grpo["max_completion_length"])
        again = f"; up to {MOST} times as many, for groups that teach" if self.recipe.sampler == "resample" else ""
        return [
            ("base", f"{self.base} ({self.origin}{'@' + self.revision[:8] if self.revision else ''})"),
            ("recipe, reward", f"{self.recipe.name}, {self.recipe.reward} ({self.recipe.reading} reading)"),
            *([("control of", self.recipe.control_of)] if self.recipe.control_of else []),
            ("template", self.template.name),
            ("train on, measure on", f"{self.train_suite}, {self.suite}"),
            ("processes, engine", f"{self.processes}, {self.recipe.engine}"),
            ("optimizer steps", f"{grpo['max_steps']:,}"),
            (
                "prompts x G a rollout",
                f"{self.prompts_per_rollout:,} x {self.group_size} = {self.completions_per_rollout:,} completions",
            ),
            ("training rollouts", f"{self.rollouts:,}, at most {self.rollouts * limit:,} tokens{again}"),
            ("budget", self._budget()),
            ("audit rollouts", f"{self.audit_rollouts:,}, at most {self.audit_rollouts * limit:,} tokens"),
            ("memory", self._memory()),
            (
                "files",
                f"{self.out}/ manifest.json, audit-*.json, metrics.jsonl, heldout.jsonl, rollouts/, checkpoints/, model/",
            ),
        ]

    def _budget(self) -> str:
        limits = [f"{self.budget_tokens:,} tokens of prompts and completions"] if self.budget_tokens else []
        limits += [f"{self.budget_hours:g} hours"] if self.budget_hours else []
        return (
            f"training ends at {' or '.join(limits)}"
            if limits
            else "none beside the steps; --budget-tokens, --budget-hours"
        )

    def _memory(self) -> str:
        """Weights, gradients and Adam moments; activations and KV cache come on top."""
        if not self.parameters:
            return "unknown: nothing is known of the size of this model"
        bf16 = bool(self.recipe.grpo.get("bf16"))
        if self.recipe.lora:
            weights = self.parameters * (2 if bf16 else 4)
            return f"weights {weights / 2**30:,.2f} GiB; optimizer of the adapter only; activations on top"
        parts = [
            ("weights", self.parameters * 4),
            *([("bfloat16 copy for products", self.parameters * 2)] if bf16 else []),
            ("gradients and Adam", self.parameters * (GRADIENT_BYTES + ADAM_BYTES)),
        ]
        total = sum(size for _, size in parts)
        listed = ", ".join(f"{name} {size / 2**30:,.2f} GiB" for name, size in parts)
        return f"{listed}: {total / 2**30:,.2f} GiB over all devices when sharded; activations and KV cache on top"

    def settings(self) -> dict[str, Any]:
        """What decides whether two runs are the same run."""
        return {
            "base": self.base,
            "origin": self.origin,
            "revision": self.revision,
            "recipe": self.recipe.model_dump(),
            "template": self.template.model_dump(),
            "suite": self.suite,
            "train_suite": self.train_suite,
            "seed": self.seed,
            "processes": self.processes,
            **({"budget_tokens": self.budget_tokens} if self.budget_tokens else {}),
            **({"budget_hours": self.budget_hours} if self.budget_hours else {}),
        }


def rank() -> int:
    """Place of this process among all of the launch, as accelerate and torchrun announce it."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """Processes of this launch, as accelerate and torchrun announce them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def spread() -> Literal["nothing", "state", "all"]:
    """What this launch spreads over its processes, as accelerate announces it: gradients and optimizer state, weights too."""
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        return "all"
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        return "all" if os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3" else "state"
    return "nothing"


def sharded() -> bool:
    """Whether no process holds whole weights."""
    return spread() == "all"
