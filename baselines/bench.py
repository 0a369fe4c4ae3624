"""Where a baseline is measured: the audits of one run folder, by the protocol of the recipe that RL would train with."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from baselines.asked import Asked
from baselines.bases import TINY_ROOT
from configs.schema import Template
from evals.audit import AuditSpec, run_audit
from evals.engines import EngineSpec, Kind, open_engine
from evals.estimate import Estimate, paired_difference
from evals.manifest import write_json
from evals.rollouts import RolloutStore
from evals.sampling import Sampling
from rewards.suites import ProblemSet
from rewards.verify import VERIFIER_VERSION

BaselineKind = Literal["few-shot", "vote", "sft", "rejection"]
BATCH_TOKENS = 40_000  # of the transformers engine, as in scripts/audit.py


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselinePlan:
    """A whole baseline before anything is loaded. `options` are the kind's own numbers, by flag."""

    kind: BaselineKind
    asked: Asked
    engine: Kind
    seed: int
    out: Path
    options: dict[str, Any]

    def sampling(self, *, seed: int) -> Sampling:
        """As the recipe's training draws, which is how its audits draw."""
        grpo = self.asked.recipe.grpo
        return Sampling(
            temperature=float(grpo["temperature"]),
            top_p=float(grpo["top_p"]),
            max_tokens=int(grpo["max_completion_length"]),
            seed=seed,
        )

    def settings(self) -> dict[str, Any]:
        """What decides whether two runs are the same run."""
        asked = self.asked
        return {
            "base": asked.base.name,
            "origin": asked.base.origin,
            "revision": asked.base.revision,
            "reading": asked.recipe.reading,
            "audit": asked.recipe.audit.model_dump(),
            "sampling": self._drawing(),
            "engine": self.engine,
            "template": asked.template.model_dump(),
            "suite": asked.suite,
            "train_suite": asked.train_suite,
            "sft": asked.sft and asked.sft.model_dump(),
            "seed": self.seed,
            **self.options,
        }

    def facts(self, suite: ProblemSet, train: ProblemSet) -> dict[str, Any]:
        """What a manifest says beside the settings, under the names that GRPO runs use."""
        return {
            "base": self.asked.base.name,
            "recipe": self.kind,
            "seed": self.seed,
            "template": self.asked.template.name,
            "suite": {"name": suite.name, "fingerprint": suite.fingerprint},
            "train_suite": {"name": train.name, "fingerprint": train.fingerprint},
            "sampling": self._drawing(),
            "verifier": VERIFIER_VERSION,
        }

    def rows(self) -> list[tuple[str, str]]:
        """The plan as (what, value), for --dry-run."""
        asked, audit, limit = self.asked, self.asked.recipe.audit, self.sampling(seed=0).max_tokens
        base, options = asked.base, self.options
        own = ", ".join(f"{key} {'-' if value is None else value}" for key, value in options.items())
        rows = [
            ("baseline", f"{self.kind}, {own}"),
            ("base", f"{base.name} ({base.origin}{'@' + base.revision[:8] if base.revision else ''})"),
            ("template, engine", f"{asked.template.name}, {self.engine}"),
            ("train on, measure on", f"{asked.train_suite}, {asked.suite}"),
            (
                f"audits, as recipe {asked.recipe.name}",
                f"{audit.problems} problems x {audit.samples} samples, {limit} tokens at most",
            ),
        ]
        if self.kind == "rejection":
            drawn = options["rounds"] * options["problems"] * options["samples"]
            rows.append(("sampled to learn from", f"{drawn:,} completions, at most {drawn * limit:,} tokens"))
        if asked.sft:
            told = ", ".join(f"{key} {value}" for key, value in asked.sft.sft.items())
            rows.append((f"fine-tuning, {asked.sft.name}", told))
        model = ", model/" if asked.sft else ""
        return [*rows, ("files", f"{self.out}/ manifest.json, audit-*.json, heldout.jsonl, rollouts/{model}")]

    def _drawing(self) -> dict[str, Any]:
        sampling = self.sampling(seed=self.seed)
        return {key: getattr(sampling, key) for key in ("temperature", "top_p", "max_tokens")}


