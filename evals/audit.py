"""The audit: draw n samples of every problem, grade them as training does, and state what they show with intervals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from configs.schema import Reading, Template
from evals.rollouts import RolloutStore, pc
from evals.sampling import NOT_DRAWN, Engine, NothingToDrawError, Request, Rollout, Sampling
from evals.summary import summary
from rewards.grade import grade
from rewards.suites import ProblemSet
from rewards.types import Problem, Verdict
from rewards.verify import VERIFIER_VERSION

AT_ONCE = 65_536  # requests that an engine is given: memory stays flat, and it runs empty seldom


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSpec:
    """What is audited, and how: all that must be equal for two audits to be comparable, and the base and step."""

    base: str
    step: int
    suite: ProblemSet
    template: Template
    reading: Reading
    sampling: Sampling
    samples: int

    def settings(self) -> dict[str, Any]:
        """The part of audit.json that states how the numbers came about."""
        return {
            "base": self.base,
            "step": self.step,
            "suite": {
                "name": self.suite.name,
                "fingerprint": self.suite.fingerprint,
                "problems": len(self.suite.problems),
                "bad_gold": list(self.suite.bad_gold),
            },
            "template": self.template.name,
            "reading": self.reading,
            "sampling": {
                "temperature": self.sampling.temperature,
                "top_p": self.sampling.top_p,
                "max_tokens": self.sampling.max_tokens,
                "samples": self.samples,
                "seed": self.sampling.seed,
            },
            "verifier": VERIFIER_VERSION,
        }


def both_readings(problem: Problem, completion: str, template: Template, reading: Reading) -> tuple[Verdict, Verdict]:
    """The verdict by `reading`, which counts, and the one by the lenient reading, which is kept beside it."""
    verdict = grade(problem, completion, template, reading=reading)
    lenient = verdict if reading == "lenient" else grade(problem, completion, template, reading="lenient")
    return verdict, lenient


def as_row(rollout: Rollout, verdict: Verdict, lenient: Verdict) -> dict[str, Any]:
    """A rollout and its verdicts as they are kept; `reward` and `step` are for training to fill in."""
    return {
        **asdict(rollout),
        "answer": verdict.answer,
        "correct": verdict.correct,
        "status": verdict.status,
        "reason": verdict.reason,
        "lenient_correct": lenient.correct,
        "reward": None,
        "step": None,
    }


def graded_row(rollout: Rollout, problem: Problem, template: Template, reading: Reading) -> dict[str, Any]:
    """A rollout, graded, as it is kept."""
    return as_row(rollout, *both_readings(problem, rollout.completion, template, reading))


def run_audit(engine: Engine, spec: AuditSpec, store: RolloutStore, *, progress: bool = True) -> dict[str, Any]:
    """Draw what `store` does not hold yet, grade it, keep it part by part; returns the summary of everything kept.

    Raises NothingToDrawError, before anything is drawn, when no prompt can be asked of this base.
    """
    draw_share(engine, spec, store, progress=progress)
    return summarise(spec, store)


def draw_share(
    engine: Engine, spec: AuditSpec, store: RolloutStore, *, progress: bool = True, place: int = 0, of: int = 1
) -> None:
    """Draw, grade and keep what `store` lacks of every `of`-th problem, from the one at `place` on: one process's share.

    Of the whole raises NothingToDrawError as `run_audit` does; a share in which nothing can be asked is kept as such.
    """
    by_id = {problem.id: problem for problem in spec.suite.problems}
    mine = list(by_id)[place::of]
    kept = kept_samples(store, mine, spec.samples)
    prompts = [spec.template.ask(by_id[id].question) for id in mine]
    missing = (
        Request(problem_id=id, sample=int(sample), prompt=prompt)
        for id, prompt, drawn in zip(mine, prompts, kept, strict=True)
        for sample in np.flatnonzero(~drawn)
    )
    total = kept.size
    label = f"{spec.base} step {spec.step} on {spec.suite.name}"
    began, tokens = time.perf_counter(), 0
    with tqdm(
        total=total, initial=int(kept.sum()), desc=label, unit="sample", disable=not progress, mininterval=1
    ) as bar:
        undrawn: list[Rollout] = []  # held back until something is drawn
        waits = of == 1 and not kept.any()
        while requests := list(islice(missing, AT_ONCE)):
            for rollouts in engine.stream(requests, spec.sampling):
                if waits and all(one.finish in NOT_DRAWN for one in rollouts):
                    undrawn += rollouts
                    continue
                rollouts, undrawn, waits = [*undrawn, *rollouts], [], False
                graded = [graded_row(one, by_id[one.problem_id], spec.template, spec.reading) for one in rollouts]
                store.append(graded, writer=place)
                tokens += sum(one.completion_tokens for one in rollouts)
                bar.set_postfix_str(f"{tokens / (time.perf_counter() - began):.0f} tokens/s")
                bar.update(len(rollouts))
    if undrawn:
        raise NothingToDrawError(_why_nothing(undrawn, spec))


def kept_samples(store: RolloutStore, ids: Sequence[str], samples: int) -> np.ndarray:
    """Problems x samples: which are kept already."""
    kept = np.zeros((len(ids), samples), dtype=bool)
    number = pa.array(ids, pa.string())
    for batch in store.batches(["problem_id", "sample"]):
        place = pc.index_in(batch["problem_id"], value_set=number)
        known = pc.is_valid(place)
        kept[place.filter(known).to_numpy(), batch["sample"].filter(known).to_numpy()] = True
    return kept


def _why_nothing(rollouts: Sequence[Rollout], spec: AuditSpec) -> str:
    if long := [one.prompt_tokens for one in rollouts if one.finish == "context"]:
        return (
            f"no prompt leaves room for {spec.sampling.max_tokens} tokens in the context: the shortest has {min(long)}; "
            "lower --max-tokens or choose a shorter --template"
        )
    return (
        f"the tokenizer of {spec.base} has no tokens for some character of every prompt of {spec.template.name}; "
        "choose another --template"
    )


def summarise(spec: AuditSpec, store: RolloutStore) -> dict[str, Any]:
    """audit.json: how the numbers came about, and all of them, recomputed from kept rollouts alone."""
    return {**spec.settings(), **summary(store, spec.suite, samples=spec.samples, seed=spec.sampling.seed)}


def audit_table(audit: dict[str, Any]) -> Sequence[tuple[str, str]]:
    """The audit's main numbers as rows of (what, value with 95% interval)."""

    def share(estimate: dict[str, Any]) -> str:
        return f"{estimate['value']:.1%}  ({estimate['low']:.1%} to {estimate['high']:.1%})"

    passes, outlook = audit["pass_at_k"], audit["outlook"]
    largest = max(passes["read"], key=int)
    rows = [
        (f"pass@1, {audit['reading']} reading", share(passes["read"]["1"])),
        ("  on these questions, sampling noise alone", share(audit["pass_at_1_on_these_questions"])),
    ]
    if audit["reading"] != "lenient":
        rows.append(("pass@1, lenient reading", share(passes["lenient"]["1"])))
    rows += [(f"pass@{k}", share(estimate)) for k, estimate in passes["read"].items() if k != "1"]
    if largest != "1":
        rows.append((f"maj@{largest}", share(audit["maj_at_k"][largest])))
    rows += [(f"informative groups, G = {size}", share(estimate)) for size, estimate in audit["forecast"].items()]
    first = outlook["rollouts_to_first_reward"]["value"]
    rows.append(("rollouts to the first reward", f"{first:.0f}" if first else "none came in this audit"))
    rows.append(
        (
            "never solved",
            f"{outlook['never_solved']} problems; pass rates below {outlook['missed_below']:.1%} may be missed",
        )
    )
    rows += [
        ("an answer could be read", share(audit["answer_rate"])),
        ("stopped by itself", share(audit["stop_rate"])),
        ("cut at the token limit", share(audit["truncation_rate"])),
        *((name.replace("_", " "), share(one)) for name, one in audit["behaviours"].items() if one["value"]),
        (
            "completion tokens",
            "mean {mean}, median {median:g}, p95 {p95:g}, max {max}".format(**audit["completion_tokens"]),
        ),
        ("verdicts", ", ".join(f"{name} {count}" for name, count in audit["status"].items() if count)),
    ]
    if audit["context_overflow"]["value"]:
        rows.append(("not drawn: prompt too long for the context", share(audit["context_overflow"])))
    if audit["unwritable"]["value"]:
        rows.append(("not drawn: characters that the tokenizer has no tokens for", share(audit["unwritable"])))
    if audit["suite"]["bad_gold"]:
        rows.append(("gold rejected by its own verifier", ", ".join(audit["suite"]["bad_gold"])))
    return rows
