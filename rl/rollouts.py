"""Where TRL gets its completions and its rewards: the audit's own engine, verifier and reader; every rollout is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
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

    def draw(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """TRL's rollout function: token ids of prompts and completions, in order, with how each one finished.

        A sample's seed is its step and its place in the batch of all processes, so a resumed run draws what the
        uninterrupted one drew, and two processes draw what one would. With spread weights, the whole copy is renewed first.
        """
        began = time.perf_counter()
        self.renew()
        ids = self.engine.tokenizer(prompts)["input_ids"]
        first = self.rank * len(ids)
        identities = [f"train|{trainer.state.global_step}|0|{first + place}" for place in range(len(ids))]
        drawn = []
        with trainer.accelerator.autocast():  # in the precision that the trainer scores them in
            for part in self.engine.cuts([len(one) for one in ids], self.sampling.max_tokens):
                drawn += self.engine.draw(ids[part], identities[part], self.sampling)
        self.clock.add("rollout", began)
        return {
            "prompt_ids": ids,
            "completion_ids": [one.token_ids for one in drawn],
            "logprobs": None,
            "finish": [one.finish for one in drawn],
            "logprob": [float(sum(one.logprobs)) for one in drawn],
        }

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
        """TRL's reward function: the same `grade` as the audit, then the recipe's reward of the verdict."""
        began = time.perf_counter()
        step = int(trainer_state.global_step)
        rows, rewards = [], []
        finishes: list[Finish] = columns.get("finish") or [self._finish(ids) for ids in completion_ids]
        logprobs = columns.get("logprob") or [float("nan")] * len(completions)
        prompt_tokens = {prompt: len(self.engine.tokenizer(prompt)["input_ids"]) for prompt in set(prompts)}
        for place, id in enumerate(problem_id):
            rollout = Rollout(
                problem_id=id,
                sample=self.rank * len(completions) + place,
                completion=completions[place],
                prompt_tokens=prompt_tokens[prompts[place]],
                completion_tokens=len(completion_ids[place]),
                finish=finishes[place],
                logprob=logprobs[place],
                seed=self.sampling.seed,
            )
            verdict, lenient = both_readings(
                self.problems[id], rollout.completion, self.plan.template, self.plan.recipe.reading
            )
            rng = sample_rng(seed=self.plan.seed, step=step, problem_id=id, sample=rollout.sample)
            rewards.append(self._paid(REWARDS[self.plan.recipe.reward](verdict, rng), id))
            rows.append({**as_row(rollout, verdict, lenient), "reward": rewards[-1], "step": step + 1})
        self.store.write(f"{step + 1:06d}-{self.rank}", rows)
        for status in STATUSES:
            log_metric(f"status/{status}", float(np.mean([row["status"] == status for row in rows])))
        log_metric("stop_rate", float(np.mean([row["finish"] == "stop" for row in rows])))
        log_metric("accuracy", float(np.mean([row["correct"] for row in rows])))
        self.clock.add("grading", began)
        return rewards

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
