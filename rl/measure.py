"""What a training run measures of its model: audits before and after, held-out pass@1 on the way, by the audit's own path."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from accelerate import PartialState

from evals.audit import AuditSpec, draw_share, summarise
from evals.manifest import write_json
from evals.rollouts import RolloutStore
from evals.sampling import Engine
from rewards.suites import ProblemSet
from rl.plan import Plan, rank
from rl.record import Clock, append_jsonl, read_jsonl
from rl.rollouts import training_sampling


def wait_for_all(plan: Plan) -> None:
    """Until every process of the run is here."""
    if plan.processes > 1:
        PartialState().wait_for_everyone()


class Measures:
    """The audits of one run. One that lies there finished is not done again; a cut one goes on.

    All processes must call these together: each draws a share, or the first one all where `shared` is false; the first
    one sums up. They need one file system.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        suite: ProblemSet,
        train_suite: ProblemSet,
        clock: Clock,
        *,
        shared: bool,
        renew: Callable[[], None],
    ) -> None:
        """`renew` gives the engine the weights of now, where those of the base will not do; all processes together."""
        self.plan, self.engine, self.clock, self.shared, self.renew = plan, engine, clock, shared, renew
        self.suite = suite.first(plan.recipe.audit.problems)
        self.train_suite = train_suite

    def before(self, step: int) -> None:
        """The base on held-out problems and on training problems; `step` is where training starts or goes on."""
        self._audit("start", 0, self.suite, self.plan.recipe.audit.samples)
        self._audit("signal", 0, self.train_suite.first(self.plan.recipe.audit.signal_problems), self.plan.group_size)
        if step == 0:
            self.held_out(0)

    def after(self, step: int) -> None:
        """The trained model on the held-out problems."""
        self._audit("end", step, self.suite, self.plan.recipe.audit.samples)
        self.held_out(step)

    def held_out(self, step: int) -> None:
        """Held-out pass@1 now, on the first problems of the suite, into heldout.jsonl; once a step, resumed or not."""
        path = self.plan.out / "heldout.jsonl"
        if step in {row["step"] for row in read_jsonl(path)}:
            return
        began = time.perf_counter()
        audit = self.plan.recipe.audit
        spec = self._spec(step, self.suite.first(audit.every_problems), audit.every_samples)
        found = self._measured(spec, RolloutStore(self.plan.out / "rollouts" / f"heldout-{step:06d}"), progress=False)
        if found:
            append_jsonl(path, {"step": step, "pass_at_1": found["pass_at_k"]["read"]["1"]})
        wait_for_all(self.plan)
        self.clock.add("audit", began)

    def signal(self) -> dict[str, tuple[int, int]]:
        """Right and all samples of each problem of the audit on training problems."""
        audit = json.loads((self.plan.out / "audit-signal.json").read_text(encoding="utf-8"))
        return {one["id"]: (one["correct"], one["samples"]) for one in audit["problems"]}

    def _audit(self, name: str, step: int, suite: ProblemSet, samples: int) -> None:
        """Run or finish one audit of the model as it is now; its rollouts stay in rollouts/audit-NAME."""
        target = self.plan.out / f"audit-{name}.json"
        if target.is_file():
            return
        began = time.perf_counter()
        store = RolloutStore(self.plan.out / "rollouts" / f"audit-{name}")
        found = self._measured(self._spec(step, suite, samples), store, progress=rank() == 0)
        if found:
            write_json(target, found)
        wait_for_all(self.plan)
        self.clock.add("audit", began)

    def _measured(self, spec: AuditSpec, store: RolloutStore, *, progress: bool) -> dict[str, Any] | None:
        """The audit, in the first process; None in the others, which draw their shares."""
        wait_for_all(self.plan)  # what lies there was looked at by all before one writes
        if spec.step:
            self.renew()
        place, of = (rank(), self.plan.processes) if self.shared else (0, 1)
        if self.shared or rank() == 0:
            draw_share(self.engine, spec, store, progress=progress, place=place, of=of)
        wait_for_all(self.plan)
        return summarise(spec, store) if rank() == 0 else None

    def _spec(self, step: int, suite: ProblemSet, samples: int) -> AuditSpec:
        return AuditSpec(
            base=self.plan.base,
            step=step,
            suite=suite,
            template=self.plan.template,
            reading=self.plan.recipe.reading,
            sampling=replace(training_sampling(self.plan), seed=self.plan.seed),
            samples=samples,
        )
