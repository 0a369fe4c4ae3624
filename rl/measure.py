"""What a training run measures of its model: audits before and after, held-out pass@1 on the way, by the audit's own path."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from evals.audit import AuditSpec, run_audit
from evals.engine import TransformersEngine
from evals.manifest import write_json
from evals.rollouts import RolloutStore
from rewards.suites import ProblemSet
from rl.plan import Plan
from rl.record import Clock, append_jsonl
from rl.rollouts import training_sampling


class Measures:
    """The audits of one run. One that lies there finished is not done again; a cut one goes on."""

    def __init__(
        self, plan: Plan, engine: TransformersEngine, suite: ProblemSet, train_suite: ProblemSet, clock: Clock
    ) -> None:
        self.plan, self.engine, self.clock = plan, engine, clock
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
        if path.is_file() and step in {
            json.loads(line)["step"] for line in path.read_text(encoding="utf-8").splitlines()
        }:
            return
        began = time.perf_counter()
        audit = self.plan.recipe.audit
        spec = self._spec(step, self.suite.first(audit.every_problems), audit.every_samples)
        store = RolloutStore(self.plan.out / "rollouts" / f"heldout-{step:06d}")
        training = self.engine.model.training
        self.engine.model.eval()
        found = run_audit(self.engine, spec, store, progress=False)
        self.engine.model.train(training)
        append_jsonl(path, {"step": step, "pass_at_1": found["pass_at_k"]["read"]["1"]})
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
        write_json(target, run_audit(self.engine, self._spec(step, suite, samples), store))
        self.clock.add("audit", began)

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
