"""Every table of a comparison by name: what scripts/compare.py writes, and what a report can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.compare import Comparison, summary, table, write_csv
from evals.crossing import crossings, pass_at_k_rows
from evals.curves import curves
from evals.headroom import logit_gains, matched_gains
from evals.race import race_rows
from evals.transitions import transitions, transitions_by_problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of a comparison under one file name. An estimate has its 95% interval in columns `_low` and `_high` beside it."""

    name: str
    title: str
    rows: Callable[[Comparison], list[dict[str, Any]]]


def _several_seeds(comparison: Comparison) -> list[dict[str, Any]]:
    return summary(comparison) if any(arm.seeds > 1 for arm in comparison.arms) else []


def _left_out(comparison: Comparison) -> list[dict[str, Any]]:
    return [{"run": each.name, "status": each.status} for each in comparison.unfinished]


TABLES = (
    Table(name="table", title="Every run, before and after", rows=table),
    Table(name="summary", title="Every arm, over its seeds", rows=_several_seeds),
    Table(name="transitions", title="Problems solved, lost and never solved", rows=transitions),
    Table(name="transitions_by_problem", title="The same, problem by problem", rows=transitions_by_problem),
    Table(name="pass_at_k", title="pass@k before and after", rows=pass_at_k_rows),
    Table(name="crossings", title="Where the base catches up with what was trained from it", rows=crossings),
    Table(name="logit_gain", title="Gain on the logit scale", rows=logit_gains),
    Table(name="matched_gain", title="Gain on problems of one base pass rate", rows=matched_gains),
    Table(name="race", title="What foretells the outcome, base by base", rows=race_rows),
    Table(name="curves", title="Held-out pass@1 by steps, tokens, time and dollars", rows=curves),
    Table(name="left_out", title="Runs that are not finished, in no claim", rows=_left_out),
)


def write_tables(comparison: Comparison, out: Path) -> list[Path]:
    """A CSV for every table that has rows. An empty cell means not measured, or never."""
    written = []
    for one in TABLES:
        path = out / f"{one.name}.csv"
        if rows := one.rows(comparison):
            written.append(write_csv(path, rows))
        else:
            path.unlink(missing_ok=True)  # of an earlier comparison of the same runs
    return written
