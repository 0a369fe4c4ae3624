"""TRL's trainer with what it lacks: a say in what is asked next, and a forecast of what that will teach."""

from __future__ import annotations

import time
from typing import Any

import torch
from accelerate.utils import gather_object
from requests import RequestException
from trl import GRPOTrainer

from configs.errors import UsageError
from rl.record import Pace
from rl.resample import Resampler, teaches
from rl.rollouts import tokens_of
from rl.sampler import Posterior, counted


class Trainer(GRPOTrainer):
    """TRL's trainer. `posterior` forecasts every step's informative share; with `steered` it also chooses the problems.

    `rows` are the data set's, by problem id. With a `resampler` groups are drawn until enough of them teach.
    """

    posterior: Posterior
    rows: dict[str, dict[str, Any]]
    pace: Pace
    steered = False
    resampler: Resampler | None = None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        size = self.posterior.group_size
        if self.steered:
            first = self.accelerator.process_index * len(inputs)
            drawn = self.posterior.draw(self.state.global_step, self.accelerator.num_processes * len(inputs) // size)
            # a copy each: TRL writes what is known of one completion into its row
            inputs = [dict(self.rows[drawn[(first + place) // size]]) for place in range(len(inputs))]
        elif self.resampler:
            inputs = self.resampler.fill(self.state.global_step, len(inputs) // size)
            self.state.num_input_tokens_seen += tokens_of(self.resampler.rollouts.thrown)
        return super()._generate_and_score_completions(inputs)

    def _generate(self, prompts: list[Any]) -> Any:
        """With vLLM, drawing and the way of the weights to it are timed here; the lab's own engine is timed where it draws.

        Raises UsageError when a server has gone away.
        """
        if not self.use_vllm:
            return super()._generate(prompts)
        try:
            return self._generate_by_vllm(prompts)
        except RequestException as error:  # TRL's client has tried five more times by now, over a minute
            raise UsageError(
                f"the vLLM server does not answer any more at step {self.state.global_step}: {error}; start it again, then add "
                "--resume: the run goes on from its last checkpoint"
            ) from error

    def _generate_by_vllm(self, prompts: list[Any]) -> Any:
        if self.state.global_step != self._last_loaded_step:  # as TRL would do next
            began = time.perf_counter()
            self.vllm_generation.sync_weights()
            self._last_loaded_step = self.state.global_step
            self.pace.clock.add("sync", began)
        began = time.perf_counter()
        generated = super()._generate(prompts)
        self.pace.clock.add("rollout", began)
        return generated

    def _calculate_rewards(self, inputs: list[dict[str, Any]], *args: Any) -> torch.Tensor:
        thrown = self.resampler.rollouts.thrown if self.resampler else []  # before they are written and forgotten
        rewards = super()._calculate_rewards(inputs, *args)  # of all processes, group by group
        ids = [row["problem_id"] for row in thrown] + gather_object([row["problem_id"] for row in inputs])
        paid = [row["reward"] for row in thrown] + rewards[:, 0].tolist()
        size, metrics = self.posterior.group_size, self._metrics["train"]
        groups = [paid[start : start + size] for start in range(0, len(paid), size)]
        metrics["informative/expected"].append(self.posterior.expected(ids[::size]))
        metrics["informative/drawn"].append(sum(map(teaches, groups)) / len(groups))
        if self.resampler:
            metrics["resampled/groups"].append(len(groups))
            metrics["resampled/thrown_tokens"].append(tokens_of(thrown))
        self.posterior.update(counted(ids, paid))
        return rewards

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """What `report_to` names is told of seconds and MFU too."""
        if "loss" in logs:
            logs = {**logs, **self.pace.of(self.state.global_step)}
        super().log(logs, start_time)
