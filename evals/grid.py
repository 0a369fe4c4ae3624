"""Audits of many bases, suites and templates in one table, and the template that serves each base best."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.estimate import Estimate, paired_difference
from evals.jobs import whole
from evals.manifest import write_json
from evals.study import Cell
from evals.sweep import NOISE, behind_cell, problem_rates, sweep

COLUMNS = ("base", "suite", "template", "pass@1 as read", "pass@1 lenient", "behind the suite's best", "best of base")


def grid(cells: Sequence[Cell]) -> dict[str, Any]:
    """study.json: a row for every finished audit, and the best template of each base, by mean pass@1 over suites.

    Only templates measured on every suite of the study can be a base's best. `behind_best` is paired by problem, with
    the best on that suite of all that was asked of that base and of models trained from it, and like it not corrected
    for the choice.
    """
    audits = {cell: json.loads((cell.folder / "audit.json").read_text(encoding="utf-8")) for cell in _finished(cells)}
    rows = []
    for origin, suite in dict.fromkeys((cell.origin, cell.suite) for cell in audits):
        here = [cell for cell in audits if (cell.origin, cell.suite) == (origin, suite)]
        facts_of = sweep({f"{cell.base} {cell.template}": audits[cell] for cell in here})["templates"]
        for cell in here:
            facts = facts_of[f"{cell.base} {cell.template}"]
            counts = [one["samples"] for one in audits[cell]["problems"]]
            rows.append(
                {
                    "base": cell.base,
                    "suite": suite,
                    "template": cell.template,
                    "pass_at_1": facts["read"],
                    "lenient": facts["lenient"],
                    "behind_best": facts["behind_best"],
                    "problems": len(counts),
                    "samples": max(counts, default=0),
                }
            )
    bases = dict.fromkeys(cell.base for cell in cells)
    best = {base: found for base in bases if (found := _best(base, cells, rows, audits))}
    missing = [[cell.base, cell.suite, cell.template] for cell in cells if cell not in audits]
    return {"rows": rows, "best": best, "missing": missing}


def _finished(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if whole(cell.folder)]


def _best(
    base: str, cells: Sequence[Cell], rows: Sequence[dict[str, Any]], audits: Mapping[Cell, dict[str, Any]]
) -> dict[str, Any] | None:
    """The template of highest mean pass@1, out of how many, and those not told apart from it by the problems of all suites.

    None when not one sample of `base` was right.
    """
    suites = {cell.suite for cell in cells}
    means: dict[str, Estimate] = {}
    for template in dict.fromkeys(cell.template for cell in cells):
        mine = [row for row in rows if (row["base"], row["template"]) == (base, template)]
        if len(mine) == len(suites):
            means[template] = _mean([Estimate.from_json(row["pass_at_1"]) for row in mine])
    if not any(mean.value for mean in means.values()):
        return None
    name = max(means, key=lambda template: means[template].value)
    rates: dict[str, list[tuple[np.ndarray, list[str]]]] = {
        template: [] for template in means
    }  # by suite, in one order
    for cell, audit in audits.items():
        if cell.base == base and cell.template in rates:
            rates[cell.template].append(problem_rates(audit))
    behind = {
        other: _mean(
            [
                paired_difference(mine, best, same=same)
                for (mine, same), (best, _) in zip(rates[other], rates[name], strict=True)
            ]
        )
        for other in means
        if other != name
    }
    close = [other for other, less in behind.items() if less.low <= 0]
    return {"template": name, "mean_pass_at_1": means[name].to_json(), "of": len(means), "not_told_apart": close}


def _mean(suites: Sequence[Estimate]) -> Estimate:
    """Mean over suites, each as much as another; margins add as those of independent samples do (Zou and Donner 2008)."""
    value = sum(one.value for one in suites) / len(suites)
    below = math.hypot(*(one.value - one.low for one in suites)) / len(suites)
    above = math.hypot(*(one.high - one.value for one in suites)) / len(suites)
    return Estimate(value=value, low=value - below, high=value + above, n=sum(one.n for one in suites))


def grid_table(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row an audit, in the order of the study; those that are missing last."""
    rows = []
    for row in found["rows"]:
        best = found["best"].get(row["base"], {"template": None, "of": 0})
        mark = "*" if best["of"] > 1 and best["template"] == row["template"] else ""
        what = (row["base"], row["suite"], row["template"])
        rows.append((*what, _share(row["pass_at_1"]), _share(row["lenient"]), behind_cell(row["behind_best"]), mark))
    return rows + [(*map(str, cell), "not measured", "", "", "") for cell in found["missing"]]


def verdict(found: dict[str, Any]) -> str:
    """The best template of each base, what it is not told apart from, and why its score is too good."""
    lines = [
        f"best template of {base}: {best['template']}, mean pass@1 over suites {_share(best['mean_pass_at_1'])}"
        + (f"; not told apart from it: {', '.join(best['not_told_apart'])}" if best["not_told_apart"] else "")
        for base, best in found["best"].items()
        if best["of"] > 1
    ]
    if lines:
        lines.append(
            "The best of many looks better than it is: it was chosen on the very samples that score it. "
            "Before its number is quoted, measure it again on other problems or with another seed."
        )
    if any(row["behind_best"] and row["behind_best"]["low"] <= 0 for row in found["rows"]):
        lines.append(NOISE)
    several = len({row["template"] for row in found["rows"]}) > 1
    if several and (silent := sorted({row["base"] for row in found["rows"]} - found["best"].keys())):
        lines.append(f"no best template: {', '.join(silent)} (nothing right, or no template measured on every suite)")
    return "\n".join(lines)


def write_grid(found: dict[str, Any], out: Path) -> list[Path]:
    """study.json as found, and study.csv with a line an audit."""
    write_json(out / "study.json", found)
    path = out / "study.csv"
    fields = ["base", "suite", "template", "problems", "samples"]
    scores = [f"{name}{end}" for name in ("pass_at_1", "lenient") for end in ("", "_low", "_high")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*fields, *scores, "best_of_base"])
        for row in found["rows"]:
            numbers = [row[name][end] for name in ("pass_at_1", "lenient") for end in ("value", "low", "high")]
            is_best = found["best"].get(row["base"], {}).get("template") == row["template"]
            writer.writerow([*(row[field] for field in fields), *numbers, int(is_best)])
    return [out / "study.json", path]


def _share(estimate: dict[str, float]) -> str:
    one = Estimate.from_json(estimate)
    return f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%})"
