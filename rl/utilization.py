"""How much of what the devices could do a training run does, step by step."""

from __future__ import annotations

from collections.abc import Sequence

from configs.schema import Architecture, Device
from evals.cost import device_of, peak
from evals.rollouts import RolloutStore
from evals.spending import Drawn, grpo_work, precision_of
from rl.files import files_of, shape_of
from rl.plan import Plan


class Utilization:
    """Model FLOPs utilization of each step, by the rollouts that were kept: drawing, scoring, and this step's updates."""

    def __init__(self, plan: Plan, shape: Architecture, device: Device, store: RolloutStore) -> None:
        self.plan, self.shape, self.store = plan, shape, store
        self.peak_flops = plan.processes * peak(device, precision_of(plan.recipe.model_dump())) * 1e12
        self.update = 0.0

    @classmethod
    def known(cls, plan: Plan, gpus: Sequence[str], store: RolloutStore) -> Utilization | None:
        """None where there is no GPU of configs/devices, or the model's shape is not known; where other GPUs draw (a server), or
        where not all that is drawn is trained on.
        """
        if plan.recipe.sampler == "resample" or plan.recipe.grpo.get("vllm_mode") == "server":
            return None
        device, shape = device_of(gpus), shape_of(plan, files_of(plan))
        return cls(plan, shape, device, store) if device and shape else None

    def of(self, step: int, seconds: float) -> float:
        """Share of the peak over `seconds`, audits left out. A rollout's updates are spread evenly over its steps."""
        parts = [self.store.folder / f"part-{step:06d}-{rank}.parquet" for rank in range(self.plan.processes)]
        drawn = Drawn.of_parts([part for part in parts if part.is_file()])
        work = grpo_work(self.shape, self.plan.recipe.model_dump(), drawn, Drawn.of_parts([]))
        if work.update:
            self.update = work.update / self.plan.updates_per_rollout
        return (work.rollout + work.scoring + self.update) / (self.peak_flops * seconds)
