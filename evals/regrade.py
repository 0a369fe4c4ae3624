"""Grade kept rollouts again, with today's verifier or another reading: the same samples, no model, new numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import UsageError
from configs.schema import Reading, Template
from evals.estimate import paired_difference
from evals.manifest import write_json
from evals.rollouts import SCHEMA, RolloutStore
from evals.summary import summary
from rewards.grade import grade_many
from rewards.suites import ProblemSet
from rewards.types import Problem
from rewards.verify import VERIFIER_VERSION


def kept_audit(folder: Path) -> dict[str, Any]:
    """The audit.json of a finished audit, with its manifest's settings. Raises UsageError when `folder` holds none."""
    try:
        audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return {**audit, "template": Template(**manifest["settings"]["template"])}
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder} holds no finished audit to grade again; name a folder that scripts/audit.py wrote, such as "
            "runs/audits/BASE-SUITE-TEMPLATE"
        ) from error


def regrade(folder: Path, suite: ProblemSet, *, reading: Reading, workers: int = 1) -> Path:
    """Grade the rollouts of the audit in `folder` again into a folder of its own beside them; returns that folder.

    It holds the rollouts with their new verdicts, audit.json, and differences.jsonl: problem, sample, and the verdict
    before and after. `against` in audit.json sets the new pass@1 against the old one, problem by problem. Memory stays
    flat, as some thousand rollouts are read and written at a time. The folder is there whole or not at all, so what stops
    halfway is done again by the same call. Raises UsageError when `suite` is not the set that
    was audited, or the target is there already.
    """
    audit = kept_audit(folder)
    if suite.fingerprint != audit["suite"]["fingerprint"]:
        raise UsageError(f"{folder} audited another {audit['suite']['name']} than this one: its problems have changed")
    out = folder / f"regraded-{reading}-v{VERIFIER_VERSION}"
    if out.exists():
        raise UsageError(f"{out} is there already; remove it to grade again")
    problems = {problem.id: problem for problem in suite.problems}
    unfinished = out.with_name(f".{out.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    before, after = RolloutStore(folder / "rollouts"), RolloutStore(unfinished / "rollouts")
    template: Template = audit["template"]
    unfinished.mkdir()
    with (unfinished / "differences.jsonl").open("w", encoding="utf-8") as differences:
        for batch in before.batches(SCHEMA.names):
            rows = batch.to_pylist()
            pairs = [(problems[row["problem_id"]], row["completion"]) for row in rows]
            graded = list(_graded(rows, pairs, template, reading, workers))
            for row, new in zip(rows, graded, strict=True):
                if (row["correct"], row["answer"]) != (new["correct"], new["answer"]):
                    differences.write(json.dumps(_difference(row, new)) + "\n")
            after.append(graded)
    sampling = audit["sampling"]
    found = summary(after, suite, samples=sampling["samples"], seed=sampling["seed"])
    settings = {key: audit[key] for key in ("base", "step", "suite", "sampling")}
    facts = {"template": template.name, "reading": reading, "verifier": VERIFIER_VERSION}
    write_json(unfinished / "audit.json", {**settings, **facts, **found, "against": against(audit, found, suite)})
    return unfinished.rename(out)


def against(before: dict[str, Any], after: dict[str, Any], suite: ProblemSet) -> dict[str, Any]:
    """pass@1 after less before, paired by problem, over the problems that count in both; questions asked twice are one."""
    rates = [{one["id"]: one["correct"] / one["samples"] for one in audit["problems"]} for audit in (before, after)]
    problems = [each for each in suite.problems if each.id in rates[0] and each.id in rates[1]]
    old, new = (np.array([rate[each.id] for each in problems]) for rate in rates)
    same = [" ".join(each.question.split()) for each in problems]
    return {
        "reading": before["reading"],
        "verifier": before["verifier"],
        "difference": paired_difference(old, new, same=same).to_json(),
    }


def told(audit: dict[str, Any], changes: list[tuple[bool, bool]]) -> str:
    """One sentence: what grading again did to pass@1, and whether it is more than noise. `changes` are (was, is) right."""
    right, wrong = (sum(was is not now and now is to for was, now in changes) for to in (True, False))
    moved = f"{right} samples are right that were wrong, {wrong} wrong that were right"
    if not right and not wrong:
        return f"{moved}: no score changes"
    one = audit["against"]["difference"]
    by = f"pass@1 moves by {100 * one['value']:+.1f} points ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})"
    noise = "; inside the noise: other problems like these may show none" if one["low"] <= 0 <= one["high"] else ""
    return f"{moved}: {by} by problem{noise}"


def _graded(
    rows: list[dict[str, Any]], pairs: list[tuple[Problem, str]], template: Template, reading: Reading, workers: int
) -> Iterator[dict[str, Any]]:
    verdicts = grade_many(pairs, template, reading=reading, workers=workers)
    lenient = verdicts if reading == "lenient" else grade_many(pairs, template, reading="lenient", workers=workers)
    for row in rows:
        verdict = next(verdicts)
        other = verdict if reading == "lenient" else next(lenient)
        facts = {key: getattr(verdict, key) for key in ("answer", "correct", "status", "reason")}
        yield {**row, **facts, "lenient_correct": other.correct}


def _difference(row: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    keys = ("answer", "correct", "status")
    facts = {"problem_id": row["problem_id"], "sample": row["sample"]}
    return {**facts, "before": {key: row[key] for key in keys}, "after": {key: new[key] for key in keys}}
