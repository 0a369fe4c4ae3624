"""Lay finished training runs side by side: tables, figures, one paragraph, and report.html, which holds all of it.

python scripts/compare.py runs/tiny/* --out runs/tiny-compare
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import run
from configs.errors import UsageError

if TYPE_CHECKING:
    from evals.compare import Comparison
    from evals.estimate import Estimate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished GRPO run or baseline")
    parser.add_argument(
        "--out", required=True, type=Path, help="folder for report.html, tables, figures and findings.txt"
    )
    parser.add_argument(
        "--rollouts",
        type=int,
        default=50_000,
        help="in report.html at most (default 50000; 0 for none); of more, a sample",
    )
    args = parser.parse_args()

    from evals.compare import claim, compare, write_tables
    from evals.findings import findings
    from evals.runs import BASELINES, load_baselines, load_manifest, load_runs

    beside = [folder for folder in args.runs if load_manifest(folder).kind in BASELINES]
    trained = [folder for folder in args.runs if folder not in beside]
    if not trained:
        raise UsageError(
            "these are baselines only, and there is nothing to hold them against; add the folder of a GRPO run"
        )
    runs, unfinished = load_runs(trained)
    baselines, left_out = load_baselines(beside, runs[0])
    claim(args.out, [*runs, *baselines])
    comparison = compare(runs, [*unfinished, *left_out], baselines)
    paths = write_tables(comparison, args.out)

    from evals.browse import browse
    from evals.figures import draw
    from evals.report import render, write
    from evals.report_parts import facts, parts

    paths += draw(comparison, args.out)
    paths.append(args.out / "findings.txt")
    paragraph = findings(comparison)
    paths[-1].write_text(paragraph + "\n", encoding="utf-8")
    paths.append(args.out / "report.html")
    kept = browse(comparison, limit=args.rollouts)
    write(paths[-1], render(paragraph=paragraph, facts=facts(comparison), parts=parts(comparison), rollouts=kept))
    show(comparison, paths, paragraph)


def show(comparison: Comparison, paths: Sequence[Path], paragraph: str) -> None:
    """The table in short, where everything was written, and what was found."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    def told(gain: Estimate) -> str:
        noise = " noise?" if gain.low <= 0 <= gain.high else ""
        return f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]{noise}"

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    table = Table(box=SIMPLE_HEAD)
    table.add_column("run", overflow="fold")
    for title in ("pass@1, %", "after", "gain [95%]", "take-off", "informative:\nforecast", "at step 1", "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    for single in comparison.singles:
        forecast = single.forecasts[0]
        expected = f"{forecast.low:.0%} to {forecast.high:.0%}" if forecast else "-"
        observed = f"{forecast.observed:.0%} {'held' if forecast.held else 'missed'}" if forecast else "-"
        table.add_row(
            single.runs[0].manifest.run,
            f"{100 * single.before[1].value:.2f}",
            f"{100 * single.after[1].value:.1f}",
            told(single.gain),
            "never" if single.take_offs[0] is None else f"step {single.take_offs[0]}",
            expected,
            observed,
            f"{single.seconds[0]:.0f}",
        )
    for one in comparison.baselines:
        start, end = (audit.pass_at_k.read[1].value for audit in (one.start, one.end))
        about = one.manifest
        name, seconds = f"{about.run} ({about.kind})", f"{about.seconds:.0f}"
        table.add_row(name, f"{100 * start:.2f}", f"{100 * end:.1f}", told(about.gain), "-", "-", "-", seconds)
    console.print(table)
    gains = [single.gain for single in comparison.singles] + [one.manifest.gain for one in comparison.baselines]
    if any(gain.low <= 0 <= gain.high for gain in gains):
        console.print("noise?: the interval holds 0; a rerun on other problems could show no gain, or a loss")
    for each in comparison.unfinished:
        console.print(f"left out: {each.name} is {each.status}")
    for path in paths:
        console.print(str(path), soft_wrap=True)
    console.print(paragraph)


if __name__ == "__main__":
    sys.exit(run(main))
