"""The four baselines from start to end, each as stages that leave files: what is there already is not done again."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.bench import BaselinePlan, Bench, gain, sampled_tokens, write_lines
from baselines.replies import COLUMNS, Example, asked_in, keep, worked_examples
from baselines.vote import ballots, curve, elected, rows_by_problem
from configs.errors import UsageError
from configs.schema import Template
from evals.audit import summarise
from evals.fewshot import few_shot
from evals.manifest import write_json
from evals.rollouts import SCHEMA, RolloutStore
from evals.runs import load_manifest
from rewards.suites import ProblemSet

SAMPLING_SEEDS = 1_000_003
"""Offset of the seeds of each round's samples, so that no round repeats another's random numbers, nor an audit's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished baseline. `sampled_tokens` are of completions, audits aside; `training_tokens` hold prompts too."""

    start: dict[str, Any]
    end: dict[str, Any]
    sampled_tokens: int = 0
    training_tokens: int = 0
    loss_tokens: int = 0
    details: dict[str, Any]
    """What the kind adds to the manifest."""

    def facts(self, suite: ProblemSet) -> dict[str, Any]:
        """Budget and gain, as the manifest keeps them."""
        return {
            "budget": {
                "sampled_tokens": self.sampled_tokens,
                "training_tokens": self.training_tokens,
                "loss_tokens": self.loss_tokens,
            },
            "gain": gain(self.start, self.end, suite).to_json(),
            **self.details,
        }


def check(bench: Bench, train: ProblemSet) -> None:
    """Raises UsageError for what can be known to fail before the run folder is taken."""
    plan = bench.plan
    if plan.kind == "few-shot":
        _with_examples(bench, train)
    elif plan.kind == "sft":
        _examples(plan, train)
    elif plan.options.get("from"):
        _kept(bench, Path(plan.options["from"]))


def _with_examples(bench: Bench, train: ProblemSet) -> Template:
    plan = bench.plan
    return few_shot(plan.asked.template, bench.suite, train, shots=plan.options["shots"], seed=plan.seed)


def few_shot_baseline(bench: Bench, train: ProblemSet) -> Outcome:
    """The same problems with worked examples before every question."""
    plan = bench.plan
    start, end = bench.start(), bench.measure("end", step=0, template=_with_examples(bench, train))
    tokens = sampled_tokens(bench.store("end"))
    return Outcome(start=start, end=end, sampled_tokens=tokens, details={"shots": plan.options["shots"]})


def vote_baseline(bench: Bench, train: ProblemSet) -> Outcome:
    """vote.json holds the curves over budgets; audit-end.json is the majority of all samples, one answer a problem."""
    plan, out, samples = bench.plan, bench.plan.out, bench.plan.options["samples"]
    if plan.options["from"]:
        start, store = _kept(bench, Path(plan.options["from"]))
        write_json(out / "audit-start.json", start)
    else:
        start, store = bench.start(samples=samples), bench.store("start")
    rows = curve(ballots(store, bench.suite, samples=samples), seed=plan.seed)
    write_json(out / "vote.json", {"samples": samples, "budgets": rows})
    chosen = [elected(one) | {"sample": 0} for one in rows_by_problem(store, samples, SCHEMA.names).values()]
    bench.store("end").write("000000", chosen)
    end = summarise(bench.spec(step=0, samples=1), bench.store("end"))
    write_json(out / "audit-end.json", end)
    tokens = round(rows[-1]["tokens_per_problem"] * len(bench.suite.problems))
    return Outcome(start=start, end=end, sampled_tokens=tokens, details={"budgets": rows})


def _kept(bench: Bench, folder: Path) -> tuple[dict[str, Any], RolloutStore]:
    """The audit of an audit folder, or of a run before training, and its rollouts.

    Raises UsageError, naming the field, where it was not measured as this run measures, or has too few samples.
    """
    lone = load_manifest(folder).kind == "audit"
    path = folder / ("audit.json" if lone else "audit-start.json")
    if not path.is_file():
        raise UsageError(f"{folder} has no {path.name}; name a finished audit or training run with --from")
    audit = json.loads(path.read_text(encoding="utf-8"))
    kept, now = (_flat(one) for one in (audit, bench.spec(step=0).settings()))
    for field, value in now.items():
        if kept.get(field) != value:
            raise UsageError(
                f"{folder} differs in {field} ({kept.get(field)!r}, and {value!r} here); make them agree with --set "
                "(audit.problems, grpo.temperature, grpo.top_p, grpo.max_completion_length), --template or --eval-suite"
            )
    if audit["sampling"]["samples"] < (wanted := bench.plan.options["samples"]):
        raise UsageError(
            f"{folder} has {audit['sampling']['samples']} samples a problem; lower --samples from {wanted}"
        )
    return audit, RolloutStore(folder / "rollouts" if lone else folder / "rollouts" / "audit-start")


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """What two audits of one base must share; numbers of samples and seeds may differ."""
    fields = {name: settings[name] for name in ("base", "template", "reading", "verifier")}
    fields["suite.fingerprint"] = settings["suite"]["fingerprint"]
    return fields | {f"sampling.{name}": settings["sampling"][name] for name in ("temperature", "top_p", "max_tokens")}


