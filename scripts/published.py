"""What published results say of starting ability: base to final, base to gain, and claims against re-evaluations.

python scripts/published.py --out runs/published
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import run
from configs.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from baselines.published import Correlation, ReEvaluation, Relation, Result


def main() -> None:
    """Parse, check the record, print two tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", help="only this study (default: all)")
    parser.add_argument("--benchmark", help="only this benchmark (default: all)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/published"), help="for the figure (default runs/published)"
    )
    args = parser.parse_args()

    from baselines.published import FEWEST, faults, load, re_evaluations, relations
    from configs.errors import nearest

    results = load()
    for column, asked in (("study", args.study), ("benchmark", args.benchmark)):
        known = {getattr(one, column) for one in results}
        if asked is not None and asked not in known:
            raise UsageError(f"no {column} {asked!r}: {nearest(asked, known)}")
    wrong = faults(results)
    found, again = relations(results), re_evaluations(results)

    def asked_for(study: str, benchmark: str) -> bool:
        return (args.study is None or study.startswith(args.study)) and args.benchmark in {None, benchmark}

    _show_record(results, wrong)
    shown = [one for one in found if asked_for(one.group, one.benchmark)]
    if shown:
        _show_relations(shown)
    else:
        print(f"no group of {FEWEST} bases or more with a score before and after")
    _show_again([one for one in again if asked_for(one.claim.study, one.claim.benchmark)])

    from baselines.published_figure import draw

    for path in draw(found, args.out):
        print(path)


def _show_record(results: list[Result], wrong: list[str]) -> None:
    both = sum(one.base_score is not None and one.rl_score is not None for one in results)
    flags = Counter(flag for one in results for flag in one.flags)
    print(f"{len(results)} results of {len({one.study for one in results})} studies, {both} with both scores")
    print(
        "flagged: "
        + ", ".join(f"{count} {flag}" for flag, count in sorted(flags.items(), key=lambda item: (-item[1], item[0])))
    )
    print("\n".join(["checks found:", *wrong]) if wrong else "checks found nothing that is not flagged")


def _cell(found: Correlation) -> str:
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _show_relations(relations: list[Relation]) -> None:
    from rich.table import Table

    table = Table(title="rank correlation with the base score over bases, 95% by bootstrap")
    for column in (
        "study",
        "benchmark, metric",
        "bases",
        "final",
        "gain, points",
        "gain, log odds",
        "null of gain, points",
    ):
        table.add_column(column)
    for one in relations:
        cells = [_cell(found) for found in (one.final, one.gain, one.logit_gain, one.null)]
        table.add_row(one.group, f"{one.benchmark}, {one.metric}", str(len(one.bases)), *cells)
    _console().print(table)
    print(
        "null: every base gets the final score of a base drawn at random. A correlation inside it says nothing of ability."
    )
    print("log odds have half an answer added on either side; where bases score zero, the sign can hang on that")


def _show_again(again: list[ReEvaluation]) -> None:
    from rich.table import Table

    if not again:
        return
    table = Table(title="claims, and the same checkpoints measured by others (%)")
    for column in ("claim", "benchmark", "claimed", "by", "found", "claimed - found", "found gain, z"):
        table.add_column(column)
    for one in again:
        table.add_row(
            f"{one.claim.study}, {one.claim.base_model}",
            one.claim.benchmark,
            f"{_arrow(one.claim)} ({one.claim.metric})",
            f"{one.found.study}, {one.found.algorithm}",
            f"{_arrow(one.found)} ({one.found.metric})",
            f"{one.shrinkage:+.1f}",
            "" if one.z is None else f"{one.z:.1f}",
        )
    _console().print(table)


def _arrow(one: Result) -> str:
    return f"{'?' if one.base_score is None else f'{one.base_score:g}'} → {one.rl_score:g}"


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


if __name__ == "__main__":
    sys.exit(run(main))
