"""Where TRL gets its completions and its rewards: the audit's own engine, verifier and reader; every rollout is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from trl import GRPOTrainer

from configs.errors import UsageError
from evals.audit import as_row, both_readings
from evals.engine import TransformersEngine
from evals.rollouts import RolloutStore
from evals.sampling import Finish, Rollout, Sampling
from rewards.functions import REWARDS, sample_rng
from rewards.types import STATUSES, Problem
from rl.plan import Plan, rank
from rl.record import Clock

TRAINING_SEEDS = 1_000_003
"""Offset of the seeds of training rollouts from those of audits, so that no sample is drawn twice."""


def training_sampling(plan: Plan) -> Sampling:
    """How training draws, which is also how its audits draw: base and result are measured alike."""
    grpo = plan.recipe.grpo
    return Sampling(
        temperature=float(grpo["temperature"]),
        top_p=float(grpo["top_p"]),
        max_tokens=int(grpo["max_completion_length"]),
        seed=TRAINING_SEEDS + plan.seed,
    )


def tokens_of(rows: Sequence[Mapping[str, Any]]) -> int:
    """Of kept rollouts, prompts included."""
    return sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)


class Rollouts:
    """What TRL asks for completions and for rewards; keeps every rollout with its verdict."""

    def __init__(
        self,
        plan: Plan,
        engine: TransformersEngine,
        problems: dict[str, Problem],
        store: RolloutStore,
        clock: Clock,
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan, self.engine, self.problems, self.store, self.clock = plan, engine, problems, store, clock
        self.sampling, self.renew = training_sampling(plan), renew
        self.stop_ids = set(engine.stop_token_ids)
        self.rank = rank()
        self.chosen: list[dict[str, Any]] = []
        """Completions that were drawn before TRL asks for them; taken instead of drawing."""
        self.thrown: list[dict[str, Any]] = []
        """Rows of this step that are not trained on: kept and counted like those that are."""

    def draw(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """TRL's rollout function: token ids of prompts and completions, in order, with how each one finished."""
        ready, self.chosen = self.chosen, []
        drawn = ready or self.drawn(prompts, step=trainer.state.global_step, first=self.rank * len(prompts))
        columns = {key: [one[key] for one in drawn] for key in drawn[0] if key != "row"}
        return {**columns, "logprobs": None}

    def drawn(self, prompts: list[str], *, step: int, first: int) -> list[dict[str, Any]]:
        """A completion for each prompt; the first one is sample `first` of the step's.

        A sample's seed is its step and its place among those of all processes, so a resumed run draws what the
        uninterrupted one drew, and two processes draw what one would. With spread weights, the whole copy is renewed first.
        """
        began = time.perf_counter()
        self.renew()
        ids = self.engine.tokenizer(prompts)["input_ids"]
        samples = range(first, first + len(ids))
        identities = [f"train|{step}|0|{sample}" for sample in samples]
        drawn = []
        kind, lowered = self.engine.model.device.type, bool(self.plan.recipe.grpo.get("bf16"))
        with torch.autocast(kind, torch.bfloat16, enabled=lowered):  # as the trainer scores them
            for part in self.engine.cuts([len(one) for one in ids], self.sampling.max_tokens):
                drawn += self.engine.draw(ids[part], identities[part], self.sampling)
        self.clock.add("rollout", began)
        return [
            {
                "prompt_ids": prompt,
                "completion_ids": one.token_ids,
                "finish": one.finish,
                "logprob": float(sum(one.logprobs)),
                "sample": sample,
            }
            for prompt, one, sample in zip(ids, drawn, samples, strict=True)
        ]

    def graded(
        self, drawn: Sequence[Mapping[str, Any]], problem_id: Sequence[str], *, step: int
    ) -> list[dict[str, Any]]:
        """Rows for the store: the same `grade` as the audit, then the recipe's reward of the verdict."""
        began = time.perf_counter()
        texts = self.engine.tokenizer.batch_decode([one["completion_ids"] for one in drawn], skip_special_tokens=True)
        rows = []
        for one, id, text in zip(drawn, problem_id, texts, strict=True):
            rollout = Rollout(
                problem_id=id,
                sample=one["sample"],
                completion=text,
                prompt_tokens=len(one["prompt_ids"]),
                completion_tokens=len(one["completion_ids"]),
                finish=one["finish"],
                logprob=one["logprob"],
                seed=self.sampling.seed,
            )
            verdict, lenient = both_readings(self.problems[id], text, self.plan.template, self.plan.recipe.reading)
            rng = sample_rng(seed=self.plan.seed, step=step, problem_id=id, sample=rollout.sample)
            reward = self._paid(REWARDS[self.plan.recipe.reward](verdict, rng), id)
            rows.append({**as_row(rollout, verdict, lenient), "reward": reward, "step": step + 1})
        self.clock.add("grading", began)
        return rows

    def reward(
        self,
        prompts: list[str],
        completions: list[str],
        completion_ids: list[list[int]],
        problem_id: list[str],
        trainer_state: Any,
        log_metric: Callable[[str, float], None],
        **columns: Any,
    ) -> list[float | None]:
        """TRL's reward function. The step's rollouts are kept, those that are not trained on too, and metrics are of all."""
        step = int(trainer_state.global_step)
        asked = {prompt: self.engine.tokenizer(prompt)["input_ids"] for prompt in set(prompts)}
        drawn = [
            {
                "prompt_ids": asked[prompts[place]],
                "completion_ids": ids,
                "finish": columns["finish"][place] if "finish" in columns else self._finish(ids),
                "logprob": columns["logprob"][place] if "logprob" in columns else float("nan"),
                "sample": columns["sample"][place] if "sample" in columns else self.rank * len(prompts) + place,
            }
            for place, ids in enumerate(completion_ids)
        ]
        rows = self.graded(drawn, problem_id, step=step)
        began = time.perf_counter()
        kept = [*rows, *self.thrown]
        self.store.write(f"{step + 1:06d}-{self.rank}", kept)
        for row in kept:  # one value a completion, so that TRL's mean over processes is the mean over completions
            log_metric("stop_rate", float(row["finish"] == "stop"))
            log_metric("accuracy", float(row["correct"]))
            if level := self.problems[row["problem_id"]].level:
                log_metric(f"accuracy/level {level}", float(row["correct"]))
            for status in STATUSES:
                log_metric(f"status/{status}", float(row["status"] == status))
        self.thrown = []
        self.clock.add("grading", began)
        return [row["reward"] for row in rows]

    def _paid(self, reward: float | None, problem_id: str) -> float | None:
        """A reward that a group can be compared by. TRL would only warn, and leave the sample out."""
        if reward is not None and not math.isfinite(reward):
            raise UsageError(
                f"reward {self.plan.recipe.reward} paid {reward} for {problem_id}: it must be a number, or None to leave a sample out; "
                "mend it in rewards/functions.py, then add --resume"
            )
        return reward

    def _finish(self, ids: list[int]) -> Finish:
        """vLLM through TRL does not say how a completion ended: an end token, a stop string or the limit."""
        if ids and ids[-1] in self.stop_ids:
            return "stop"
        return "stop" if len(ids) < self.sampling.max_tokens else "length"
