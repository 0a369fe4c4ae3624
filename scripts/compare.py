"""Lay finished training runs side by side: a table, four figures and one paragraph.

python scripts/compare.py runs/tiny/* --out runs/tiny-compare
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import run

if TYPE_CHECKING:
    from evals.compare import Comparison


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished training run")
    parser.add_argument("--out", required=True, type=Path, help="folder for tables, figures and findings.txt")
    args = parser.parse_args()

    from evals.compare import claim, compare, write_tables
    from evals.findings import findings
    from evals.runs import load_runs

    runs, unfinished = load_runs(args.runs)
    claim(args.out, runs)
    comparison = compare(runs, unfinished)
    paths = write_tables(comparison, args.out)

    from evals.figures import draw

    paths += draw(comparison, args.out)
    paths.append(args.out / "findings.txt")
    paragraph = findings(comparison)
    paths[-1].write_text(paragraph + "\n", encoding="utf-8")
    show(comparison, paths, paragraph)


def show(comparison: Comparison, paths: Sequence[Path], paragraph: str) -> None:
    """The table in short, where everything was written, and what was found."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    table = Table(box=SIMPLE_HEAD)
    table.add_column("run", overflow="fold")
    for title in ("pass@1, %", "after", "gain [95%]", "take-off", "informative:\nforecast", "at step 1", "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    for single in comparison.singles:
        forecast, gain = single.forecasts[0], single.gain
        expected = f"{forecast.low:.0%} to {forecast.high:.0%}" if forecast else "-"
        observed = f"{forecast.observed:.0%} {'held' if forecast.held else 'missed'}" if forecast else "-"
        table.add_row(
            single.runs[0].manifest.run,
            f"{100 * single.before[1].value:.2f}",
            f"{100 * single.after[1].value:.1f}",
            f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]",
            "never" if single.take_offs[0] is None else f"step {single.take_offs[0]}",
            expected,
            observed,
            f"{single.seconds[0]:.0f}",
        )
    console.print(table)
    for each in comparison.unfinished:
        console.print(f"left out: {each.name} is {each.status}")
    for path in paths:
        console.print(str(path), soft_wrap=True)
    console.print(paragraph)


if __name__ == "__main__":
    sys.exit(run(main))