class Bench:
    """Audits into `plan.out`. One that is there already is read and not drawn again, so a run goes on where it stopped."""

    def __init__(self, plan: BaselinePlan, suite: ProblemSet, split: dict[str, float]) -> None:
        """`suite` is cut to the recipe's number of audit problems; `split` collects seconds by kind of work."""
        self.plan, self.split = plan, split
        self.suite = suite.first(plan.asked.recipe.audit.problems)
        self.measured: dict[str, dict[str, Any]] = {}

    def start(self, *, samples: int | None = None) -> dict[str, Any]:
        """The base before anything was done to it: the same samples that a GRPO run of this seed starts from."""
        return self.measure("start", step=0, samples=samples)

    def measure(
        self,
        name: str,
        *,
        step: int,
        model: Path | None = None,
        template: Template | None = None,
        samples: int | None = None,
    ) -> dict[str, Any]:
        """Audit the held-out problems after `step` optimizer steps; its pass@1 also goes into heldout.jsonl."""
        found = self.audit(name, self.spec(step=step, template=template, samples=samples), model=model)
        self.measured[name] = found
        rows = [{"step": one["step"], "pass_at_1": one["pass_at_k"]["read"]["1"]} for one in self.measured.values()]
        write_lines(self.plan.out / "heldout.jsonl", rows)
        return found

    def spec(
        self,
        *,
        step: int,
        suite: ProblemSet | None = None,
        template: Template | None = None,
        samples: int | None = None,
        seed: int | None = None,
    ) -> AuditSpec:
        """The recipe's own audit of the held-out problems, but for what is given."""
        return AuditSpec(
            base=self.plan.asked.base.name,
            step=step,
            suite=suite or self.suite,
            template=template or self.plan.asked.template,
            reading=self.plan.asked.recipe.reading,
            sampling=self.plan.sampling(seed=self.plan.seed if seed is None else seed),
            samples=samples or self.plan.asked.recipe.audit.samples,
        )

    def audit(self, name: str, spec: AuditSpec, *, model: Path | None = None, kind: str = "audit") -> dict[str, Any]:
        """Draw and grade by `spec`, from the base or a model folder; rollouts stay in rollouts/audit-NAME.

        `kind` is the kind of work that the seconds are counted as.
        """
        target = self.plan.out / f"audit-{name}.json"
        if target.is_file():
            return json.loads(target.read_text(encoding="utf-8"))
        began, base = time.perf_counter(), self.plan.asked.base
        engine = EngineSpec(
            kind=self.plan.engine,
            name=base.name,
            origin=str(model or base.origin),
            revision=None if model else base.revision,
            stop_token_ids=base.stop_token_ids,
            dtype="auto",
            prompts=[spec.template.ask(problem.question) for problem in spec.suite.problems],
            max_tokens=spec.sampling.max_tokens,
            cache=TINY_ROOT,
            batch_tokens=BATCH_TOKENS,
            tensor_parallel=1,
            url="",
            concurrency=1,
        )
        with open_engine(engine) as opened:
            found = run_audit(opened.with_stops(spec.template.stop), spec, self.store(name))
        write_json(target, found)
        self.add(kind, began)
        return found

    def store(self, name: str) -> RolloutStore:
        return RolloutStore(self.plan.out / "rollouts" / f"audit-{name}")

    def add(self, kind: str, began: float) -> None:
        """Count the seconds since `began` as this kind of work."""
        self.split[kind] = round(self.split.get(kind, 0.0) + time.perf_counter() - began, 3)


def sampled_tokens(store: RolloutStore) -> int:
    """Tokens of all kept completions; prompts are not sampled and not counted."""
    return sum(row["completion_tokens"] for row in store.rows(["completion_tokens"]))


def gain(before: dict[str, Any], after: dict[str, Any], suite: ProblemSet) -> Estimate:
    """Pass@1 of one audit less another's, paired by problem; problems that ask the same are one cluster."""
    asked = {problem.id: " ".join(problem.question.split()) for problem in suite.problems}
    one, other = (
        {each["id"]: each["correct"] / each["samples"] for each in audit["problems"]} for audit in (before, after)
    )
    if one.keys() != other.keys():
        raise ValueError("a gain is between audits of the same problems")
    rates = np.array([[one[id], other[id]] for id in one])
    return paired_difference(rates[:, 0], rates[:, 1], same=[asked[id] for id in one])


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON Lines whole and rename the file into place."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    unfinished.replace(path)
