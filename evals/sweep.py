"""Several templates on one base: which one finds most, and by how much, problem by problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evals.estimate import Estimate, paired_difference

COLUMNS = ("template", "pass@1 as read", "pass@1 lenient", "behind the best", "answered", "stopped", "no room")


NOISE = "~: inside the noise, not told apart from the best by these problems"


def sweep(audits: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What audits of one suite say of their templates, by name; the best is the one of highest pass@1 as it is read.

    `behind_best` pairs by problem, and problems that ask the same are one cluster. It is not corrected for the choice:
    of templates that are all alike the best of a sweep looks better than it is, so an interval that only just leaves
    zero out shows little.
    """
    best = max(audits, key=lambda name: audits[name]["pass_at_k"]["read"]["1"]["value"])

    top, same = problem_rates(audits[best])

    def behind(name: str) -> dict[str, Any] | None:
        return None if name == best else paired_difference(problem_rates(audits[name])[0], top, same=same).to_json()

    return {
        "best": best,
        "templates": {
            name: {
                "read": audit["pass_at_k"]["read"]["1"],
                "lenient": audit["pass_at_k"]["lenient"]["1"],
                "behind_best": behind(name),
                "answer_rate": audit["answer_rate"],
                "stop_rate": audit["stop_rate"],
                "context_overflow": audit["context_overflow"],
            }
            for name, audit in audits.items()
        },
    }


def problem_rates(audit: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    """Pass rate of each problem of an audit.json, and what it asks: `same` of `evals.estimate`; its id where none was kept."""
    problems = audit["problems"]
    rates = np.array([one["correct"] / one["samples"] for one in problems])
    return rates, [one.get("question") or one["id"] for one in problems]


def sweep_table(found: dict[str, Any], left_out: Mapping[str, str]) -> list[tuple[str, ...]]:
    """A row a template, best first; those of `left_out` last, with the reason."""
    rows = []
    order = sorted(found["templates"].items(), key=lambda item: -item[1]["read"]["value"])
    for name, facts in order:
        behind = facts["behind_best"]
        shares = [f"{facts[key]['value']:.1%}" for key in ("answer_rate", "stop_rate", "context_overflow")]
        rows.append((name, _share(facts["read"]), _share(facts["lenient"]), behind_cell(behind), *shares))
    return rows + [(name, reason, *[""] * (len(COLUMNS) - 2)) for name, reason in left_out.items()]


def behind_cell(behind: Mapping[str, float] | None) -> str:
    """How far behind the best, marked where that is inside the noise; nothing for the best itself."""
    return "" if behind is None else _share(behind) + (" ~" if behind["low"] <= 0 else "")


def verdict(found: dict[str, Any]) -> str:
    """One sentence: the best template, and which ones it cannot be told from."""
    templates = found["templates"]
    if templates[found["best"]]["read"]["value"] == 0:
        return "no template got one sample right"
    close = [name for name, facts in templates.items() if (behind := facts["behind_best"]) and behind["low"] <= 0]
    tail = f"; not told apart from it by these problems (~): {', '.join(close)}" if close else ""
    return f"best template by pass@1: {found['best']} ({_share(templates[found['best']]['read'])}){tail}"


def _share(estimate: Mapping[str, float]) -> str:
    one = Estimate.from_json(estimate)
    return f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%})"
