"""TRL's trainer with the one thing it lacks: a say in what is asked next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from trl import GRPOTrainer

from rl.sampler import Posterior


class Trainer(GRPOTrainer):
    """TRL's trainer, asking the problems that a sampler chooses instead of those that come next in the data set."""

    sampler: Posterior | None = None
    rows: dict[str, dict[str, Any]]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self.sampler:
            size, first = self.sampler.group_size, self.accelerator.process_index * len(inputs)
            drawn = self.sampler.draw(self.state.global_step, self.accelerator.num_processes * len(inputs) // size)
            inputs = [self.rows[drawn[(first + place) // size]] for place in range(len(inputs))]
            self.drawn = drawn
        return super()._generate_and_score_completions(inputs)

    def _calculate_rewards(self, *args: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args)  # of all processes, group by group
        if self.sampler:
            paid = rewards[:, 0].view(-1, self.sampler.group_size).gt(0.5).sum(dim=1).tolist()
            self._metrics["train"]["sampler/expected_informative"].append(self.sampler.expected(self.drawn))
            self.sampler.update(group_counts(self.drawn, paid, self.sampler.group_size))
        return rewards


def group_counts(ids: Sequence[str], paid: Sequence[int], size: int) -> dict[str, tuple[int, int]]:
    """Paid and all completions by problem, of groups given one by one."""
    counts: dict[str, tuple[int, int]] = {}
    for id, right in zip(ids, paid, strict=True):
        before = counts.get(id, (0, 0))
        counts[id] = before[0] + right, before[1] + size
    return counts