def _examples(plan: BaselinePlan, train: ProblemSet) -> list[Example]:
    """As many worked solutions as were asked for, drawn by the seed. Raises UsageError where there are fewer."""
    examples = worked_examples(train, plan.asked.template)
    wanted = plan.options["examples"] or len(examples)
    if wanted > len(examples):
        raise UsageError(f"{train.name} has {len(examples)} worked solutions; lower --examples from {wanted}")
    random.Random(plan.seed).shuffle(examples)
    return examples[:wanted]


def sft_baseline(bench: Bench, train: ProblemSet) -> Outcome:
    """An SFT cold start on worked solutions; the model folder is a base for the same GRPO."""
    from baselines.sft import fine_tune

    plan = bench.plan
    assert plan.asked.sft
    examples = _examples(plan, train)
    start, began = bench.start(), time.perf_counter()
    trained = fine_tune(
        plan.asked.base,
        None,
        examples,
        plan.asked.sft,
        stops=plan.asked.template.stop,
        max_tokens=plan.sampling(seed=0).max_tokens,
        seed=plan.seed,
        out=plan.out / "model",
    )
    bench.add("update", began)
    write_lines(plan.out / "metrics.jsonl", [{**row, "step": at + 1} for at, row in enumerate(trained.metrics)])
    return Outcome(
        start=start,
        end=bench.measure("end", step=trained.steps, model=plan.out / "model"),
        training_tokens=trained.training_tokens,
        loss_tokens=trained.loss_tokens,
        details={"steps": trained.steps, "examples": trained.examples, "left_out": trained.left_out},
    )


def rejection_baseline(bench: Bench, train: ProblemSet) -> Outcome:
    """Rounds of sampling, keeping what is right and imitating it; rounds.jsonl says what each did."""
    from baselines.sft import fine_tune

    plan, options = bench.plan, bench.plan.options
    assert plan.asked.sft
    start, model, step = bench.start(), None, 0
    metrics, rounds = [], []
    for number in range(1, options["rounds"] + 1):
        asked = asked_in(number, train, problems=options["problems"], seed=plan.seed)
        name = f"samples-{number}"
        spec = bench.spec(step=step, suite=asked, samples=options["samples"], seed=plan.seed + number * SAMPLING_SEEDS)
        bench.audit(name, spec, model=model, kind="rollout")
        kept = keep(bench.store(name).rows(COLUMNS), asked, plan.asked.template, most=options["keep"])
        last = number == options["rounds"]
        out = plan.out / "model" if last else plan.out / "rounds" / str(number) / "model"
        out.parent.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        trained = fine_tune(
            plan.asked.base,
            model,
            kept.examples,
            plan.asked.sft,
            stops=plan.asked.template.stop,
            max_tokens=plan.sampling(seed=0).max_tokens,
            seed=plan.seed + number,
            out=out,
        )
        bench.add("update", began)
        metrics += [{**row, "step": step + at + 1, "round": number} for at, row in enumerate(trained.metrics)]
        model, step = out, step + trained.steps
        end = bench.measure("end" if last else f"round-{number}", step=step, model=model)
        rounds.append(
            {
                "round": number,
                "samples": kept.samples,
                "right": kept.right,
                "solved": kept.solved,
                "examples": trained.examples,
                "left_out": trained.left_out,
                "steps": trained.steps,
                "sampled_tokens": sampled_tokens(bench.store(name)),
                "training_tokens": trained.training_tokens,
                "loss_tokens": trained.loss_tokens,
                "pass_at_1": end["pass_at_k"]["read"]["1"],
            }
        )
        write_lines(plan.out / "rounds.jsonl", rounds)
        write_lines(plan.out / "metrics.jsonl", metrics)
    sums = {name: sum(row[name] for row in rounds) for name in ("sampled_tokens", "training_tokens", "loss_tokens")}
    return Outcome(start=start, end=bench.measured["end"], details={"rounds": rounds}, **sums)


KINDS: dict[str, Callable[[Bench, ProblemSet], Outcome]] = {
    "few-shot": few_shot_baseline,
    "vote": vote_baseline,
    "sft": sft_baseline,
    "rejection": rejection_baseline,
}
