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
    from rich.table import Table as RichTable

    from evals.compare import Comparison
    from evals.estimate import Estimate

ROWS, RACES = 12, 3
"""Rows of a table and lines of the race that are printed; the files hold all."""


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

    from evals.compare import claim, compare
    from evals.findings import findings
    from evals.runs import BASELINES, load_baselines, load_manifest, load_runs
    from evals.tables import write_tables

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
    """The decisive tables in short, where everything was written, and what was found: a screenful."""
    from rich.console import Console

    from evals.race import race, verdict

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    by_run = len(comparison.singles) + len(comparison.baselines) <= ROWS
    console.print(_scores(comparison, by_run=by_run))
    gains = [single.gain for single in comparison.singles] + [one.manifest.gain for one in comparison.baselines]
    if any(gain.low <= 0 <= gain.high for gain in gains):
        console.print("noise?: the interval holds 0; a rerun on other problems could show no gain, or a loss")
    console.print(_changes(comparison))
    if len(comparison.arms) > ROWS or not by_run:
        console.print(f"the rest, run by run, is in {paths[0].parent}/table.csv")
    for line in verdict(race(comparison))[:RACES]:
        console.print(line)
    for each in comparison.unfinished:
        console.print(f"left out: {each.name} is {each.status}")
    console.print(f"{paths[0].parent}/: {' '.join(path.name for path in paths if path.suffix != '.svg')}")
    console.print(paragraph)


def _scores(comparison: Comparison, *, by_run: bool) -> RichTable:
    """A row per run and baseline, or, where they are too many, per arm."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    def told(gain: Estimate) -> str:
        noise = " noise?" if gain.low <= 0 <= gain.high else ""
        return f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]{noise}"

    forecast = ("informative:\nforecast", "at step 1", "seconds") if by_run else ("forecasts\nheld", "seeds")
    table = Table(box=SIMPLE_HEAD)
    table.add_column("run" if by_run else "arm", overflow="fold")
    for title in ("pass@1, %", "after", "gain [95%]", "take-off", *forecast):
        table.add_column(title, justify="right", no_wrap=True)
    for arm in (comparison.singles if by_run else comparison.arms)[:ROWS]:
        scored = [each for each in arm.forecasts if each]
        held = sum(each.held for each in scored)
        rose = [step for step in arm.take_offs if step is not None]
        cells = [f"{held} of {len(scored)}" if scored else "-", f"{arm.seeds}"]
        if by_run:
            (one,) = arm.forecasts
            bounds = f"{one.low:.0%} to {one.high:.0%}" if one else "-"
            cells = [bounds, f"{one.observed:.0%} {'held' if one.held else 'missed'}" if one else "-"]
            cells.append(f"{arm.seconds[0]:.0f}")
        table.add_row(
            arm.runs[0].manifest.run if by_run else arm.label,
            f"{100 * arm.before[1].value:.2f}",
            f"{100 * arm.after[1].value:.1f}",
            told(arm.gain),
            f"step {min(rose)}" + (f" to {max(rose)}" if max(rose) > min(rose) else "") if rose else "never",
            *cells,
        )
    for base in comparison.baselines if by_run else ():
        start, end = (audit.pass_at_k.read[1].value for audit in (base.start, base.end))
        about = base.manifest
        name, seconds = f"{about.run} ({about.kind})", f"{about.seconds:.0f}"
        table.add_row(name, f"{100 * start:.2f}", f"{100 * end:.1f}", told(about.gain), "-", "-", "-", seconds)
    return table


def _changes(comparison: Comparison) -> RichTable:
    """A row per arm: which problems moved in halves of the samples, how many sampling alone would move, log odds gained, and the crossing."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from evals.crossing import crossing
    from evals.headroom import logit_gain
    from evals.transitions import moves

    table = Table(box=SIMPLE_HEAD)
    table.add_column("solved: half right,\ntold by half of the samples", overflow="fold")
    for title in ("gained, %", "lost, %", "by sampling\nalone, %", "gain,\nlog odds", "base catches\nup at k"):
        table.add_column(title, justify="right", no_wrap=True)
    for arm in comparison.arms[:ROWS]:
        found = {move.name: move for move in moves(arm) if move.rule == "half"}
        gained, lost = (found[name] for name in ("gained", "lost"))
        moved = [f"{100 * one.halves.value:.1f}" if one.halves else "-" for one in (gained, lost)]
        by_chance = [f"{100 * one.no_change.value:.1f}" for one in (gained, lost) if one.no_change]
        odds = logit_gain(arm)
        table.add_row(
            arm.label,
            *moved,
            "+".join(by_chance) or "-",
            f"{odds.gain.value:+.1f}{'?' if odds.rests_on_the_correction else ''}",
            crossing(arm).short,
        )
    table.caption, table.caption_justify = (
        "?: log odds that rest on the correction at 0 or 100%; a k inside noise",
        "left",
    )
    return table


if __name__ == "__main__":
    sys.exit(run(main))
